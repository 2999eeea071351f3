-- Score per class and school week, for pupils who may be named and have at least 3 graded submissions in it. Points are thousandths.

CREATE MATERIALIZED VIEW class_leaderboard AS
SELECT
  class_id,
  CAST(week.start - INTERVAL '3 days' AS DATE) AS week_of,
  DENSE_RANK() OVER (PARTITION BY tenant, class_id, week ORDER BY score DESC) AS rank,
  student_id,
  score,
  graded,
  tenant
FROM (
  SELECT
    tenant,
    class_id,
    student_id,
    tumble(INTERVAL '7 days') AS week,
    sum(points) AS score,
    count(*) AS graded
  FROM counting_attempts
  WHERE named
  GROUP BY tenant, class_id, student_id, week
  HAVING count(*) >= 3
);
