-- Completion per class and school week: of the homework that was set in the week, how much was handed in. A pupil's homework is
-- part of the class that it was set in, wherever the pupil goes.

CREATE MATERIALIZED VIEW completion AS
SELECT
  a.class_id,
  CAST(a.week.start - INTERVAL '3 days' AS DATE) AS week_of,
  sum(a.pupils) AS expected,
  sum(coalesce(h.handed_in, 0)) AS handed_in,
  1000 * sum(coalesce(h.handed_in, 0)) / nullif(sum(a.pupils), 0) AS completion_permille,
  a.tenant
FROM (SELECT tenant, assignment_id, class_id, pupils, tumble(INTERVAL '7 days') AS week FROM homework) a
LEFT JOIN (
  SELECT tenant, assignment_id, count(*) AS handed_in
  FROM counting_attempts
  GROUP BY tenant, assignment_id
) h ON a.tenant = h.tenant AND a.assignment_id = h.assignment_id
GROUP BY a.tenant, a.class_id, a.week;
