-- Hearing: how many workers live, how many of those no message reaches, how many fell silent without a word.
-- Takes   nothing
-- Gives   (live, deaf, silent), one row; who said that it stops is in none of them
-- Locks   nothing
-- Index   none: the table has a row a process
SELECT count(*) FILTER (WHERE seen_at > app_now() - interval '10 s') AS live,
       count(*) FILTER (WHERE seen_at > app_now() - interval '10 s'
                          AND heard_at < seen_at - interval '4 s') AS deaf,
       count(*) FILTER (WHERE seen_at <= app_now() - interval '10 s') AS silent
  FROM worker WHERE stopping_at IS NULL
