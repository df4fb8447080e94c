-- Caps: what operators have set; what they have paused.
-- Takes   nothing
-- Gives   (owner, kind, name, max_running, paused); the owner is a tenant, or nobody's id for all of them. Paused:
--         no cap, nothing of it may run
-- Locks   nothing
-- Races   a pause: it waits for the pass that holds the shard, so every later pass sees it
SELECT owner, kind, name, max_running, false AS paused FROM cap
 UNION ALL
SELECT owner, kind, name, 0, true FROM pause WHERE mode = 'pause' AND kind <> 'worker'
