-- Lead: raise the shard's epoch; statements of an older leader find no row from then on.
-- Takes   shard int
-- Gives   (epoch, shards); or no row: there is no such shard any more
-- Locks   dispatch_shard
-- Races   a change of the number of shards: whoever is first; it raises every epoch
UPDATE dispatch_shard SET epoch = epoch + 1 WHERE id = :shard AND id < shards RETURNING epoch, shards
