-- Hold shards: all of them, so that no pass is under way, with what each has reported and reached.
-- Takes   nothing
-- Gives   (id, shards, wants, levels, age_seconds) of every row, those that are not in use too
-- Locks   dispatch_shard, in id order, to the end of the caller's transaction
-- Races   a pass: waits for it, and holds up the next one
SELECT id, shards, wants, levels, CAST(extract(epoch FROM app_now() - levels_at) AS float8) AS age_seconds
  FROM dispatch_shard ORDER BY id FOR UPDATE
