-- Want: what a shard would run, had it more slots; for a pass that released nothing.
-- Takes   shard int · wants jsonb
-- Gives   nothing
-- Locks   dispatch_shard (held since leading.sql)
-- Races   none
UPDATE dispatch_shard SET wants = CAST(:wants AS jsonb), wants_at = app_now() WHERE id = :shard
