-- Holds: those that are to be closed.
-- Takes   holds uuid[]
-- Gives   the reservations' rows as they are under the lock
-- Locks   reservation in id order, before the accounts
-- Races   settle, release, reap and sweep of one hold: the second sees what the first made of it
-- Index   reservation_pkey
SELECT id, tenant, job, attempt, step, effect_key, accounts, labels, provider, model, price, state,
       asked_nanousd, cost_nanousd, unconfirmed, overrun, made_at
  FROM reservation
 WHERE id = ANY (CAST(:holds AS uuid[]))
 ORDER BY id FOR NO KEY UPDATE
