-- Forget: the history of jobs that ended long ago; the jobs too, but for those that money or a document names.
-- Takes   jobs uuid[] · kept interval
-- Gives   (job) of each that is done with
-- Locks   the jobs in id order, SKIP LOCKED; what is theirs after them
-- Races   a retry: whoever has the job first; who comes second finds no job, or one that is erased
-- Index   job_pkey, step_of_job, attempt_job_number_key, effect_of_job, tool_call_of_job, job_event_pkey, reservation_of_attempt,
--         reservation_of_job, usage_line_of_job, budget_account_of_job, document_of_job, token_charge_pkey
WITH due AS MATERIALIZED (
    SELECT id FROM job
     WHERE id = ANY (CAST(:jobs AS uuid[])) AND finished_at < app_now() - CAST(:kept AS interval)
     ORDER BY id FOR UPDATE SKIP LOCKED
),
named AS MATERIALIZED (
    SELECT id FROM due
     WHERE EXISTS (SELECT FROM reservation WHERE job = due.id)
        OR EXISTS (SELECT FROM usage_line WHERE job = due.id)
        OR EXISTS (SELECT FROM budget_account WHERE job = due.id)
        OR EXISTS (SELECT FROM document WHERE job = due.id)
        OR EXISTS (SELECT FROM token_charge WHERE job = due.id)
),
steps AS (
    DELETE FROM step WHERE job = ANY (ARRAY(SELECT id FROM due))
),
replies AS (
    DELETE FROM effect WHERE job = ANY (ARRAY(SELECT id FROM due))
),
calls AS (
    DELETE FROM tool_call WHERE job = ANY (ARRAY(SELECT id FROM due))
),
events AS (
    DELETE FROM job_event WHERE job = ANY (ARRAY(SELECT id FROM due))
),
tries AS (
    DELETE FROM attempt a
     WHERE job = ANY (ARRAY(SELECT id FROM due))
       AND NOT EXISTS (SELECT FROM reservation r WHERE r.attempt = a.id)
),
bare AS (
    UPDATE job SET input = '{}', output = NULL, progress = NULL, metadata = '{}', erased_at = app_now(),
           error = error || '{"message": "Its text was erased by age."}'
     WHERE id = ANY (ARRAY(SELECT id FROM named)) AND erased_at IS NULL
),
gone AS (
    DELETE FROM job WHERE id = ANY (ARRAY(SELECT id FROM due EXCEPT SELECT id FROM named))
)
SELECT id AS job FROM due
