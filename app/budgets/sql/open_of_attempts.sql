-- Open of attempts: holds that the ended attempts left open.
-- Takes   attempts uuid[]
-- Gives   (id) of each
-- Locks   nothing: holds.sql locks them, and what was closed meanwhile is left as it is
-- Races   settle: whoever has the hold first
-- Index   reservation_open
SELECT id FROM reservation WHERE attempt = ANY (CAST(:attempts AS uuid[])) AND state = 'held'
