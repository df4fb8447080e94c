-- Record: checkpoints of steps. The caller has fenced them; the lease of an attempt that goes on is renewed.
-- Takes   items jsonb: [{step, tenant, job, attempt, name, item, kind, state, result, error, facts, took}] · lease interval
-- Gives   (step) of each that was stored; none where the step was recorded before
-- Locks   attempt in id order, those that go on (the jobs' locks are held by the caller)
-- Races   reaper: it needs the job's lock first. The same batch sent again: step_recorded refuses the second
-- Index   attempt_pkey, step_recorded
WITH item AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset(CAST(:items AS jsonb)) AS t (
        step uuid, tenant uuid, job uuid, attempt uuid, name text, item bigint, kind text, state text,
        result jsonb, error jsonb, facts jsonb, took interval)
),
held AS MATERIALIZED (
    SELECT a.id FROM attempt a
     WHERE a.id = ANY (ARRAY(SELECT attempt FROM item)) AND a.ended_at IS NULL
     ORDER BY a.id FOR NO KEY UPDATE
),
renewed AS (
    UPDATE attempt SET lease_until = greatest(lease_until, app_now() + CAST(:lease AS interval))
     WHERE id = ANY (ARRAY(SELECT id FROM held))
)
INSERT INTO step (id, tenant, job, attempt, name, item, kind, state, result, error, facts,
                  started_at, finished_at)
SELECT item.step, item.tenant, item.job, item.attempt, item.name, item.item, item.kind, item.state,
       item.result, item.error, item.facts, app_now() - item.took, app_now()
  FROM item
 ORDER BY item.job, item.name, item.item
ON CONFLICT DO NOTHING
RETURNING id AS step
