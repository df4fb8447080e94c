-- Settle charges: of jobs that are over, what was charged to limits of tokens and what was used.
-- Takes   jobs uuid[]; null: the oldest :batch charges, whatever was said of their jobs
-- Gives   (tenant, key, end_user, tokens, used, plan_limits, limits) of each charge that is taken off
-- Locks   token_charge, only the rows it takes off
-- Races   another one: it finds them gone. A line that is metered later is not given back or charged.
-- Index   token_charge_pkey or token_charge_charged_at, job_pkey, usage_line_of_job
WITH looked AS MATERIALIZED (
    SELECT job FROM token_charge
     WHERE job = ANY (CAST(:jobs AS uuid[]))
    UNION ALL
    (SELECT job FROM token_charge
      WHERE CAST(:jobs AS uuid[]) IS NULL ORDER BY charged_at LIMIT :batch)
),
over AS (
    DELETE FROM token_charge c
     USING looked JOIN job ON job.id = looked.job AND job.finished_at IS NOT NULL
     WHERE c.job = looked.job
    RETURNING c.job, c.tenant, c.key, c.end_user, c.tokens
)
SELECT over.tenant, over.key, over.end_user, over.tokens,
       (SELECT coalesce(sum(input_tokens + output_tokens), 0) FROM usage_line
         WHERE usage_line.job = over.job) AS used,
       plan.limits AS plan_limits, tenant.limits
  FROM over JOIN tenant ON tenant.id = over.tenant LEFT JOIN plan ON plan.name = tenant.plan
