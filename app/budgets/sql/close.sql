-- Close: write what became of holds, their entries, and the replies that were bought.
-- Takes   holds jsonb: [{id, state, cost, unconfirmed, overrun}]
--         entries jsonb: [{account, hold, kind, held, spent}]
--         effects jsonb: [{key, tenant, job, hold, reply}], reply as JSON text
-- Gives   nothing
-- Locks   effect by its key; the caller holds the reservations
-- Races   an effect written before under a key: the last settled call of the live attempt stands
-- Index   reservation_pkey, effect_pkey
WITH entered AS (
    INSERT INTO ledger_entry (id, account, reservation, kind, held_nanousd, spent_nanousd, at)
    SELECT uuidv7(), account, hold, kind, held, spent, app_now()
      FROM jsonb_to_recordset(CAST(:entries AS jsonb)) AS t (
           account uuid, hold uuid, kind text, held bigint, spent bigint)
),
kept AS (
    INSERT INTO effect AS e (key, tenant, job, reservation, reply, at)
    SELECT key, tenant, job, hold, CAST(reply AS jsonb), app_now()
      FROM jsonb_to_recordset(CAST(:effects AS jsonb)) AS t (
           key text, tenant uuid, job uuid, hold uuid, reply text)
     ORDER BY key
    ON CONFLICT (key) DO UPDATE SET reservation = excluded.reservation, reply = excluded.reply, at = excluded.at
)
UPDATE reservation r
   SET state = t.state, cost_nanousd = t.cost, unconfirmed = t.unconfirmed, overrun = t.overrun,
       closed_at = app_now()
  FROM jsonb_to_recordset(CAST(:holds AS jsonb)) AS t (
       id uuid, state text, cost bigint, unconfirmed boolean, overrun boolean)
 WHERE r.id = t.id
