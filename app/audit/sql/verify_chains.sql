-- The chains and what they hold, in one snapshot: an entry is either linked or pending.
-- Takes   first, last uuid: the range of chains
-- Gives   (chain, entries, sealed, unsealed, oldest): oldest is the age of the oldest pending entry
-- Locks   nothing
SELECT
    chain, coalesce(entries, 0) AS entries, coalesce(sealed, 0) AS sealed,
    coalesce(unsealed, 0) AS unsealed, oldest
FROM (
    SELECT chain, count(*) AS entries FROM audit_entry
    WHERE chain BETWEEN :first AND :last GROUP BY chain
) AS made
FULL JOIN (
    SELECT chain, count(*) AS sealed FROM audit_link
    WHERE chain BETWEEN :first AND :last GROUP BY chain
) AS linked USING (chain)
FULL JOIN (
    SELECT audit_entry.chain, count(*) AS unsealed, app_now() - min(audit_entry.at) AS oldest
    FROM audit_pending JOIN audit_entry ON audit_entry.id = audit_pending.entry
    WHERE audit_entry.chain BETWEEN :first AND :last GROUP BY audit_entry.chain
) AS waiting USING (chain)
ORDER BY chain
