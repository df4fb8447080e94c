-- Append: entries, and the note that no chain holds them yet.
-- Takes   entries jsonb: [{id, chain, at, action, body, salt (hex)}]
-- Gives   nothing
-- Locks   nothing that another writer waits for
-- Races   sealer: sees an entry and its pending row together, once they are committed
WITH made AS (
    INSERT INTO audit_entry (id, chain, at, action, body, salt)
    SELECT id, chain, at, action, body, decode(salt, 'hex')
    FROM jsonb_to_recordset(CAST(:entries AS jsonb))
        AS e (id uuid, chain uuid, at timestamptz, action text, body text, salt text)
    RETURNING id
)
INSERT INTO audit_pending (entry) SELECT id FROM made
