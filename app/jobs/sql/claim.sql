-- Claim: a worker takes up dispatched attempts; their jobs are running, under a lease.
-- Takes   items jsonb: [{job, attempt}] · worker uuid · lease interval
-- Gives   what a run needs of each job; no row for an item: there is nothing left to claim, drop it
-- Locks   job in id order, then attempt in id order
-- Races   duplicate message, reaper, cancel: the second waits, then sees another state or attempt.
--         sent again after a lost connection: the attempt is this worker's own already, and is given again
-- Index   job_pkey, attempt_pkey
WITH item AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset(CAST(:items AS jsonb)) AS t (job uuid, attempt uuid)
),
held AS MATERIALIZED (
    SELECT j.id, j.current_attempt, j.state
      FROM job j JOIN item ON item.job = j.id
     WHERE j.current_attempt = item.attempt  -- only a job that is dispatched or running has one
     ORDER BY j.id FOR NO KEY UPDATE OF j
),
fenced AS MATERIALIZED (
    SELECT a.id, a.job, a.state
      FROM attempt a JOIN held ON held.current_attempt = a.id
     WHERE a.state = 'dispatched' OR (a.state = 'running' AND a.worker = :worker)
     ORDER BY a.id FOR NO KEY UPDATE OF a
),
taken AS (
    UPDATE attempt a
       SET state = 'running', worker = :worker, claimed_at = coalesce(a.claimed_at, app_now()),
           lease_until = app_now() + CAST(:lease AS interval)
      FROM fenced WHERE a.id = fenced.id
    RETURNING a.id, a.job, a.number
),
moved AS (
    UPDATE job j
       SET state = 'running', started_at = coalesce(j.started_at, app_now()),
           event_seq = j.event_seq + CASE WHEN fenced.state = 'dispatched' THEN 1 ELSE 0 END,
           undelivered = 0,
           -- least() passes over a NULL: the earlier of its own deadline and of what its run may take
           deadline_at = CASE WHEN j.started_at IS NULL AND j.timeout_seconds IS NOT NULL
                              THEN least(j.deadline_at, app_now() + j.timeout_seconds * interval '1 second')
                              ELSE j.deadline_at END
      FROM fenced WHERE j.id = fenced.job
    RETURNING j.*, fenced.state = 'dispatched' AS fresh
),
told AS (
    INSERT INTO job_event (job, seq, tenant, at, name, attempt, data)
    SELECT moved.id, event_seq, tenant, app_now(), 'job.running', current_attempt,
           jsonb_build_object('attempt', attempts)
      FROM moved WHERE fresh
)
SELECT moved.id AS job, moved.tenant, taken.id AS attempt, taken.number, moved.run, moved.key,
       moved.workflow, moved.version, moved.version_number,
       coalesce(moved.home_lane, moved.lane) AS lane, moved.input,
       moved.max_attempts, moved.failures, moved.losses, moved.interruptions, moved.deadline_at,
       moved.metadata, moved.tags, moved.end_user, moved.session, moved.traceparent,
       moved.cancel_requested_at IS NOT NULL AS cancelled, moved.home_lane IS NOT NULL AS quarantined,
       (SELECT pg_notify('job_events', left(string_agg(CAST(id AS text), ','), 7900)) FROM fenced) AS woken
  FROM moved JOIN taken ON taken.job = moved.id
