-- Wake: jobs whose time has come go to the queue. A scheduled job takes its place by its own time;
-- one that waited keeps its rank.
-- Takes   batch int
-- Gives   (job) of each that was woken
-- Locks   only the job rows it returns
-- Races   cancel, expire, another waker: SKIP LOCKED, and WHERE is checked again under the lock
-- Index   job_waking
WITH due AS MATERIALIZED (
    SELECT id FROM job
     WHERE state IN ('scheduled', 'waiting') AND wake_at <= app_now()
     ORDER BY wake_at LIMIT :batch
       FOR NO KEY UPDATE SKIP LOCKED
),
moved AS (
    UPDATE job SET state = 'queued', waiting_for = NULL, wake_at = NULL, need_nanousd = NULL,
                   queued_at = app_now(), event_seq = event_seq + 1
     WHERE id = ANY (ARRAY(SELECT id FROM due))
    RETURNING id, tenant, event_seq
),
told AS (
    INSERT INTO job_event (job, seq, tenant, at, name, data)
    SELECT id, event_seq, tenant, app_now(), 'job.queued', '{}' FROM moved
)
SELECT id AS job, (SELECT pg_notify('dispatch', '') FROM (SELECT FROM moved LIMIT 1) AS any_moved) AS woken
  FROM moved
