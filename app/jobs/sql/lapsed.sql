-- Lapsed: attempts whose lease is over, with what the rule of their ending needs.
-- Takes   batch int
-- Gives   (attempt, job, state, tenant, workflow, metadata, losses, shared_losses, undelivered, quarantined), the longest silent first
-- Locks   nothing: end_attempts.sql looks at the lease again, under the locks
-- Index   attempt_leased
SELECT a.id AS attempt, a.job, a.state, j.tenant, j.workflow, j.metadata,
       j.losses, j.shared_losses, j.undelivered, j.home_lane IS NOT NULL AS quarantined
  FROM attempt a JOIN job j ON j.id = a.job AND j.current_attempt = a.id
 WHERE a.ended_at IS NULL AND a.lease_until < app_now()
 ORDER BY a.lease_until
 LIMIT :batch
