-- Cancel: jobs without a running worker end; running ones are flagged, and their workers, or the reaper,
-- end them. The caller holds the jobs' locks and has looked at their states.
-- Takes   idle uuid[], running uuid[]
-- Gives   (id, state) of each as it is now
-- Locks   job (held by the caller), then their attempts
-- Races   claim, dispatch, finish: they wait for the job's lock, then see another state or the flag
-- Index   job_pkey, attempt_pkey
WITH before AS MATERIALIZED (
    SELECT id, current_attempt, id = ANY (CAST(:running AS uuid[])) AS running FROM job
     WHERE id = ANY (CAST(:idle AS uuid[]) || CAST(:running AS uuid[]))
),
closed AS (
    UPDATE attempt a SET state = 'ended', outcome = 'cancelled', ended_at = app_now()
      FROM before WHERE a.id = before.current_attempt AND a.ended_at IS NULL AND NOT before.running
),
moved AS (
    UPDATE job
       SET cancel_requested_at = app_now(), event_seq = event_seq + 1,
           state = CASE WHEN id = ANY (CAST(:running AS uuid[])) THEN state ELSE 'cancelled' END,
           current_attempt = CASE WHEN id = ANY (CAST(:running AS uuid[])) THEN current_attempt END,
           waiting_for = NULL, wake_at = NULL, need_nanousd = NULL,
           finished_at = CASE WHEN id = ANY (CAST(:running AS uuid[])) THEN NULL ELSE app_now() END
     WHERE id = ANY (ARRAY(SELECT id FROM before))
    RETURNING id, tenant, state, event_seq, current_attempt, workflow, metadata,
              id = ANY (CAST(:running AS uuid[])) AS running
),
told AS (
    INSERT INTO job_event (job, seq, tenant, at, name, attempt, data)
    SELECT id, event_seq, tenant, app_now(),
           CASE WHEN running THEN 'job.cancel_requested' ELSE 'job.cancelled' END, current_attempt, '{}'
      FROM moved
),
posted AS (
    INSERT INTO outbox_event (id, tenant, name, subject, payload, at)
    SELECT uuidv7(), tenant, 'job.cancelled', id,
           jsonb_build_object('workflow', workflow, 'metadata', metadata, 'status', state), app_now()
      FROM moved
     WHERE NOT running
       AND EXISTS (SELECT FROM webhook_endpoint e WHERE e.tenant = moved.tenant AND e.state = 'enabled')
)
SELECT id, state,
       (SELECT pg_notify('job_events', left(string_agg(CAST(id AS text), ','), 7900)) FROM moved) AS woken,
       (SELECT pg_notify('jobs_ended', left(string_agg(CAST(id AS text), ','), 7900))
          FROM moved WHERE NOT running) AS ended
  FROM moved
