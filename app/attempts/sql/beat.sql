-- Beat: a worker process says that it lives, and how many slots it has; the first beat enters it.
-- Takes   worker, host, pid, lanes, slots, stopping, hears (messages reach it)
-- Gives   (held): an operator has paused or drained it, it takes no new work
-- Locks   its own worker row
-- Races   the sweep of dead workers: a beat after it enters the worker again
-- Index   worker_pkey, pause_pkey
INSERT INTO worker AS w (id, host, pid, lanes, slots, started_at, seen_at, heard_at, stopping_at)
VALUES (:worker, :host, :pid, CAST(:lanes AS text[]), :slots, app_now(), app_now(), app_now(),
        CASE WHEN :stopping THEN app_now() END)
ON CONFLICT (id) DO UPDATE
   SET seen_at = excluded.seen_at,
       heard_at = CASE WHEN :hears THEN excluded.heard_at ELSE w.heard_at END,
       slots = excluded.slots,
       stopping_at = coalesce(w.stopping_at, excluded.stopping_at)
RETURNING EXISTS (SELECT FROM pause p
                   WHERE p.kind = 'worker' AND p.owner = '00000000-0000-0000-0000-000000000000'
                     AND p.name = CAST(w.id AS text)) AS held
