-- Page: the next jobs in the order of their ids, which is the order in which they were made.
-- Takes   after uuid · until uuid · batch int
-- Gives   (id)
-- Locks   nothing: erase.sql and forget.sql look at each job again
-- Index   job_pkey
SELECT id FROM job WHERE id > :after AND id < :until ORDER BY id LIMIT :batch
