-- Relay: events that no one was told of become deliveries to the endpoints that want them, and to the
-- one that the job itself named.
-- Takes   batch int
-- Gives   (events): how many were taken
-- Locks   outbox_event by id, SKIP LOCKED
-- Races   a second relay: skips these; relayed twice all the same, the unique key makes it once
--         an endpoint disabled at this moment: the delivery is made, and ends when it is taken up
-- Index   outbox_event_waiting; webhook_endpoint_tenant_id_key; job_tenant_id_key
WITH taken AS MATERIALIZED (
    SELECT id, tenant, name, subject FROM outbox_event
     WHERE relayed_at IS NULL
     ORDER BY id LIMIT :batch
       FOR UPDATE SKIP LOCKED
),
made AS (
    INSERT INTO delivery (id, tenant, endpoint, event, state, due_at, created_at)
    SELECT uuidv7(), taken.tenant, e.id, taken.id, 'pending', app_now(), app_now()
      FROM taken JOIN webhook_endpoint e ON e.tenant = taken.tenant
      LEFT JOIN job ON job.tenant = taken.tenant AND job.id = taken.subject
     WHERE e.state = 'enabled' AND (e.events && ARRAY['*', taken.name] OR e.id = job.callback)
     ORDER BY taken.id, e.id
        ON CONFLICT (endpoint, event, generation) DO NOTHING
    RETURNING id
),
marked AS (
    UPDATE outbox_event SET relayed_at = app_now()
     WHERE id = ANY (ARRAY(SELECT id FROM taken))
)
SELECT (SELECT count(*) FROM taken) AS events,
       (SELECT pg_notify('deliveries', '') FROM (SELECT FROM made LIMIT 1) AS any_made) AS woken
