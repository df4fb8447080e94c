-- Found: what stands under effect keys, after a batch has begun.
-- Takes   keys text[]
-- Gives   (key, call, tries, ended, result, error) of each
-- Locks   nothing: a statement of its own, so that it sees what its batch and others have committed
-- Races   an outcome that is recorded now: seen or not, both are answers
-- Index   tool_call_pkey
SELECT key, call, tries, ended_at IS NOT NULL AS ended, result, error
  FROM tool_call WHERE key = ANY (CAST(:keys AS text[]))
