-- Watched: where jobs that clients wait for stand now.
-- Takes   jobs uuid[]
-- Gives   (id, event_seq, finished) of each that is there
-- Locks   nothing
-- Races   nothing: it is asked again within a second
-- Index   job_pkey
SELECT id, event_seq, finished_at IS NOT NULL AS finished FROM job WHERE id = ANY (:jobs)
