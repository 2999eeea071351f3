-- Completion per class and school week: of the homework that was set in the week, how much was handed in.

CREATE TABLE published (
  tenant         TEXT NOT NULL,
  occurred_at    TIMESTAMP NOT NULL,
  received_at    TIMESTAMP NOT NULL,
  assignment_id  TEXT NOT NULL,
  class_id       TEXT NOT NULL,
  pupils         INT NOT NULL,
  school_time    TIMESTAMP GENERATED ALWAYS AS (least(occurred_at, received_at) + INTERVAL '3 days 8 hours') STORED,
  WATERMARK FOR school_time AS (school_time - INTERVAL '10 minutes')
) WITH (connector = 'log', topic = 'assignments', type = 'source', format = 'json');

CREATE MATERIALIZED VIEW completion AS
SELECT
  a.class_id,
  CAST(a.week.start - INTERVAL '3 days' AS DATE) AS week_of,
  sum(a.pupils) AS expected,
  sum(coalesce(h.handed_in, 0)) AS handed_in,
  1000 * sum(coalesce(h.handed_in, 0)) / nullif(sum(a.pupils), 0) AS completion_permille,
  a.tenant
FROM (
  SELECT tenant, assignment_id, class_id, max(pupils) AS pupils, tumble(INTERVAL '7 days') AS week
  FROM published
  GROUP BY tenant, assignment_id, class_id, week
) a
LEFT JOIN (
  SELECT tenant, assignment_id, count(DISTINCT student_id) AS handed_in
  FROM standing
  GROUP BY tenant, assignment_id
) h ON a.tenant = h.tenant AND a.assignment_id = h.assignment_id
GROUP BY a.tenant, a.class_id, a.week;
