-- Meter: write usage lines, each with its mark for the rollups.
-- Takes   lines jsonb: [{call, kind, tenant, at, job, attempt, …}]
-- Gives   nothing
-- Locks   nothing that another waits for (foreign keys: FOR KEY SHARE)
-- Races   none: the caller holds the reservation's lock; a second line of a kind for a call is refused
-- Index   usage_line_call_kind_key
WITH line AS (
    INSERT INTO usage_line
           (id, tenant, call, kind, at, job, attempt, step, key, workflow, workflow_version, lane,
            end_user, tags, provider, model, price, input_tokens, cached_tokens, cache_write_tokens,
            output_tokens, reasoning_tokens, estimated, unconfirmed, cost_nanousd, latency_ms)
    SELECT uuidv7(), tenant, call, kind, at, job, attempt, step, key, workflow, workflow_version, lane,
           end_user, tags, provider, model, price, input_tokens, cached_tokens, cache_write_tokens,
           output_tokens, reasoning_tokens, estimated, unconfirmed, cost_nanousd, latency_ms
      FROM jsonb_to_recordset(CAST(:lines AS jsonb)) AS t (
           tenant uuid, call uuid, kind text, at timestamptz, job uuid, attempt uuid, step text, key uuid,
           workflow text, workflow_version bigint, lane text, end_user text, tags text[], provider text,
           model text, price uuid, input_tokens bigint, cached_tokens bigint, cache_write_tokens bigint,
           output_tokens bigint, reasoning_tokens bigint, estimated boolean, unconfirmed boolean,
           cost_nanousd bigint, latency_ms bigint)
    RETURNING id
)
INSERT INTO usage_pending (line) SELECT id FROM line
