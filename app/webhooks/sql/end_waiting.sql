-- End waiting: no delivery to this endpoint waits any longer. One that is being sent ends by itself.
-- Takes   endpoint uuid, locked · reason text
-- Gives   (id) of each
-- Locks   delivery; every writer of many deliveries of one endpoint holds the endpoint first
-- Index   delivery_due; delivery_leased
UPDATE delivery
   SET state = 'failed', reason = :reason, finished_at = app_now(), lease_until = NULL
 WHERE endpoint = :endpoint
   AND (state = 'pending' OR (state = 'dispatched' AND claimed_at IS NULL))
RETURNING id
