-- Accounts for holds: of these tenants, and of those of these jobs that have one of their own.
-- Takes   tenants, jobs uuid[]
-- Gives   the accounts' rows as they are under the lock
-- Locks   budget_account in id order, last of all; FOR NO KEY UPDATE, so that foreign keys don't wait
-- Races   holds and settlements of every process: one group after the other
-- Index   budget_account_of_tenant, budget_account_of_job, budget_account_pkey
SELECT id, tenant, kind, job, limit_nanousd, spent_nanousd, held_nanousd, overrun_at IS NOT NULL AS blocked
  FROM budget_account
 WHERE id = ANY (ARRAY(
           SELECT id FROM budget_account WHERE kind = 'tenant' AND tenant = ANY (CAST(:tenants AS uuid[]))
           UNION ALL
           SELECT id FROM budget_account WHERE job = ANY (CAST(:jobs AS uuid[]))))
 ORDER BY id FOR NO KEY UPDATE
