-- Wake by money: given jobs that waited for budget go to the queue, with the rank they had.
-- Takes   jobs uuid[] (chosen in rank order within the free money)
-- Gives   (job) of each that was woken
-- Locks   only the job rows it returns
-- Races   cancel, expire, another waker: as wake_due.sql
-- Index   job_pkey
WITH due AS MATERIALIZED (
    SELECT id FROM job
     WHERE id = ANY (CAST(:jobs AS uuid[])) AND state = 'waiting' AND waiting_for = 'budget'
     ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
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
