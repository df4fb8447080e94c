-- Beat: a worker process says that it lives, and how many slots it has; the first beat enters it.
-- Takes   worker, host, pid, lanes, slots, stopping
-- Gives   nothing
-- Locks   its own worker row
-- Races   the sweep of dead workers: a beat after it enters the worker again
INSERT INTO worker AS w (id, host, pid, lanes, slots, started_at, seen_at, stopping_at)
VALUES (:worker, :host, :pid, CAST(:lanes AS text[]), :slots, app_now(), app_now(),
        CASE WHEN :stopping THEN app_now() END)
ON CONFLICT (id) DO UPDATE
   SET seen_at = excluded.seen_at, slots = excluded.slots,
       stopping_at = coalesce(w.stopping_at, excluded.stopping_at)
