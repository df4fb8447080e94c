-- Leading: hold the shard for this pass, if it is still ours.
-- Takes   epoch bigint
-- Gives   (epoch), or no row: another leads
-- Locks   dispatch_shard, to the end of the pass
-- Races   another dispatcher: it waits here, so counting and claiming are one for both
SELECT epoch FROM dispatch_shard WHERE id = 0 AND epoch = :epoch FOR UPDATE
