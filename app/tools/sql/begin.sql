-- Begin: keyed and unsafe calls are about to be made.
-- Takes   items jsonb: [{key, tenant, job, attempt, call, step, item, tool, version, effect, arguments}]
-- Gives   (attempt) of each that is still under way; the others are lost, and nothing begins for them
-- Locks   attempt in id order, FOR SHARE; then tool_call by key
-- Races   finish, park, reap: whoever has the attempt first. An unsafe call that began before under this key
--         stands, done or not: it is read after this. A keyed one is taken over while it isn't done.
--         The same batch sent again: its calls are there already, as their own
-- Index   attempt_pkey, tool_call_pkey
WITH item AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset(CAST(:items AS jsonb)) AS t (
        key text, tenant uuid, job uuid, attempt uuid, call uuid, step text, item bigint, tool text,
        version text, effect text, arguments jsonb)
),
fenced AS MATERIALIZED (
    SELECT a.id FROM attempt a
     WHERE a.id = ANY (ARRAY(SELECT attempt FROM item)) AND a.ended_at IS NULL
     ORDER BY a.id FOR SHARE
),
begun AS (
    INSERT INTO tool_call AS c (key, tenant, job, attempt, call, step, item, tool, version, effect,
                                arguments, tries, begun_at)
    SELECT DISTINCT ON (key) key, tenant, job, attempt, call, step, item, tool, version, effect,
           arguments, 1, app_now()
      FROM item JOIN fenced ON fenced.id = item.attempt
     ORDER BY key
    ON CONFLICT (key) DO UPDATE
       SET attempt = excluded.attempt, call = excluded.call, tool = excluded.tool,
           version = excluded.version, arguments = excluded.arguments, tries = c.tries + 1, begun_at = app_now()
     WHERE c.effect = 'keyed' AND c.ended_at IS NULL AND c.call <> excluded.call
)
SELECT id AS attempt FROM fenced
