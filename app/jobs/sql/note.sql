-- Note: events of running jobs (a step recorded, progress), in the order given.
-- Takes   items jsonb: [{n, job, attempt, name, data, progress}]
-- Gives   (n, cancelled, expired) of each item whose attempt is current; no row: it is lost
-- Locks   job in id order
-- Races   reaper, cancel: after them current_attempt is another, or none
-- Index   job_pkey
WITH item AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset(CAST(:items AS jsonb)) AS t (
        n int, job uuid, attempt uuid, name text, data jsonb, progress jsonb)
),
held AS MATERIALIZED (
    SELECT j.id FROM job j
     WHERE j.id = ANY (ARRAY(SELECT job FROM item))
     ORDER BY j.id FOR NO KEY UPDATE
),
numbered AS MATERIALIZED (
    SELECT item.*, row_number() OVER (PARTITION BY item.job ORDER BY item.n) AS place,
           count(*) OVER (PARTITION BY item.job) AS places
      FROM item JOIN held ON held.id = item.job
),
moved AS (
    UPDATE job j
       SET event_seq = j.event_seq + last.places, progress = coalesce(last.progress, j.progress),
           -- these count from the last checkpoint on
           interruptions = CASE WHEN last.name = 'step.succeeded' THEN 0 ELSE j.interruptions END,
           shared_losses = CASE WHEN last.name = 'step.succeeded' THEN 0 ELSE j.shared_losses END
      FROM numbered last
     WHERE last.place = last.places AND j.id = last.job
       AND j.current_attempt = last.attempt AND j.state = 'running'
    RETURNING j.id, j.tenant, j.current_attempt, j.event_seq, last.places,
              j.cancel_requested_at IS NOT NULL AS cancelled,
              coalesce(j.deadline_at <= app_now(), false) AS expired
),
told AS (
    INSERT INTO job_event (job, seq, tenant, at, name, attempt, data)
    SELECT moved.id, moved.event_seq - moved.places + numbered.place, moved.tenant, app_now(),
           numbered.name, moved.current_attempt, numbered.data
      FROM moved JOIN numbered ON numbered.job = moved.id
)
SELECT numbered.n, moved.cancelled, moved.expired,
       (SELECT pg_notify('job_events', left(string_agg(CAST(id AS text), ','), 7900)) FROM moved) AS woken
  FROM numbered JOIN moved ON moved.id = numbered.job
