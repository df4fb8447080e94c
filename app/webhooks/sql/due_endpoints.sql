-- Due endpoints: those with a delivery that is due, locked, so that two dispatchers never fill one
-- endpoint's share twice. The deliveries themselves are counted in the next statement, which sees
-- what an earlier holder of the lock committed.
-- Takes   –
-- Gives   (id) of endpoints
-- Locks   webhook_endpoint, SKIP LOCKED
-- Races   another dispatcher: has this endpoint's deliveries in hand; next time
-- Index   delivery_due, by a skip scan: one probe an endpoint gives its earliest delivery
WITH RECURSIVE earliest AS (
    (SELECT endpoint, due_at FROM delivery WHERE state = 'pending'
      ORDER BY endpoint, due_at LIMIT 1)
    UNION ALL
    SELECT later.endpoint, later.due_at
      FROM earliest
     CROSS JOIN LATERAL (
        SELECT d.endpoint, d.due_at FROM delivery d
         WHERE d.state = 'pending' AND d.endpoint > earliest.endpoint
         ORDER BY d.endpoint, d.due_at LIMIT 1) AS later
)
SELECT e.id FROM webhook_endpoint e
 WHERE e.id = ANY (ARRAY(SELECT endpoint FROM earliest WHERE due_at <= app_now()))
   FOR NO KEY UPDATE OF e SKIP LOCKED
