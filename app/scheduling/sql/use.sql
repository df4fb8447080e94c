-- Use: claimed attempts of the tenants of some buckets, by the kind of worker that has them.
-- Takes   low int · high int: the first and the last bucket · silence interval
-- Gives   (lanes, bucket, used): at workers that were heard and aren't stopping, as slots.sql counts them
-- Locks   nothing
-- Index   attempt_of_worker, worker_pkey
SELECT w.lanes, a.bucket, count(*) AS used
  FROM worker w CROSS JOIN LATERAL (
       SELECT get_byte(uuid_send(tenant), 15) AS bucket FROM attempt
        WHERE worker = w.id AND ended_at IS NULL) AS a
 WHERE w.seen_at > app_now() - CAST(:silence AS interval) AND w.stopping_at IS NULL
   AND a.bucket BETWEEN :low AND :high
 GROUP BY w.lanes, a.bucket
