-- Grant: each shard's part of the slots and of the lanes, until the next division.
-- Takes   items jsonb: [{id, grants, shares}]
-- Gives   nothing; whoever waits for slots hears of it
-- Locks   dispatch_shard (held since hold_shards.sql)
-- Races   none: no pass is under way
WITH given AS (
    UPDATE dispatch_shard AS s SET grants = item.grants, shares = item.shares
      FROM jsonb_to_recordset(CAST(:items AS jsonb)) AS item (id bigint, grants jsonb, shares jsonb)
     WHERE s.id = item.id AND (s.grants, s.shares) IS DISTINCT FROM (item.grants, item.shares)
    RETURNING s.id
)
SELECT pg_notify('dispatch', '') FROM (SELECT FROM given LIMIT 1) AS any_given
