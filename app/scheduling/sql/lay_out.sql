-- Lay out: so many shards from now on, each at a new epoch, with nothing granted and one level for all.
-- Takes   shards int · levels jsonb
-- Gives   nothing
-- Locks   dispatch_shard (held since hold_shards.sql)
-- Races   two that lay out at once: the second waits in hold_shards.sql and sees the first one's number
INSERT INTO dispatch_shard (id, shards, epoch, levels, levels_at, learnt_until, grants, shares, wants, wants_at)
SELECT id, :shards, 1, CAST(:levels AS jsonb), app_now(), app_now(), '{}', '{}', '{}', 'epoch'
  FROM generate_series(0, (SELECT max(id) FROM (SELECT id FROM dispatch_shard
                           UNION ALL SELECT CAST(:shards AS bigint) - 1) AS known)) AS id
ON CONFLICT (id) DO UPDATE
   SET shards = excluded.shards, epoch = dispatch_shard.epoch + 1, levels = excluded.levels,
       levels_at = excluded.levels_at, grants = '{}', shares = '{}', wants = '{}', wants_at = excluded.wants_at
