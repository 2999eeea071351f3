-- One report per class when its school week closes: final, sent once, by the keys as they were published. Submissions that come
-- after stand in late_rows.

CREATE TABLE reports (
  tenant       TEXT NOT NULL,
  occurred_at  TIMESTAMP NOT NULL,
  class_id     TEXT NOT NULL,
  week_of      TEXT NOT NULL,
  submissions  BIGINT NOT NULL,
  pupils       BIGINT NOT NULL,
  points       BIGINT NOT NULL,
  points_max   BIGINT NOT NULL
) WITH (connector = 'log', topic = 'reports', type = 'sink', format = 'json');

INSERT INTO reports
SELECT
  tenant,
  week.end - INTERVAL '3 days 8 hours' AS occurred_at,
  class_id,
  CAST(CAST(week.start - INTERVAL '3 days' AS DATE) AS TEXT) AS week_of,
  submissions,
  pupils,
  points,
  points_max
FROM (
  SELECT
    tenant,
    class_id,
    tumble(INTERVAL '7 days') AS week,
    count(*) AS submissions,
    count(DISTINCT student_id) AS pupils,
    sum(points) AS points,
    sum(points_max) AS points_max
  FROM marks
  WHERE key_version = 1 AND rubric_version = 1
  GROUP BY tenant, class_id, week
);
