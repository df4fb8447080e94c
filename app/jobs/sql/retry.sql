-- Retry: failed or expired jobs are queued again as new runs; recorded steps stay recorded, ranks stay.
-- Takes   jobs uuid[]
-- Gives   (id, state)
-- Locks   job (held by the caller, who has looked at their states)
-- Races   another retry: it waits for the lock, then finds the job queued
-- Index   job_pkey
WITH moved AS (
    UPDATE job
       SET state = 'queued', run = run + 1, failures = 0, losses = 0, shared_losses = 0, interruptions = 0, undelivered = 0,
           lane = coalesce(home_lane, lane), home_lane = NULL,
           error = NULL, finished_at = NULL, cancel_requested_at = NULL, queued_at = app_now(),
           deadline_at = CASE WHEN deadline_at > app_now() AND timeout_seconds IS NULL THEN deadline_at END,
           started_at = NULL,  -- of this run: what it may take is counted from there
           event_seq = event_seq + 1
     WHERE id = ANY (CAST(:jobs AS uuid[]))
    RETURNING id, tenant, state, event_seq, run
),
told AS (
    INSERT INTO job_event (job, seq, tenant, at, name, data)
    SELECT id, event_seq, tenant, app_now(), 'job.queued', jsonb_build_object('run', run) FROM moved
)
SELECT id, state, pg_notify('dispatch', '') AS woken,
       (SELECT pg_notify('job_events', left(string_agg(CAST(id AS text), ','), 7900)) FROM moved) AS told
  FROM moved
