-- Count shards: how many there are.
-- Takes   nothing
-- Gives   (shards)
-- Locks   nothing
SELECT shards FROM dispatch_shard WHERE id = 0
