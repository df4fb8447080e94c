-- Dispatch: up to n queued jobs of each chosen tenant in one lane become dispatched, each with a new
-- attempt under a short lease and an event.
-- Takes   lane text · tenants uuid[] · counts int[] (same length; chosen by fairness) · lease interval
-- Gives   (attempt, job, tenant, predicted_nanousd) of each, in no order: sort before publishing
-- Locks   only the job rows it returns
-- Races   another dispatcher, a cancel: SKIP LOCKED passes over rows they hold, and rows that changed
--         state meanwhile fail the re-check of WHERE
-- Index   job_queued. `id = ANY (ARRAY(…))` keeps the UPDATE on the primary key; a join may be planned
--         as a scan of the table. The connection sets enable_seqscan=off, plan_cache_mode=force_custom_plan.
WITH moved AS (
    UPDATE job
       SET state = 'dispatched', current_attempt = uuidv7(), attempts = attempts + 1,
           event_seq = event_seq + 1
     WHERE id = ANY (ARRAY(
             SELECT picked.id
               FROM unnest(CAST(:tenants AS uuid[]), CAST(:counts AS int[])) AS w (tenant, n)
              CROSS JOIN LATERAL (
                    SELECT q.id FROM job q
                     WHERE q.lane = :lane AND q.tenant = w.tenant AND q.state = 'queued'
                     ORDER BY q.rank, q.id
                     LIMIT w.n
                       FOR NO KEY UPDATE SKIP LOCKED) AS picked))
    RETURNING id, tenant, run, current_attempt, attempts, event_seq, predicted_nanousd
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
    RETURNING id
)
SELECT current_attempt AS attempt, id AS job, tenant, predicted_nanousd FROM moved
