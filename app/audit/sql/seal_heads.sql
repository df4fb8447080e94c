-- The last link of each chain.
-- Takes   chains uuid[]
-- Gives   (chain, seq, hash); no row for a chain that has no link yet
-- Locks   nothing: the sealer holds the sealing lock. One step back on audit_link_pkey a chain
SELECT head.chain, head.seq, head.hash
FROM unnest(CAST(:chains AS uuid[])) AS wanted (chain)
CROSS JOIN LATERAL (
    SELECT chain, seq, hash FROM audit_link
    WHERE audit_link.chain = wanted.chain ORDER BY seq DESC LIMIT 1
) AS head
