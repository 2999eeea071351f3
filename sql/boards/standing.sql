-- What counts: a submission's marks, unless a teacher overrode them or it was withdrawn; and each pupil's best attempt.

-- A school week begins on Monday, 00:00 in Shanghai. Windows of 7 days are aligned to Thursday, 1 January 1970, 00:00 UTC, so that
-- event time + 3 days 8 hours turns one into the other.
CREATE TABLE marks (
  tenant         TEXT NOT NULL,
  occurred_at    TIMESTAMP NOT NULL,
  student_id     TEXT NOT NULL,
  submission_id  TEXT NOT NULL,
  class_id       TEXT NOT NULL,
  assignment_id  TEXT NOT NULL,
  attempt        INT NOT NULL,
  points         BIGINT NOT NULL,
  points_max     BIGINT NOT NULL,
  marks          JSON NOT NULL,
  school_time    TIMESTAMP GENERATED ALWAYS AS (occurred_at + INTERVAL '3 days 8 hours') STORED,
  WATERMARK FOR school_time AS (school_time - INTERVAL '10 minutes')
) WITH (connector = 'log', topic = 'graded', type = 'source', format = 'json');

-- What teachers and pupils say about submissions. Commands about one submission stand in one partition, in order.
CREATE TABLE commands (
  event_type     TEXT NOT NULL,
  tenant         TEXT NOT NULL,
  submission_id  TEXT NOT NULL,
  points         BIGINT,
  log_offset     BIGINT METADATA FROM 'offset_id'
) WITH (connector = 'log', topic = 'submissions', type = 'source', format = 'json');

-- The newest word of a teacher on each submission, if it is a mark.
CREATE VIEW overrides AS
SELECT tenant, submission_id, points
FROM (
  SELECT
    tenant,
    submission_id,
    event_type,
    points,
    ROW_NUMBER() OVER (PARTITION BY tenant, submission_id ORDER BY log_offset DESC) AS newest
  FROM commands
  WHERE event_type IN ('teacher_overrode', 'override_cleared')
)
WHERE newest = 1 AND event_type = 'teacher_overrode';

-- Marks that stand: override before automatic, nothing that was withdrawn.
CREATE VIEW standing AS
SELECT
  m.tenant,
  m.student_id,
  m.submission_id,
  m.class_id,
  m.assignment_id,
  m.attempt,
  coalesce(o.points, m.points) AS points,
  m.marks,
  m.school_time
FROM marks m
LEFT JOIN overrides o ON m.tenant = o.tenant AND m.submission_id = o.submission_id
WHERE NOT EXISTS (
  SELECT 1
  FROM commands w
  WHERE w.event_type = 'submission_withdrawn' AND w.tenant = m.tenant AND w.submission_id = m.submission_id
);

-- Of several attempts the best counts; of equally good ones the first.
CREATE VIEW best_attempts AS
SELECT tenant, student_id, submission_id, class_id, assignment_id, points, marks, school_time
FROM (
  SELECT
    *,
    ROW_NUMBER() OVER (PARTITION BY tenant, student_id, assignment_id ORDER BY points DESC, attempt) AS place
  FROM standing
)
WHERE place = 1;
