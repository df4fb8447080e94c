-- Sweep names: of the next page of unique keys those go that nobody holds.
-- Takes   tenant uuid · name text: the last one looked at; page int
-- Gives   (tenant, name) of the last one looked at now; no row: that was the end
-- Locks   unique_key, only the rows that go
-- Races   an admission that holds the name: this waits, then finds another job in it, or nobody
-- Index   unique_key_pkey, job_pkey
WITH page AS MATERIALIZED (
    SELECT tenant, name, job, held_until FROM unique_key
     WHERE (tenant, name) > (:tenant, :name) ORDER BY tenant, name LIMIT :page
),
gone AS (
    DELETE FROM unique_key u
     USING page LEFT JOIN job ON job.id = page.job
     WHERE u.tenant = page.tenant AND u.name = page.name AND u.job IS NOT DISTINCT FROM page.job
       AND (page.held_until IS NULL OR page.held_until <= app_now())
       AND (job.id IS NULL OR job.finished_at IS NOT NULL)
)
SELECT tenant, name FROM page ORDER BY tenant DESC, name DESC LIMIT 1
