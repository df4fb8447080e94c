-- Up since: how long the server has been up.
-- Takes   nothing
-- Gives   (up_seconds)
-- Locks   nothing
SELECT CAST(extract(epoch FROM clock_timestamp() - pg_postmaster_start_time()) AS float8) AS up_seconds
