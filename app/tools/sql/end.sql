-- End: what became of calls that began: done, with what came back, or certainly without an effect.
-- Takes   items jsonb: [{key, call, void, result, error}]; void: it had no effect, and is forgotten
-- Gives   (key) of each whose call was still the last one under it
-- Locks   tool_call by key
-- Races   a keyed call that was taken over: its outcome is the later one's to tell. No fence: what
--         happened outside is a fact, also where the attempt is over
-- Index   tool_call_pkey
WITH item AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset(CAST(:items AS jsonb)) AS t (
        key text, call uuid, void boolean, result jsonb, error jsonb)
),
held AS MATERIALIZED (
    SELECT c.key, item.void, item.result, item.error
      FROM tool_call c JOIN item ON item.key = c.key AND item.call = c.call
     WHERE c.ended_at IS NULL
     ORDER BY c.key FOR UPDATE OF c
),
gone AS (
    DELETE FROM tool_call c USING held WHERE c.key = held.key AND held.void
)
UPDATE tool_call c SET result = held.result, error = held.error, ended_at = app_now()
  FROM held WHERE c.key = held.key AND NOT held.void
RETURNING c.key
