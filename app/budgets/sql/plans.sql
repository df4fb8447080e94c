-- Plans: how the statements of this transaction are planned.
-- Takes   nothing
-- Gives   nothing of use
-- Locks   nothing
-- Races   none. Hot connections plan every statement anew; a batch has some 2,000 foreign key checks,
--         and each would be planned too: 2.4 times the time. All goes by primary key, so no plan
--         made on a small table may scan it.
SELECT set_config('plan_cache_mode', 'auto', true) AS planned_once,
       set_config('enable_seqscan', 'off', true) AS by_index
