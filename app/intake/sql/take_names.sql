-- Take names: these jobs, just made, have their unique keys from now on.
-- Takes   items jsonb: [{tenant, name, job, seconds}]
-- Gives   nothing
-- Locks   unique_key: rows that the caller has locked
-- Index   unique_key_pkey
UPDATE unique_key u
   SET job = item.job, held_until = app_now() + make_interval(secs => item.seconds)
  FROM jsonb_to_recordset(CAST(:items AS jsonb)) AS item (tenant uuid, name text, job uuid, seconds float8)
 WHERE u.tenant = item.tenant AND u.name = item.name
