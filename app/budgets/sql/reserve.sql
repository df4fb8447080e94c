-- Reserve: write holds that were found to fit, their entries, and what the accounts add up to then.
-- Takes   holds jsonb: [{id, tenant, job, attempt, …, accounts}] · accounts jsonb: [{id, held}]
-- Gives   nothing
-- Locks   nothing new: the caller holds the attempts and the accounts
-- Races   none left
-- Index   budget_account_pkey
WITH hold AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset(CAST(:holds AS jsonb)) AS t (
        id uuid, tenant uuid, job uuid, attempt uuid, step text, effect_key text, accounts uuid[],
        labels jsonb, provider text, model text, price uuid, input_bound_tokens bigint,
        max_output_tokens bigint, asked bigint)
),
made AS (
    INSERT INTO reservation
           (id, tenant, job, attempt, step, effect_key, accounts, labels, provider, model, price,
            input_bound_tokens, max_output_tokens, state, asked_nanousd, made_at)
    SELECT id, tenant, job, attempt, step, effect_key, accounts, labels, provider, model, price,
           input_bound_tokens, max_output_tokens, 'held', asked, app_now()
      FROM hold
),
entered AS (
    INSERT INTO ledger_entry (id, account, reservation, kind, held_nanousd, spent_nanousd, at)
    SELECT uuidv7(), account, hold.id, 'hold', hold.asked, 0, app_now()
      FROM hold CROSS JOIN unnest(hold.accounts) AS account
)
UPDATE budget_account a SET held_nanousd = t.held
  FROM jsonb_to_recordset(CAST(:accounts AS jsonb)) AS t (id uuid, held bigint)
 WHERE a.id = t.id
