-- Erase: the contents of jobs that ended long ago. The facts stay: state, times, counts, tags, cost.
-- Takes   jobs uuid[] · kept interval
-- Gives   (job) of each that is done with
-- Locks   the jobs in id order, SKIP LOCKED; their steps, attempts and replies after them
-- Races   a retry: whoever has the job first; a job that is erased can't be retried
-- Index   job_pkey, step_of_job, attempt_job_number_key, effect_of_job, tool_call_of_job
WITH due AS MATERIALIZED (
    SELECT id FROM job
     WHERE id = ANY (CAST(:jobs AS uuid[])) AND finished_at < app_now() - CAST(:kept AS interval)
     ORDER BY id FOR UPDATE SKIP LOCKED
),
cleared AS (
    UPDATE job SET input = '{}', output = NULL, progress = NULL, metadata = '{}', erased_at = app_now(),
           error = error || '{"message": "Its text was erased by age."}'
     WHERE id = ANY (ARRAY(SELECT id FROM due)) AND erased_at IS NULL
),
results AS (
    UPDATE step SET result = NULL, error = NULL
     WHERE job = ANY (ARRAY(SELECT id FROM due)) AND (result IS NOT NULL OR error IS NOT NULL)
),
faults AS (
    UPDATE attempt SET error = NULL WHERE job = ANY (ARRAY(SELECT id FROM due)) AND error IS NOT NULL
),
replies AS (
    DELETE FROM effect WHERE job = ANY (ARRAY(SELECT id FROM due))
),
calls AS (
    DELETE FROM tool_call WHERE job = ANY (ARRAY(SELECT id FROM due))
)
SELECT id AS job FROM due
