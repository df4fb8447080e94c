-- Movable: some of the jobs that wait, fit a filter, and don't stand yet where they are to go.
-- Takes   tenant uuid, workflow text, tag text, lane text, state text: null for any; to_lane text, to_priority
--         bigint: null leaves as it is · batch int
-- Gives   (job), in no order
-- Locks   nothing: move.sql looks at each again
-- Index   job_queued, job_waking; or a tenant's own, job_tenant_id_key
SELECT id AS job FROM (
       SELECT id, tenant, workflow, tags, coalesce(home_lane, lane) AS lane, state, priority FROM job WHERE state = 'queued'
       UNION ALL
       SELECT id, tenant, workflow, tags, coalesce(home_lane, lane) AS lane, state, priority FROM job WHERE state IN ('scheduled', 'waiting')
       ) AS waits
 WHERE (CAST(:tenant AS uuid) IS NULL OR tenant = CAST(:tenant AS uuid))
   AND (CAST(:workflow AS text) IS NULL OR workflow = CAST(:workflow AS text))
   AND (CAST(:tag AS text) IS NULL OR tags @> ARRAY[CAST(:tag AS text)])
   AND (CAST(:lane AS text) IS NULL OR lane = CAST(:lane AS text))
   AND (CAST(:state AS text) IS NULL OR state = CAST(:state AS text))
   AND (lane, priority) <> (coalesce(CAST(:to_lane AS text), lane), coalesce(CAST(:to_priority AS bigint), priority))
 LIMIT :batch
