-- Hold caps: those that count jobs of more than one shard, so that counting and releasing are one for all shards.
-- Takes   owner uuid · kinds text[] · names text[] (the same length)
-- Gives   (owner, kind, name, max_running) of those that are still set
-- Locks   cap, in key order, to the end of the pass
-- Races   another shard's pass under one of these caps: it waits here, then counts what this one released
-- Index   cap_pkey
SELECT c.owner, c.kind, c.name, c.max_running
  FROM unnest(CAST(:kinds AS text[]), CAST(:names AS text[])) AS given (kind, name)
  JOIN cap c ON c.owner = :owner AND c.kind = given.kind AND c.name = given.name
 ORDER BY c.owner, c.kind, c.name FOR NO KEY UPDATE OF c
