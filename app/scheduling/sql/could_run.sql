-- Could run: who serves a lane, and whether its dispatcher is there.
-- Takes   lane text · silence interval · family int, shard int: the two halves of the shard's lock
-- Gives   (lanes, slots, free, unclaimed (in all), led) of each worker that takes work; one row of nulls and led
--         where there is none
-- Locks   nothing
-- Index   worker_heard, attempt_of_worker, pause_pkey
WITH led AS MATERIALIZED (
    SELECT EXISTS (SELECT FROM pg_locks
                    WHERE locktype = 'advisory' AND objsubid = 2 AND granted
                      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
                      AND classid = CAST(CAST(:family AS bigint) AS oid)
                      AND objid = CAST(CAST(:shard AS bigint) AS oid)) AS there
)
SELECT w.lanes, w.slots,
       w.slots - (SELECT count(*) FROM attempt a WHERE a.worker = w.id AND a.ended_at IS NULL) AS free,
       (SELECT count(*) FROM attempt a WHERE a.worker IS NULL AND a.ended_at IS NULL) AS unclaimed,
       led.there AS led
  FROM led LEFT JOIN worker w
       ON w.seen_at > app_now() - CAST(:silence AS interval) AND w.stopping_at IS NULL
      AND NOT EXISTS (SELECT FROM pause p
                       WHERE p.kind = 'worker' AND p.owner = '00000000-0000-0000-0000-000000000000'
                         AND p.name = CAST(w.id AS text))
