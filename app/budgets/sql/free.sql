-- Free: what each of these tenants' accounts may still hold.
-- Takes   tenants uuid[]
-- Gives   (tenant, free_nanousd) of each that has an account; none where it is blocked or overdrawn: 0
-- Locks   nothing: who is woken by it asks again under the lock
-- Races   none that matter: it may be late by a moment
-- Index   budget_account_of_tenant
SELECT tenant,
       CASE WHEN overrun_at IS NULL THEN greatest(limit_nanousd - spent_nanousd - held_nanousd, 0) ELSE 0 END
         AS free_nanousd
  FROM budget_account
 WHERE kind = 'tenant' AND tenant = ANY (CAST(:tenants AS uuid[]))
