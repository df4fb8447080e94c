-- Fence: which of these attempts are still under way; they can't end before this transaction does.
-- Takes   attempts uuid[]
-- Gives   (id) of each that has not ended
-- Locks   attempt in id order, FOR SHARE
-- Races   finish, park, reap: whoever has the row first; an attempt that ended meanwhile is left out
-- Index   attempt_pkey
SELECT id FROM attempt
 WHERE id = ANY (CAST(:attempts AS uuid[])) AND ended_at IS NULL
 ORDER BY id FOR SHARE
