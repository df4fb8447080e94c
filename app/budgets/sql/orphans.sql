-- Orphans: open holds whose attempt ended longer ago than any late settlement takes.
-- Takes   grace interval · batch int
-- Gives   (id) of each
-- Locks   nothing: holds.sql locks them, and what was closed meanwhile is left as it is
-- Races   as open_of_attempts.sql
-- Index   reservation_open, attempt_pkey
SELECT r.id FROM reservation r JOIN attempt a ON a.id = r.attempt
 WHERE r.state = 'held' AND a.ended_at < app_now() - CAST(:grace AS interval)
 ORDER BY r.id
 LIMIT :batch
