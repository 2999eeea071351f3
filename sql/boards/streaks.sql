-- Streaks: on how many school days in a row a pupil handed in, on time or excused, everything that was due. A school day is one on
-- which the class had homework due.

-- A class's school days, numbered, with how much was due.
CREATE VIEW school_days AS
SELECT
  tenant,
  class_id,
  due_day,
  due,
  CAST(ROW_NUMBER() OVER (PARTITION BY tenant, class_id ORDER BY due_day) AS BIGINT) AS number
FROM (SELECT tenant, class_id, due_day, count(*) AS due FROM homework GROUP BY tenant, class_id, due_day);

-- How many of them are over. What is due today or later can still be handed in, and today is when the class's newest homework was set.
CREATE VIEW school_days_over AS
SELECT d.tenant, d.class_id, count(*) FILTER (WHERE d.due_day < t.today) AS days
FROM school_days d
JOIN (
  SELECT tenant, class_id, max(CAST(school_time - INTERVAL '3 days' AS DATE)) AS today
  FROM homework
  GROUP BY tenant, class_id
) t ON d.tenant = t.tenant AND d.class_id = t.class_id
GROUP BY d.tenant, d.class_id;

-- Runs of school days: where none is left out, a day's number and its place among the pupil's days grow alike. What is due for
-- pupils is what was set in their class of that time; the days are numbered in the class for which it counts.
CREATE VIEW runs AS
SELECT tenant, class_id, student_id, max(number) AS last, max(number) - min(number) + 1 AS days
FROM (
  SELECT
    *,
    number - CAST(DENSE_RANK() OVER (PARTITION BY tenant, class_id, student_id ORDER BY number) AS BIGINT) AS run
  FROM (
    SELECT s.tenant, s.class_id, s.student_id, numbered.number
    FROM (
      SELECT tenant, class_id, set_in, student_id, due_day, count(DISTINCT assignment_id) AS handed_in
      FROM standing
      WHERE on_time AND named
      GROUP BY tenant, class_id, set_in, student_id, due_day
    ) s
    JOIN school_days d
      ON s.tenant = d.tenant AND s.set_in = d.class_id AND s.due_day = d.due_day AND s.handed_in = d.due
    JOIN school_days numbered
      ON s.tenant = numbered.tenant AND s.class_id = numbered.class_id AND s.due_day = numbered.due_day
  )
)
GROUP BY tenant, class_id, student_id, run;

-- Structs compare by their first field first: the greatest is the latest run.
CREATE MATERIALIZED VIEW streaks AS
SELECT
  r.class_id,
  r.student_id,
  CASE WHEN r.latest.last >= o.days THEN r.latest.days ELSE 0 END AS current,
  r.longest,
  r.tenant
FROM (
  SELECT tenant, class_id, student_id, max(named_struct('last', last, 'days', days)) AS latest, max(days) AS longest
  FROM runs
  GROUP BY tenant, class_id, student_id
) r
JOIN school_days_over o ON r.tenant = o.tenant AND r.class_id = o.class_id;
