-- Learnt until: the last job that was taken in.
-- Takes   until timestamptz
-- Gives   nothing
-- Locks   dispatch_shard, last of all: the dispatcher holds it a pass long
-- Races   another learner: the later one stands
UPDATE dispatch_shard SET learnt_until = :until WHERE id = 0
