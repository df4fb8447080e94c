-- Lock: the states of jobs, which stay so until the caller commits.
-- Takes   jobs uuid[]
-- Gives   (id, state) of each that is there
-- Locks   job in id order
-- Races   dispatch passes over them; everyone else waits
-- Index   job_pkey
SELECT id, state FROM job WHERE id = ANY (CAST(:jobs AS uuid[])) ORDER BY id FOR NO KEY UPDATE
