-- After pass: come behind the dispatchers' passes that are under way, and before the next ones.
-- Takes   nothing
-- Gives   nothing of use
-- Locks   every dispatch_shard, in id order, shared, until the caller commits
-- Races   a pass: it holds its shard to its end, so what the caller has written is there for the next one
SELECT id FROM dispatch_shard ORDER BY id FOR SHARE
