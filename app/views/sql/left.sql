-- Left: how much there still is of a part of the queue. For operators, not for a loop.
-- Takes   tenant uuid, lane text, workflow text: null for any · most int, where counting stops
-- Gives   (queued, running, waiting); scheduled jobs count as waiting
-- Locks   nothing
-- Index   job_queued: a skip scan finds each line, whose jobs are all of one workflow; job_active, job_waking
WITH RECURSIVE line AS (
    (SELECT lane, bucket, tenant, cap_group, workflow FROM job
      WHERE state = 'queued' ORDER BY lane, bucket, tenant, cap_group LIMIT 1)
    UNION ALL
    SELECT following.lane, following.bucket, following.tenant, following.cap_group, following.workflow
      FROM line CROSS JOIN LATERAL (
           SELECT lane, bucket, tenant, cap_group, workflow FROM job
            WHERE state = 'queued' AND (lane, bucket, tenant, cap_group)
                                     > (line.lane, line.bucket, line.tenant, line.cap_group)
            ORDER BY lane, bucket, tenant, cap_group LIMIT 1) AS following
)
SELECT least(:most, coalesce((
           SELECT CAST(sum(each_line.jobs) AS bigint)
             FROM line CROSS JOIN LATERAL (
                  SELECT count(*) AS jobs FROM (
                         SELECT FROM job q
                          WHERE q.state = 'queued' AND q.lane = line.lane AND q.bucket = line.bucket
                            AND q.tenant = line.tenant AND q.cap_group = line.cap_group
                          LIMIT :most) AS seen) AS each_line
            WHERE line.tenant = coalesce(:tenant, line.tenant) AND line.lane = coalesce(:lane, line.lane)
              AND line.workflow = coalesce(:workflow, line.workflow)), 0)) AS queued,
       (SELECT count(*) FROM job
         WHERE state IN ('dispatched', 'running') AND tenant = coalesce(:tenant, tenant)
           AND lane = coalesce(:lane, lane) AND workflow = coalesce(:workflow, workflow)) AS running,
       (SELECT count(*) FROM (
               SELECT FROM job
                WHERE state IN ('scheduled', 'waiting') AND tenant = coalesce(:tenant, tenant)
                  AND lane = coalesce(:lane, lane) AND workflow = coalesce(:workflow, workflow)
                LIMIT :most) AS seen) AS waiting
