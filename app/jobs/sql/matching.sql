-- Matching: the next jobs of a tenant that fit a filter, oldest first. A null part of the filter fits all.
-- Takes   tenant, after, below uuid (ids between these) · states text[] · workflow, lane, tag, error_code text ·
--         created_after, created_before timestamptz · batch int
-- Gives   (id)
-- Locks   nothing: lock.sql looks at each again
-- Index   job_tenant_id_key
SELECT id FROM job
 WHERE tenant = :tenant AND id > :after AND id < :below
   AND state = ANY (CAST(:states AS text[]))
   AND CASE WHEN CAST(:workflow AS text) IS NULL THEN left(workflow, 8) <> 'towpath.' ELSE workflow = :workflow END
   AND (CAST(:lane AS text) IS NULL OR coalesce(home_lane, lane) = :lane)
   AND (CAST(:tag AS text) IS NULL OR CAST(:tag AS text) = ANY (tags))
   AND (CAST(:error_code AS text) IS NULL OR error->>'code' = :error_code)
   AND (CAST(:created_after AS timestamptz) IS NULL OR created_at > :created_after)
   AND (CAST(:created_before AS timestamptz) IS NULL OR created_at < :created_before)
 ORDER BY id LIMIT :batch
