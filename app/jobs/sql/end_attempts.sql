-- End attempts: a batch of attempts ends, and each job goes where its ending says.
-- Takes   items jsonb: [{job, attempt, from_state, lease_over, outcome, state, state_if_cancelled, …}];
--         the states come from states.py and the caller's rule, none is decided here. `step`: the last step's
--         event, told before the job's
-- Gives   (job, attempt, state) of each attempt that was ended; no row: it isn't current, or has ended,
--         or (lease_over) its lease is alive after all
-- Locks   job in id order, then attempt in id order
-- Races   reaper against finish, cancel against finish: whoever has the job's lock first; the other
--         finds another current_attempt. A finish under a cancel flag ends as state_if_cancelled.
-- Index   job_pkey, attempt_pkey, webhook_endpoint_tenant_id_key (an event that nobody listens for isn't posted).
--         Whether an attempt is open is looked at apart from its key: together they fit the indexes of open
--         attempts too, which would be read once an item where statistics say that they are short.
WITH item AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset(CAST(:items AS jsonb)) AS t (
        job uuid, attempt uuid, from_state text, lease_over boolean, outcome text,
        state text, state_if_cancelled text, ends boolean, output jsonb, error jsonb,
        attempt_error jsonb, waiting_for text, wake_in interval, need_nanousd bigint,
        quarantine boolean, failures bigint, losses bigint, shared_losses bigint, interruptions bigint,
        undelivered bigint, step text, step_data jsonb, progress jsonb, event uuid, facts jsonb)
),
held AS MATERIALIZED (
    SELECT item.*, j.cancel_requested_at IS NOT NULL AS cancelled
      FROM job j JOIN item ON item.job = j.id
     WHERE j.current_attempt = item.attempt AND j.state = item.from_state
     ORDER BY j.id FOR NO KEY UPDATE OF j
),
tried AS MATERIALIZED (
    SELECT held.*, a.ended_at, a.lease_until
      FROM attempt a JOIN held ON held.attempt = a.id
     ORDER BY a.id FOR NO KEY UPDATE OF a
),
fenced AS MATERIALIZED (
    SELECT tried.*,
           CASE WHEN cancelled THEN state_if_cancelled ELSE state END AS new_state,
           cancelled OR ends AS ended
      FROM tried WHERE ended_at IS NULL AND (NOT lease_over OR lease_until < app_now())
),
closed AS (
    UPDATE attempt a
       SET state = 'ended', ended_at = app_now(), error = fenced.attempt_error,
           outcome = CASE WHEN fenced.cancelled THEN fenced.state_if_cancelled ELSE fenced.outcome END
      FROM fenced WHERE a.id = fenced.attempt
),
moved AS (
    UPDATE job j
       SET state = fenced.new_state, current_attempt = NULL,
           event_seq = j.event_seq + CASE WHEN fenced.step IS NULL THEN 1 ELSE 2 END,
           output = CASE WHEN fenced.cancelled THEN NULL ELSE fenced.output END,
           error = CASE WHEN fenced.cancelled THEN NULL ELSE fenced.error END,
           -- steps that were not wanted count as done: nothing is left
           progress = CASE WHEN fenced.new_state = 'succeeded'
                           THEN jsonb_set(coalesce(fenced.progress, j.progress), '{done}',
                                          coalesce(fenced.progress, j.progress)->'total')
                           ELSE coalesce(fenced.progress, j.progress) END,
           waiting_for = CASE WHEN fenced.cancelled THEN NULL ELSE fenced.waiting_for END,
           wake_at = CASE WHEN fenced.cancelled THEN NULL ELSE app_now() + fenced.wake_in END,
           need_nanousd = CASE WHEN fenced.cancelled THEN NULL ELSE fenced.need_nanousd END,
           queued_at = CASE WHEN fenced.new_state = 'queued' THEN app_now() ELSE j.queued_at END,
           finished_at = CASE WHEN fenced.ended THEN app_now() END,
           lane = CASE WHEN fenced.quarantine THEN 'quarantine'
                       WHEN NOT fenced.quarantine THEN coalesce(j.home_lane, j.lane) ELSE j.lane END,
           home_lane = CASE WHEN fenced.quarantine THEN coalesce(j.home_lane, j.lane)
                            WHEN fenced.quarantine IS NULL THEN j.home_lane END,
           failures = j.failures + fenced.failures, losses = j.losses + fenced.losses,
           shared_losses = j.shared_losses + fenced.shared_losses,
           interruptions = j.interruptions + fenced.interruptions,
           undelivered = j.undelivered + fenced.undelivered
      FROM fenced WHERE j.id = fenced.job
    RETURNING j.id, j.tenant, j.state, j.event_seq, j.workflow, j.metadata, j.error,
              j.waiting_for, fenced.quarantine, fenced.attempt, fenced.outcome, fenced.event, fenced.ended,
              fenced.facts, fenced.step, fenced.step_data
),
told AS (
    INSERT INTO job_event (job, seq, tenant, at, name, attempt, data)
    SELECT id, event_seq, tenant, app_now(), 'job.' || state, attempt,
           jsonb_strip_nulls(jsonb_build_object(
               'outcome', outcome, 'waiting_for', waiting_for, 'alone', quarantine, 'error', error))
      FROM moved
    UNION ALL
    SELECT id, event_seq - 1, tenant, app_now(), step, attempt, step_data
      FROM moved WHERE step IS NOT NULL
),
posted AS (
    INSERT INTO outbox_event (id, tenant, name, subject, payload, at)
    SELECT event, tenant, 'job.' || state, id, facts || jsonb_build_object('status', state), app_now()
      FROM moved
     WHERE (ended OR state = 'waiting')
       AND EXISTS (SELECT FROM webhook_endpoint e WHERE e.tenant = moved.tenant AND e.state = 'enabled')
)
SELECT moved.id AS job, moved.attempt, moved.state,
       (SELECT pg_notify('dispatch', '') FROM (SELECT FROM moved LIMIT 1) AS any_moved) AS slots,
       (SELECT pg_notify('job_events', left(string_agg(CAST(id AS text), ','), 7900)) FROM moved) AS woken,
       (SELECT pg_notify('jobs_ended', left(string_agg(CAST(id AS text), ','), 7900)) FROM moved WHERE ended) AS ended
  FROM moved
