-- Where in its chain the link stands that belongs to a place, or the place of what was found there.
-- Takes   chain uuid · seq · previous, hash bytea: the hash before this place, the hash in it ·
--         digest bytea: of the entry found here
-- Gives   (seq) of the first other link of that kind
-- Locks   nothing. Reads the whole chain: only asked once something is wrong
SELECT seq FROM audit_link
WHERE chain = :chain AND seq <> :seq
    AND (
        digest = CAST(:digest AS bytea)
        OR sha256(CAST(:previous AS bytea) || digest) IN (hash, CAST(:hash AS bytea))
    )
ORDER BY seq LIMIT 1
