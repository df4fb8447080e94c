-- Accounts by id: those that the holds to be closed were made on.
-- Takes   accounts uuid[]
-- Gives   the accounts' rows as they are under the lock
-- Locks   budget_account in id order, last of all
-- Races   as accounts_for.sql
-- Index   budget_account_pkey
SELECT id, kind, limit_nanousd, spent_nanousd, held_nanousd, overrun_at IS NOT NULL AS blocked
  FROM budget_account
 WHERE id = ANY (CAST(:accounts AS uuid[]))
 ORDER BY id FOR NO KEY UPDATE
