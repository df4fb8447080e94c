-- Earlier: what was done before under the ids of this batch.
-- Takes   holds uuid[] · keys text[]
-- Gives   (hold, key, reply): a hold made before, or an effect with its reply
-- Locks   nothing: it runs after the accounts' lock, which every writer of these rows holds
-- Races   the same batch, committed but not heard of: its holds are seen here
-- Index   reservation_pkey, effect_pkey
SELECT id AS hold, NULL AS key, NULL AS reply FROM reservation WHERE id = ANY (CAST(:holds AS uuid[]))
UNION ALL
SELECT NULL, key, reply FROM effect WHERE key = ANY (CAST(:keys AS text[]))
