-- Lead: raise the shard's epoch; statements of an older leader find no row from then on.
-- Takes   nothing
-- Gives   (epoch)
-- Locks   dispatch_shard
UPDATE dispatch_shard SET epoch = epoch + 1 WHERE id = 0 RETURNING epoch
