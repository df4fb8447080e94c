-- Lock: where jobs stand, which stays so until the caller commits.
-- Takes   jobs uuid[]
-- Gives   (id, tenant, state, run, cancelling, erased) of each that is there
-- Locks   job in id order
-- Races   dispatch passes over them; everyone else waits
-- Index   job_pkey
SELECT id, tenant, state, run, cancel_requested_at IS NOT NULL AS cancelling, erased_at IS NOT NULL AS erased
  FROM job WHERE id = ANY (CAST(:jobs AS uuid[])) ORDER BY id FOR NO KEY UPDATE
