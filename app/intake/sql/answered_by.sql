-- Answered by: idempotency keys of requests that were answered with a job that was there.
-- Takes   items jsonb: [{tenant, route, intent, fingerprint, object}] · kept interval
-- Gives   nothing
-- Locks   idempotency_record in key order
-- Races   the same key elsewhere: whoever commits first is what a replay finds
-- Index   idempotency_record_pkey
INSERT INTO idempotency_record (tenant, route, key, fingerprint, object, created_at, expires_at)
SELECT tenant, route, intent, decode(fingerprint, 'hex'), object, app_now(), app_now() + CAST(:kept AS interval)
  FROM jsonb_to_recordset(CAST(:items AS jsonb))
       AS t (tenant uuid, route text, intent text, fingerprint text, object uuid)
 ORDER BY tenant, route, intent
ON CONFLICT (tenant, route, key) DO NOTHING
