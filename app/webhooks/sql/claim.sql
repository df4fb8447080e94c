-- Claim: a sender takes up a dispatched delivery, once a dispatch, under a fresh lease.
-- Takes   delivery uuid · lease interval
-- Gives   what to send and where, or no row: the message is late or a duplicate, drop it
-- Locks   delivery by delivery_pkey
-- Races   a duplicate message: the second waits, then sees claimed_at
WITH held AS (
    UPDATE delivery SET claimed_at = app_now(), lease_until = app_now() + :lease
     WHERE id = :delivery AND state = 'dispatched' AND claimed_at IS NULL
    RETURNING id, tenant, endpoint, event, tries, claimed_at
)
SELECT held.id AS delivery, held.tenant, held.endpoint, held.event, held.tries, held.claimed_at,
       e.url, e.state, e.disabled_reason, e.secret,
       CASE WHEN e.old_secret_until > app_now() THEN e.old_secret END AS old_secret,
       o.name, o.subject, o.at, CAST(o.payload AS text) AS facts
  FROM held
  JOIN webhook_endpoint e ON e.id = held.endpoint
  JOIN outbox_event o ON o.id = held.event
