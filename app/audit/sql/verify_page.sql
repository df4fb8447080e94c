-- The next links in order, each with the entry that it names, as the database holds them.
-- Takes   chain, seq: the last place seen · last uuid: the last chain wanted · limit
-- Gives   (chain, seq, entry, digest, hash, entry_chain, at, action, body, salt); body is null
--         where the entry isn't there
-- Locks   nothing. A statement a page, so that no snapshot is held over the queue's tables
SELECT
    link.chain, link.seq, link.entry, link.digest, link.hash,
    audit_entry.chain AS entry_chain, audit_entry.at, audit_entry.action, audit_entry.body,
    audit_entry.salt
FROM (
    SELECT chain, seq, entry, digest, hash FROM audit_link
    WHERE (chain, seq) > (:chain, :seq) AND chain <= :last
    ORDER BY chain, seq LIMIT :limit
) AS link
LEFT JOIN audit_entry ON audit_entry.id = link.entry
ORDER BY link.chain, link.seq
