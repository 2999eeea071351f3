-- What counts: the marks of each submission as they stand (override before review before automatic), and of a pupil's attempts
-- the one that the assignment's policy says.

-- Watermarks, weeks: see homework.sql.
CREATE TABLE marks (
  tenant          TEXT NOT NULL,
  occurred_at     TIMESTAMP NOT NULL,
  received_at     TIMESTAMP NOT NULL,
  student_id      TEXT NOT NULL,
  submission_id   TEXT NOT NULL,
  class_id        TEXT NOT NULL,
  assignment_id   TEXT NOT NULL,
  attempt         INT NOT NULL,
  key_version     INT NOT NULL,
  rubric_version  INT NOT NULL,
  points_earned   BIGINT NOT NULL,
  points          BIGINT NOT NULL,
  points_max      BIGINT NOT NULL,
  late_permille   BIGINT NOT NULL,
  marks           JSON NOT NULL,
  log_offset      BIGINT METADATA FROM 'offset_id',
  school_time     TIMESTAMP GENERATED ALWAYS AS (occurred_at + INTERVAL '3 days 8 hours') STORED,
  WATERMARK FOR school_time AS (school_time - INTERVAL '10 minutes')
) WITH (connector = 'log', topic = 'graded', type = 'source', format = 'json');

-- What teachers and pupils say about submissions. Commands about one submission stand in one partition, in order.
CREATE TABLE commands (
  event_type     TEXT NOT NULL,
  tenant         TEXT NOT NULL,
  occurred_at    TIMESTAMP NOT NULL,
  received_at    TIMESTAMP NOT NULL,
  submission_id  TEXT NOT NULL,
  class_id       TEXT,
  points         BIGINT,
  log_offset     BIGINT METADATA FROM 'offset_id'
) WITH (connector = 'log', topic = 'submissions', type = 'source', format = 'json');

-- Marks by the newest key and rubric, and of several graders by the newest.
CREATE VIEW newest_marks AS
SELECT
  tenant,
  student_id,
  submission_id,
  class_id,
  assignment_id,
  attempt,
  points_earned,
  points_max,
  late_permille,
  received_at,
  log_offset,
  school_time
FROM (
  SELECT
    *,
    ROW_NUMBER() OVER (
      PARTITION BY tenant, submission_id ORDER BY key_version DESC, rubric_version DESC, log_offset DESC
    ) AS newest
  FROM marks
)
WHERE newest = 1;

-- What was decided about a submission. Those about which nothing was are not here.
CREATE VIEW decisions AS
SELECT
  tenant,
  submission_id,
  max(override) AS override,
  sum(adjustment) AS adjustment,
  count(*) FILTER (WHERE event_type = 'late_excused') > 0 AS excused,
  count(*) FILTER (WHERE event_type = 'submission_withdrawn') > 0 AS withdrawn
FROM (
  -- Of overrides the newest word counts, if it is not that there is none any longer.
  SELECT tenant, submission_id, event_type, points AS override, CAST(NULL AS BIGINT) AS adjustment
  FROM (
    SELECT
      *,
      ROW_NUMBER() OVER (PARTITION BY tenant, submission_id ORDER BY log_offset DESC) AS newest
    FROM commands
    WHERE event_type IN ('teacher_overrode', 'override_cleared')
  )
  WHERE newest = 1 AND event_type = 'teacher_overrode'
  UNION ALL
  SELECT tenant, submission_id, event_type, NULL, NULL
  FROM commands
  WHERE event_type IN ('late_excused', 'submission_withdrawn')
  UNION ALL
  SELECT tenant, submission_id, 'review_resolved', NULL, adjustment
  FROM review_adjustments
)
GROUP BY tenant, submission_id;

-- Marks that stand, with the class for which they count. Nothing of what was withdrawn, nothing of pupils who were erased.
CREATE VIEW standing AS
SELECT
  m.tenant,
  m.student_id,
  m.submission_id,
  CASE WHEN m.received_at <= p.moved_at THEN p.moved_to ELSE m.class_id END AS class_id,
  h.class_id AS set_in,
  m.assignment_id,
  h.attempts,
  m.attempt,
  coalesce(
    d.override,
    (m.points_earned + coalesce(d.adjustment, 0)) * CASE WHEN d.excused THEN 1000 ELSE m.late_permille END / 1000
  ) AS points,
  m.points_max,
  m.late_permille = 1000 OR coalesce(d.excused, FALSE) AS on_time,
  h.due_day,
  NOT coalesce(p.unnamed, FALSE) AS named,
  m.log_offset,
  m.school_time
FROM newest_marks m
JOIN homework h ON m.tenant = h.tenant AND m.assignment_id = h.assignment_id
LEFT JOIN decisions d ON m.tenant = d.tenant AND m.submission_id = d.submission_id
LEFT JOIN pupils p ON m.tenant = p.tenant AND m.student_id = p.student_id
WHERE NOT coalesce(d.withdrawn, FALSE) AND NOT coalesce(p.erased, FALSE);

-- Of a pupil's attempts at an assignment one counts: the best (of equally good ones the first), the last or the first.
CREATE VIEW counting_attempts AS
SELECT tenant, student_id, submission_id, class_id, set_in, assignment_id, points, points_max, named, log_offset, school_time
FROM (
  SELECT
    *,
    ROW_NUMBER() OVER (
      PARTITION BY tenant, student_id, assignment_id
      ORDER BY CASE attempts WHEN 'last' THEN attempt WHEN 'first' THEN 0 ELSE points END DESC, attempt
    ) AS place
  FROM standing
)
WHERE place = 1;
