-- Move: jobs that wait go to another lane, or get another priority; each takes the place that admission would
-- have given it. One in quarantine stays there: it is its lane to come back to that changes.
-- Takes   jobs uuid[] · tenant uuid: null for whoever's · lane text, priority bigint: null leaves as it is ·
--         head_start interval
-- Gives   (job, tenant, state, moved, lane, priority, old_lane, old_priority) of each that is there; not moved:
--         a worker has it or it has ended, or it stands there already
-- Locks   job in id order
-- Races   dispatch: it passes over what is held here; what it released first is waited for, and stays as it is.
--         claim, finish, cancel, wake: whoever has the job's lock first; the state is read under it
-- Index   job_pkey
WITH held AS MATERIALIZED (
    SELECT id, tenant, state, coalesce(home_lane, lane) AS lane, priority FROM job
     WHERE id = ANY (CAST(:jobs AS uuid[]))
       AND (CAST(:tenant AS uuid) IS NULL OR tenant = CAST(:tenant AS uuid))
     ORDER BY id FOR NO KEY UPDATE
),
wanted AS MATERIALIZED (
    SELECT id, state, lane, priority, coalesce(CAST(:lane AS text), lane) AS new_lane,
           coalesce(CAST(:priority AS bigint), priority) AS new_priority
      FROM held
),
moved AS (
    UPDATE job j
       SET lane = CASE WHEN j.home_lane IS NULL THEN wanted.new_lane ELSE j.lane END,
           home_lane = CASE WHEN j.home_lane IS NOT NULL THEN wanted.new_lane END,
           priority = wanted.new_priority, event_seq = j.event_seq + 1,
           rank = coalesce(j.run_at, j.created_at) - wanted.new_priority * CAST(:head_start AS interval)
      FROM wanted
     WHERE j.id = wanted.id AND wanted.state IN ('scheduled', 'queued', 'waiting')
       AND (wanted.new_lane, wanted.new_priority) <> (wanted.lane, wanted.priority)
    RETURNING j.id, j.tenant, j.event_seq, wanted.new_lane AS lane, j.priority,
              wanted.lane AS old_lane, wanted.priority AS old_priority
),
told AS (
    INSERT INTO job_event (job, seq, tenant, at, name, data)
    SELECT id, event_seq, tenant, app_now(), 'job.moved',
           jsonb_build_object('lane', lane, 'priority', priority, 'from',
                              jsonb_build_object('lane', old_lane, 'priority', old_priority))
      FROM moved
)
SELECT held.id AS job, held.tenant, held.state, moved.id IS NOT NULL AS moved,
       coalesce(moved.lane, held.lane) AS lane, coalesce(moved.priority, held.priority) AS priority,
       held.lane AS old_lane, held.priority AS old_priority,
       (SELECT pg_notify('dispatch', '') FROM (SELECT FROM moved LIMIT 1) AS any_moved) AS woken,
       (SELECT pg_notify('job_events', left(string_agg(CAST(id AS text), ','), 7900)) FROM moved) AS seen
  FROM held LEFT JOIN moved ON moved.id = held.id
