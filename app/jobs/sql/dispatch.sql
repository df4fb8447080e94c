-- Dispatch: chosen queued jobs become dispatched, each with a new attempt under a short lease and an event.
-- Takes   jobs uuid[] (chosen by fairness) · lease interval
-- Gives   (attempt, job, tenant, lane, predicted_nanousd) of each that was still queued, in no order: sort before publishing
-- Locks   the jobs in id order
-- Races   another dispatcher, a cancel: SKIP LOCKED passes over rows they hold; a row that changed meanwhile
--         is read anew under its lock
-- Index   job_pkey. The state is looked at apart from the key: together they fit job_queued too, which would
--         be read from end to end where statistics say that it is short.
WITH held AS MATERIALIZED (
    SELECT id, state FROM job
     WHERE id = ANY (CAST(:jobs AS uuid[]))
     ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
),
moved AS (
    UPDATE job
       SET state = 'dispatched', current_attempt = uuidv7(), attempts = attempts + 1,
           event_seq = event_seq + 1
     WHERE id = ANY (ARRAY(SELECT id FROM held WHERE state = 'queued'))
    RETURNING id, tenant, lane, run, current_attempt, attempts, event_seq, predicted_nanousd
),
told AS (
    INSERT INTO job_event (job, seq, tenant, at, name, attempt, data)
    SELECT id, event_seq, tenant, app_now(), 'job.dispatched', current_attempt,
           jsonb_build_object('attempt', attempts)
      FROM moved
),
made AS (
    INSERT INTO attempt (id, tenant, job, run, number, state, lease_until, dispatched_at)
    SELECT current_attempt, tenant, id, run, attempts, 'dispatched',
           app_now() + CAST(:lease AS interval), app_now()
      FROM moved
)
SELECT current_attempt AS attempt, id AS job, tenant, lane, predicted_nanousd FROM moved
