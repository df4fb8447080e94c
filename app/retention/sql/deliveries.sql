-- Deliveries: events for webhooks that everyone was told of, or nobody wanted, with their deliveries and tries.
-- Takes   after uuid · until uuid · kept interval · batch int
-- Gives   (looked_at, last uuid, gone): how many events the page has, its last one, and how many went
-- Locks   outbox_event by id, SKIP LOCKED; its deliveries after it
-- Races   a redelivery by hand: whoever is first; it makes a new delivery, and the event stays
-- Index   outbox_event_pkey, delivery_of_event, delivery_try_pkey
WITH page AS MATERIALIZED (
    SELECT id, relayed_at FROM outbox_event
     WHERE id > :after AND id < :until ORDER BY id LIMIT :batch FOR UPDATE SKIP LOCKED
),
due AS MATERIALIZED (
    SELECT id FROM page
     WHERE relayed_at < app_now() - CAST(:kept AS interval)
       AND NOT EXISTS (SELECT FROM delivery d WHERE d.event = page.id
                          AND (d.finished_at IS NULL OR d.finished_at > app_now() - CAST(:kept AS interval)))
),
old AS MATERIALIZED (
    SELECT id FROM delivery WHERE event = ANY (ARRAY(SELECT id FROM due))
),
tries AS (
    DELETE FROM delivery_try WHERE delivery = ANY (ARRAY(SELECT id FROM old))
),
sent AS (
    DELETE FROM delivery WHERE id = ANY (ARRAY(SELECT id FROM old))
),
told AS (
    DELETE FROM outbox_event WHERE id = ANY (ARRAY(SELECT id FROM due))
)
SELECT (SELECT count(*) FROM page) AS looked_at, (SELECT id FROM page ORDER BY id DESC LIMIT 1) AS last,
       (SELECT count(*) FROM due) AS gone
