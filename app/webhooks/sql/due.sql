-- Due: release deliveries of these endpoints, each up to its share, all up to what may be in flight.
-- The least occupied endpoint comes first, so a silent one delays nobody.
-- Takes   endpoints uuid[], locked · per_endpoint, in_flight, limit int · lease interval
-- Gives   (id) of each delivery, dispatched under a lease
-- Locks   delivery, SKIP LOCKED
-- Index   delivery_due by endpoint; delivery_leased for what is in flight
WITH busy AS MATERIALIZED (
    SELECT endpoint, count(*) AS held FROM delivery WHERE state = 'dispatched' GROUP BY endpoint
),
picked AS MATERIALIZED (
    SELECT pick.id, pick.due_at, share.endpoint, share.held
      FROM (SELECT asked.endpoint, coalesce(busy.held, 0) AS held
              FROM unnest(CAST(:endpoints AS uuid[])) AS asked (endpoint)
              LEFT JOIN busy USING (endpoint)) AS share
     CROSS JOIN LATERAL (
        SELECT d.id, d.due_at FROM delivery d
         WHERE d.endpoint = share.endpoint AND d.state = 'pending' AND d.due_at <= app_now()
         ORDER BY d.due_at
         LIMIT greatest(:per_endpoint - share.held, 0)
           FOR UPDATE SKIP LOCKED) AS pick
),
chosen AS (
    SELECT id, held + row_number() OVER (PARTITION BY endpoint ORDER BY due_at) AS place, due_at
      FROM picked
     ORDER BY place, due_at
     LIMIT least(:limit, greatest(:in_flight - (SELECT coalesce(sum(held), 0) FROM busy), 0))
)
UPDATE delivery SET state = 'dispatched', lease_until = app_now() + :lease
 WHERE id = ANY (ARRAY(SELECT id FROM chosen))
RETURNING id
