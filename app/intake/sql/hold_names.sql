-- Hold names: each of these unique keys has a row, locked by this transaction.
-- Takes   items jsonb: [{tenant, name, …}]
-- Gives   nothing
-- Locks   unique_key in key order
-- Races   the same name elsewhere: the second waits for the first to commit; its next statement sees it
-- Index   unique_key_pkey
INSERT INTO unique_key (tenant, name)
SELECT DISTINCT tenant, name
  FROM jsonb_to_recordset(CAST(:items AS jsonb)) AS t (tenant uuid, name text)
 ORDER BY tenant, name
ON CONFLICT (tenant, name) DO UPDATE SET name = excluded.name
