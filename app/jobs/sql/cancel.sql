-- Cancel: a job without a running worker ends; a running one is flagged, and its worker, or the reaper,
-- ends it. The caller holds the job's lock and has looked at its state.
-- Takes   job uuid · running boolean · event uuid
-- Gives   (state) the job is in now
-- Locks   job (held by the caller), then its attempt
-- Races   claim, dispatch, finish: they wait for the job's lock, then see another state or the flag
-- Index   job_pkey, attempt_pkey
WITH before AS MATERIALIZED (
    SELECT id, current_attempt FROM job WHERE id = :job
),
closed AS (
    UPDATE attempt a SET state = 'ended', outcome = 'cancelled', ended_at = app_now()
      FROM before WHERE a.id = before.current_attempt AND a.ended_at IS NULL AND NOT :running
),
moved AS (
    UPDATE job
       SET cancel_requested_at = app_now(), event_seq = event_seq + 1,
           state = CASE WHEN :running THEN state ELSE 'cancelled' END,
           current_attempt = CASE WHEN :running THEN current_attempt END,
           waiting_for = NULL, wake_at = NULL, need_nanousd = NULL,
           finished_at = CASE WHEN NOT :running THEN app_now() END
     WHERE id = :job
    RETURNING id, tenant, state, event_seq, current_attempt, workflow, metadata
),
told AS (
    INSERT INTO job_event (job, seq, tenant, at, name, attempt, data)
    SELECT id, event_seq, tenant, app_now(),
           CASE WHEN :running THEN 'job.cancel_requested' ELSE 'job.cancelled' END, current_attempt, '{}'
      FROM moved
),
posted AS (
    INSERT INTO outbox_event (id, tenant, name, subject, payload, at)
    SELECT :event, tenant, 'job.cancelled', id,
           jsonb_build_object('workflow', workflow, 'metadata', metadata, 'status', state), app_now()
      FROM moved
     WHERE NOT :running
       AND EXISTS (SELECT FROM webhook_endpoint e WHERE e.tenant = moved.tenant AND e.state = 'enabled')
)
SELECT state, pg_notify('job_events', CAST(id AS text)) AS woken,
       (SELECT pg_notify('jobs_ended', CAST(id AS text)) FROM moved WHERE NOT :running) AS ended
  FROM moved
