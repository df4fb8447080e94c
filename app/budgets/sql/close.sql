-- Close: write what became of holds, their entries, what the accounts add up to then, and the replies.
-- Takes   holds jsonb: [{id, state, cost, unconfirmed, overrun}]
--         accounts jsonb: [{id, held, spent, blocked}] · entries jsonb: [{account, hold, kind, held, spent}]
--         effects jsonb: [{key, tenant, job, hold, reply}], reply as JSON text
-- Gives   nothing
-- Locks   effect by its key; the caller holds the reservations and the accounts
-- Races   an effect written before under a key: the last settled call of the live attempt stands
-- Index   reservation_pkey, budget_account_pkey, effect_pkey
WITH closed AS (
    UPDATE reservation r
       SET state = t.state, cost_nanousd = t.cost, unconfirmed = t.unconfirmed, overrun = t.overrun,
           closed_at = app_now()
      FROM jsonb_to_recordset(CAST(:holds AS jsonb)) AS t (
           id uuid, state text, cost bigint, unconfirmed boolean, overrun boolean)
     WHERE r.id = t.id
),
entered AS (
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
UPDATE budget_account a
   SET held_nanousd = t.held, spent_nanousd = t.spent,
       overrun_at = CASE WHEN t.blocked THEN coalesce(a.overrun_at, app_now()) END
  FROM jsonb_to_recordset(CAST(:accounts AS jsonb)) AS t (id uuid, held bigint, spent bigint, blocked boolean)
 WHERE a.id = t.id
