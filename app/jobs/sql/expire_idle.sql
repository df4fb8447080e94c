-- Expire: jobs that hold no worker and whose deadline has passed end. A running one is ended by its
-- worker's heartbeat, which sees the same deadline, or by the reaper.
-- Takes   batch int
-- Gives   (job) of each that expired
-- Locks   job (only those it returns), then their attempts
-- Races   dispatch, wake, cancel: SKIP LOCKED, and WHERE is checked again under the lock
-- Index   job_expiring
WITH due AS MATERIALIZED (
    SELECT id, current_attempt FROM job
     WHERE finished_at IS NULL AND deadline_at <= app_now() AND state <> 'running'
     ORDER BY deadline_at LIMIT :batch
       FOR NO KEY UPDATE SKIP LOCKED
),
closed AS (
    UPDATE attempt a SET state = 'ended', outcome = 'expired', ended_at = app_now()
      FROM due WHERE a.id = due.current_attempt AND a.ended_at IS NULL
),
moved AS (
    UPDATE job SET state = 'expired', current_attempt = NULL, waiting_for = NULL, wake_at = NULL,
                   need_nanousd = NULL, finished_at = app_now(), event_seq = event_seq + 1,
                   error = jsonb_build_object('code', 'deadline_passed', 'retryable', true,
                       'message', 'The deadline passed before the job could finish.')
     WHERE id = ANY (ARRAY(SELECT id FROM due))
    RETURNING id, tenant, event_seq, workflow, metadata
),
told AS (
    INSERT INTO job_event (job, seq, tenant, at, name, data)
    SELECT id, event_seq, tenant, app_now(), 'job.expired', '{}' FROM moved
),
posted AS (
    INSERT INTO outbox_event (id, tenant, name, subject, payload, at)
    SELECT uuidv7(), tenant, 'job.expired', id,
           jsonb_build_object('workflow', workflow, 'metadata', metadata, 'status', 'expired'),
           app_now()
      FROM moved
     WHERE EXISTS (SELECT FROM webhook_endpoint e WHERE e.tenant = moved.tenant AND e.state = 'enabled')
)
SELECT id AS job,
       (SELECT pg_notify('jobs_ended', left(string_agg(CAST(id AS text), ','), 7900)) FROM moved) AS ended,
       (SELECT pg_notify('job_events', left(string_agg(CAST(id AS text), ','), 7900)) FROM moved) AS woken
  FROM moved
