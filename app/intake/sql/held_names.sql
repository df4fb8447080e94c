-- Held names: who has each of these unique keys, and whether the item was answered before.
-- Takes   items jsonb: [{n, tenant, name, route, intent}]
-- Gives   (n, job, state, ended, windowed, known, at) of each; without a state there is no such job
-- Locks   nothing: the names are the caller's already
-- Index   unique_key_pkey, job_pkey, idempotency_record_pkey
SELECT item.n, u.job, j.state, coalesce(j.finished_at IS NOT NULL, false) AS ended,
       coalesce(u.held_until > app_now(), false) AS windowed,
       EXISTS (SELECT FROM idempotency_record r
                WHERE r.tenant = item.tenant AND r.route = item.route AND r.key = item.intent
                  AND r.expires_at > app_now()) AS known,
       app_now() AS at
  FROM jsonb_to_recordset(CAST(:items AS jsonb)) AS item (n int, tenant uuid, name text, route text, intent text)
  JOIN unique_key u ON u.tenant = item.tenant AND u.name = item.name
  LEFT JOIN job j ON j.id = u.job
