-- Leading: hold the shard for this pass, if it is still ours.
-- Takes   epoch bigint
-- Gives   (levels, age_seconds): what each lane had reached, so long ago; or no row: another leads
-- Locks   dispatch_shard, to the end of the pass
-- Races   another dispatcher: it waits here, so counting and claiming are one for both
SELECT levels, CAST(extract(epoch FROM app_now() - levels_at) AS float8) AS age_seconds
  FROM dispatch_shard WHERE id = 0 AND epoch = :epoch FOR UPDATE
