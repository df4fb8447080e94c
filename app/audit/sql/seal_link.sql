-- Link: entries get their places, and are pending no longer.
-- Takes   chains uuid[] · seqs bigint[] · entries uuid[] · digests, hashes bytea[], all of one length
-- Gives   nothing
-- Locks   the pending rows, by audit_pending_pkey
-- Races   another sealer: could only collide on (chain, seq) or entry, and would fail whole
WITH linked AS (
    INSERT INTO audit_link (chain, seq, entry, digest, hash, sealed_at)
    SELECT chain, seq, entry, digest, hash, app_now()
    FROM unnest(
        CAST(:chains AS uuid[]), CAST(:seqs AS bigint[]), CAST(:entries AS uuid[]),
        CAST(:digests AS bytea[]), CAST(:hashes AS bytea[])
    ) AS link (chain, seq, entry, digest, hash)
    RETURNING entry
)
DELETE FROM audit_pending WHERE entry IN (SELECT entry FROM linked)
