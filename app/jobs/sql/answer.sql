-- Answer: a job that waits for a person goes on, or has failed. The caller holds the job's lock and has
-- looked at its state; which state comes is the caller's rule.
-- Takes   job uuid · state text · ends boolean · error jsonb or null · data jsonb, of the event
-- Gives   (state)
-- Locks   job (held by the caller)
-- Races   cancel, expire: they wait for the job's lock, then see another state
-- Index   job_pkey
WITH moved AS (
    UPDATE job
       SET state = :state, waiting_for = NULL, wake_at = NULL, need_nanousd = NULL,
           error = CAST(:error AS jsonb), event_seq = event_seq + 1,
           queued_at = CASE WHEN :ends THEN queued_at ELSE app_now() END,
           finished_at = CASE WHEN :ends THEN app_now() END
     WHERE id = :job
    RETURNING id, tenant, state, event_seq, workflow, metadata
),
told AS (
    INSERT INTO job_event (job, seq, tenant, at, name, data)
    SELECT id, event_seq, tenant, app_now(), 'job.' || state, CAST(:data AS jsonb) FROM moved
),
posted AS (
    INSERT INTO outbox_event (id, tenant, name, subject, payload, at)
    SELECT uuidv7(), tenant, 'job.' || state, id,
           jsonb_build_object('workflow', workflow, 'metadata', metadata, 'status', state), app_now()
      FROM moved
     WHERE :ends
       AND EXISTS (SELECT FROM webhook_endpoint e WHERE e.tenant = moved.tenant AND e.state = 'enabled')
)
SELECT state, pg_notify('dispatch', '') AS slots, pg_notify('job_events', CAST(id AS text)) AS woken,
       (SELECT pg_notify('jobs_ended', CAST(id AS text)) FROM moved WHERE :ends) AS ended
  FROM moved
