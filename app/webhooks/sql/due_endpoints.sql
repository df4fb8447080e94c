-- Due endpoints: those with a delivery that is due, locked, so that two dispatchers never fill one
-- endpoint's share twice. The deliveries themselves are counted in the next statement, which sees
-- what an earlier holder of the lock committed.
-- Takes   –
-- Gives   (id) of endpoints
-- Locks   webhook_endpoint, SKIP LOCKED
-- Races   another dispatcher: has this endpoint's deliveries in hand; next time
-- Index   delivery_due, by a skip scan over its endpoints
WITH RECURSIVE waiting AS (
    (SELECT endpoint FROM delivery WHERE state = 'pending' ORDER BY endpoint LIMIT 1)
    UNION ALL
    SELECT (SELECT d.endpoint FROM delivery d
             WHERE d.state = 'pending' AND d.endpoint > waiting.endpoint
             ORDER BY d.endpoint LIMIT 1)
      FROM waiting WHERE waiting.endpoint IS NOT NULL
)
SELECT e.id FROM webhook_endpoint e
 WHERE e.id = ANY (ARRAY(SELECT endpoint FROM waiting))
   AND EXISTS (SELECT FROM delivery d
                WHERE d.endpoint = e.id AND d.state = 'pending' AND d.due_at <= app_now())
   FOR NO KEY UPDATE OF e SKIP LOCKED
