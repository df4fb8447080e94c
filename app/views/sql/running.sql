-- Running: how many jobs of a tenant have a slot.
-- Takes   tenant uuid
-- Gives   (count)
-- Locks   nothing
-- Index   job_active, once a lane
SELECT count(*) FROM job
 WHERE state IN ('dispatched', 'running')
   AND bucket = get_byte(uuid_send(CAST(:tenant AS uuid)), 15) AND tenant = :tenant
