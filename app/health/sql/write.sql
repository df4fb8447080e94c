-- Write: parts of the platform have made progress. A standby has no part of its own to tell of.
-- Takes   parts, faults text[], of the same length
-- Gives   nothing
-- Locks   the rows of these parts, by pulse_pkey
-- Races   two processes that lead after each other: the later one's word stays
INSERT INTO pulse AS p (part, at, fault)
SELECT part, app_now(), fault FROM unnest(CAST(:parts AS text[]), CAST(:faults AS text[])) AS t (part, fault)
 ORDER BY part
    ON CONFLICT (part) DO UPDATE SET at = excluded.at, fault = excluded.fault
