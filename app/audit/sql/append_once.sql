-- Append once: entries whose ids say what they tell of; one that is there already stays as it is.
-- Takes   entries jsonb: [{id, chain, at, action, body, salt (hex)}]
-- Gives   (entry) of each that is new
-- Locks   nothing that another writer waits for, but one of the same id
-- Races   the same entry from another process: the second waits for the first's commit, then does nothing
-- Index   audit_entry_pkey
WITH made AS (
    INSERT INTO audit_entry (id, chain, at, action, body, salt)
    SELECT id, chain, at, action, body, decode(salt, 'hex')
    FROM jsonb_to_recordset(CAST(:entries AS jsonb))
        AS e (id uuid, chain uuid, at timestamptz, action text, body text, salt text)
    ON CONFLICT (id) DO NOTHING
    RETURNING id
)
INSERT INTO audit_pending (entry) SELECT id FROM made
RETURNING entry
