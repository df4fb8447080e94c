-- The first entry of a chain that is neither linked nor waiting to be.
-- Takes   chain
-- Gives   (id)
-- Locks   nothing. Reads the chain: only asked where the numbers don't add up
SELECT id FROM audit_entry
WHERE chain = :chain
    AND NOT EXISTS (SELECT FROM audit_link WHERE audit_link.entry = audit_entry.id)
    AND NOT EXISTS (SELECT FROM audit_pending WHERE audit_pending.entry = audit_entry.id)
ORDER BY id LIMIT 1
