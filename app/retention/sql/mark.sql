-- Mark: how far a purge has come.
-- Takes   kind text · after uuid · purged int · behind_seconds float8
-- Gives   nothing
-- Locks   purge_mark
-- Races   another purge of the kind: the later one stands; what it deletes twice is gone already
INSERT INTO purge_mark AS m (kind, after, purged, behind_seconds, at)
VALUES (:kind, :after, :purged, :behind_seconds, app_now())
ON CONFLICT (kind) DO UPDATE
   SET after = excluded.after, purged = m.purged + excluded.purged,
       behind_seconds = excluded.behind_seconds, at = excluded.at
