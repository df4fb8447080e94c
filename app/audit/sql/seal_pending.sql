-- Pending entries, as the database holds them, in the order in which they get their places.
-- Takes   limit
-- Gives   (entry, chain, body, salt), oldest ids first
-- Locks   nothing: the sealer holds the sealing lock
-- Races   append: what commits later is taken later
SELECT pending.entry, audit_entry.chain, audit_entry.body, audit_entry.salt
FROM (SELECT entry FROM audit_pending ORDER BY entry LIMIT :limit) AS pending
JOIN audit_entry ON audit_entry.id = pending.entry
ORDER BY pending.entry
