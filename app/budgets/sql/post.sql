-- Post: add to accounts what the closed holds come to.
-- Takes   accounts jsonb: [{id, held, spent, overrun}], held and spent as changes
-- Gives   nothing
-- Locks   budget_account in id order, last of all and until the commit that comes next
-- Races   holds and settlements of every process: one group after the other
-- Index   budget_account_pkey
WITH change AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset(CAST(:accounts AS jsonb)) AS t (id uuid, held bigint, spent bigint, overrun boolean)
),
locked AS MATERIALIZED (
    SELECT id FROM budget_account WHERE id = ANY (ARRAY(SELECT id FROM change)) ORDER BY id FOR NO KEY UPDATE
)
UPDATE budget_account a
   SET held_nanousd = a.held_nanousd + change.held,
       spent_nanousd = a.spent_nanousd + change.spent,
       overrun_at = CASE WHEN change.overrun AND a.kind = 'tenant' THEN coalesce(a.overrun_at, app_now())
                         ELSE a.overrun_at END
  FROM locked JOIN change ON change.id = locked.id
 WHERE a.id = locked.id
