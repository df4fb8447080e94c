-- Caps: what operators have set.
-- Takes   nothing
-- Gives   (owner, kind, name, max_running); the owner is a tenant, or nobody's id for all of them
-- Locks   nothing
SELECT owner, kind, name, max_running FROM cap
