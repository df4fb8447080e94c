-- Admit: a batch of jobs, each with its idempotency record, first event and audit entry, in one commit.
-- Takes   items jsonb: [{n, job, tenant, key, route, intent, fingerprint, …}], n in order of arrival
-- Gives   (n, job, outcome, limit_nanousd, spent_nanousd, held_nanousd, at) of each item, by n;
--         outcome: created | replayed | conflict | refused (its envelope has no room: nothing is stored)
-- Locks   idempotency_record in key order; a tenant's row FOR KEY SHARE by the foreign keys
-- Races   the same intent elsewhere: the second waits at the record, then replays. DO UPDATE, since
--         DO NOTHING can't return a row committed after this statement's snapshot.
--         sent again after a lost connection: the record names this very job, which is there: created
-- Index   idempotency_record_pkey, budget_account_of_tenant
WITH item AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset(CAST(:items AS jsonb)) AS t (
        n int, job uuid, tenant uuid, key uuid, route text, intent text, fingerprint text,
        workflow text, version uuid, version_number bigint, state text, lane text, priority bigint,
        cap_group bigint, limits jsonb, head_start interval, input jsonb, max_cost_nanousd bigint,
        predicted_nanousd bigint, max_attempts bigint, timeout_seconds bigint, run_at timestamptz, deadline_at timestamptz, metadata jsonb,
        tags text[], end_user text, session text, traceparent text, callback uuid, account uuid, tokens bigint,
        entry uuid, entry_at timestamptz, action text, body text, salt text)
),
room AS MATERIALIZED (
    SELECT item.n, a.limit_nanousd, a.spent_nanousd, a.held_nanousd,
           a.overrun_at IS NULL AND
           least(item.predicted_nanousd, item.max_cost_nanousd)
             <= a.limit_nanousd - a.spent_nanousd - a.held_nanousd AS fits
      FROM item JOIN budget_account a ON a.tenant = item.tenant AND a.kind = 'tenant'
),
known AS MATERIALIZED (
    SELECT item.n
      FROM item JOIN idempotency_record r
        ON r.tenant = item.tenant AND r.route = item.route AND r.key = item.intent
     WHERE r.expires_at > app_now()
),
welcome AS MATERIALIZED (
    SELECT item.* FROM item
     WHERE item.n IN (SELECT n FROM known)
        OR item.n IN (SELECT n FROM room WHERE fits)
),
first AS MATERIALIZED (
    SELECT DISTINCT ON (tenant, route, intent) * FROM welcome
     WHERE intent IS NOT NULL ORDER BY tenant, route, intent, n
),
claimed AS (
    INSERT INTO idempotency_record AS r
           (tenant, route, key, fingerprint, object, created_at, expires_at)
    SELECT tenant, route, intent, decode(fingerprint, 'hex'), job, app_now(),
           app_now() + CAST(:kept AS interval)
      FROM first ORDER BY tenant, route, intent
    ON CONFLICT (tenant, route, key) DO UPDATE SET
        fingerprint = CASE WHEN r.expires_at > app_now() THEN r.fingerprint ELSE excluded.fingerprint END,
        object = CASE WHEN r.expires_at > app_now() THEN r.object ELSE excluded.object END,
        created_at = CASE WHEN r.expires_at > app_now() THEN r.created_at ELSE excluded.created_at END,
        expires_at = CASE WHEN r.expires_at > app_now() THEN r.expires_at ELSE excluded.expires_at END
    RETURNING tenant, route, key, fingerprint, object
),
fresh AS MATERIALIZED (
    SELECT first.* FROM first
      JOIN claimed c ON c.tenant = first.tenant AND c.route = first.route AND c.key = first.intent
     WHERE c.object = first.job
    UNION ALL
    SELECT * FROM welcome WHERE intent IS NULL
),
made AS (
    INSERT INTO job (id, tenant, key, workflow, version, version_number, state, lane, priority, rank,
                     cap_group, limits, input, max_cost_nanousd, predicted_nanousd, max_attempts,
                     timeout_seconds, run_at, wake_at, deadline_at, metadata, tags, end_user, session, traceparent,
                     callback, created_at, queued_at)
    SELECT job, tenant, key, workflow, version, version_number, state, lane, priority,
           coalesce(run_at, app_now()) - priority * head_start, cap_group, limits,
           input, max_cost_nanousd, predicted_nanousd, max_attempts, timeout_seconds, run_at,
           CASE WHEN state = 'scheduled' THEN run_at END,
           deadline_at, metadata, coalesce(tags, '{}'), end_user, session, traceparent, callback, app_now(),
           CASE WHEN state = 'queued' THEN app_now() END
      FROM fresh ORDER BY job
    ON CONFLICT (id) DO NOTHING
    RETURNING id, tenant, state
),
told AS (
    INSERT INTO job_event (job, seq, tenant, at, name, data)
    SELECT id, 1, tenant, app_now(), 'job.' || state, '{}' FROM made
),
job_account AS (
    INSERT INTO budget_account (id, tenant, kind, job, limit_nanousd, created_at)
    SELECT fresh.account, fresh.tenant, 'job', fresh.job, fresh.max_cost_nanousd, app_now()
      FROM fresh JOIN made ON made.id = fresh.job
     WHERE fresh.max_cost_nanousd IS NOT NULL
),
charged AS (
    INSERT INTO token_charge (job, tenant, key, end_user, tokens, charged_at)
    SELECT fresh.job, fresh.tenant, fresh.key, fresh.end_user, fresh.tokens, app_now()
      FROM fresh JOIN made ON made.id = fresh.job
     WHERE fresh.tokens > 0
),
audited AS (
    INSERT INTO audit_entry (id, chain, at, action, body, salt)
    SELECT fresh.entry, fresh.tenant, fresh.entry_at, fresh.action, fresh.body, decode(fresh.salt, 'hex')
      FROM fresh JOIN made ON made.id = fresh.job
    RETURNING id
),
unsealed AS (
    INSERT INTO audit_pending (entry) SELECT id FROM audited
)
SELECT item.n, coalesce(c.object, item.job) AS job,
       CASE WHEN welcome.n IS NULL THEN 'refused'
            WHEN item.intent IS NULL THEN 'created'
            WHEN c.fingerprint <> decode(item.fingerprint, 'hex') THEN 'conflict'
            WHEN c.object = item.job THEN 'created'
            ELSE 'replayed' END AS outcome,
       room.limit_nanousd, room.spent_nanousd, room.held_nanousd, app_now() AS at,
       (SELECT pg_notify('dispatch', '') FROM (SELECT FROM made WHERE state = 'queued' LIMIT 1) AS any_made) AS woken
  FROM item
  LEFT JOIN room ON room.n = item.n
  LEFT JOIN welcome ON welcome.n = item.n
  LEFT JOIN claimed c ON c.tenant = item.tenant AND c.route = item.route AND c.key = item.intent
 ORDER BY item.n
