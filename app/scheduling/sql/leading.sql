-- Leading: hold the shard for this pass, if it is still ours.
-- Takes   shard int · epoch bigint
-- Gives   (levels, age_seconds): what each lane had reached, so long ago; (grants, shares): its part of the
--         slots, by kind of worker, and of the lanes; (wants, wants_age_seconds): what it reported, so long ago;
--         or no row: another leads, or there are more shards or fewer by now
-- Locks   dispatch_shard, to the end of the pass
-- Races   another dispatcher: it waits here, so counting and claiming are one for both
SELECT levels, CAST(extract(epoch FROM app_now() - levels_at) AS float8) AS age_seconds, grants, shares, wants,
       CAST(extract(epoch FROM app_now() - wants_at) AS float8) AS wants_age_seconds
  FROM dispatch_shard WHERE id = :shard AND epoch = :epoch FOR UPDATE
