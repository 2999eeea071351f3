-- Every submission is scored against every version of its assignment's key, once for each, and the marks become an event.
--
-- This is sql/grading/grade.sql with its events and marks in topics of a Fluvio cluster. It needs a build with --features chalk-cli/fluvio, and:
--
--   fluvio topic create assignments && fluvio topic create submissions --partitions 3 && fluvio topic create graded
--   chalk generate homework --events 3000 | …    each line to the topic of its event's type
--
-- Tables have other names than topics of schemas/, since each has a topic of its own in the log.

-- All events of the topic: columns that not every one of them has can be NULL.
CREATE TABLE fluvio_assignments (
  event_id        TEXT NOT NULL,
  event_type      TEXT NOT NULL,
  tenant          TEXT NOT NULL,
  assignment_id   TEXT NOT NULL,
  due_at          TIMESTAMP,
  key_version     INT NOT NULL,
  rubric_version  INT NOT NULL,
  key             JSON NOT NULL
) WITH (connector = 'fluvio', endpoint = 'localhost:9103', topic = 'assignments', type = 'source', format = 'json');

CREATE TABLE fluvio_submissions (
  event_id       TEXT NOT NULL,
  event_type     TEXT NOT NULL,
  tenant         TEXT NOT NULL,
  occurred_at    TIMESTAMP NOT NULL,
  received_at    TIMESTAMP NOT NULL,
  student_id     TEXT NOT NULL,
  submission_id  TEXT NOT NULL,
  class_id       TEXT,
  assignment_id  TEXT,
  attempt        INT,
  answers        JSON
) WITH (connector = 'fluvio', endpoint = 'localhost:9103', topic = 'submissions', type = 'source', format = 'json');

CREATE TABLE fluvio_graded (
  tenant          TEXT NOT NULL,
  occurred_at     TIMESTAMP NOT NULL,
  received_at     TIMESTAMP NOT NULL,
  causes          JSON,
  student_id      TEXT NOT NULL,
  submission_id   TEXT NOT NULL,
  class_id        TEXT NOT NULL,
  assignment_id   TEXT NOT NULL,
  attempt         INT NOT NULL,
  key_version     INT NOT NULL,
  rubric_version  INT NOT NULL,
  grader          TEXT NOT NULL,
  points_earned   BIGINT NOT NULL,
  points          BIGINT NOT NULL,
  points_max      BIGINT NOT NULL,
  late_permille   BIGINT NOT NULL,
  marks           JSON NOT NULL
) WITH (connector = 'fluvio', endpoint = 'localhost:9103', topic = 'graded', 'sink.key_field' = 'student_id', type = 'sink', format = 'json');

-- A key as it was published, and as it is after each revision of answers or points. When it is due is said once.
CREATE VIEW keys AS
SELECT event_id, tenant, assignment_id, due_at, key_version, rubric_version, key
FROM fluvio_assignments
WHERE event_type = 'assignment_published'
UNION ALL
SELECT r.event_id, r.tenant, r.assignment_id, p.due_at, r.key_version, r.rubric_version, r.key
FROM fluvio_assignments r
JOIN fluvio_assignments p ON r.tenant = p.tenant AND r.assignment_id = p.assignment_id
WHERE r.event_type IN ('answer_key_revised', 'rubric_revised') AND p.event_type = 'assignment_published';

-- Keys to grade by: each for all submissions of its assignment; and once more for a submission whose pupil asked for it. Marks
-- that are the same again are a duplicate at the door; those of another grader are not.
CREATE VIEW gradings AS
SELECT *, CAST(NULL AS TEXT) AS just_submission
FROM keys
UNION ALL
SELECT k.*, asked.submission_id AS just_submission
FROM fluvio_submissions asked
JOIN fluvio_submissions s ON asked.tenant = s.tenant AND asked.submission_id = s.submission_id
JOIN keys k ON s.tenant = k.tenant AND s.assignment_id = k.assignment_id
WHERE asked.event_type = 'regrade_requested' AND s.event_type = 'submission_received';

INSERT INTO fluvio_graded
SELECT
  tenant,
  -- A device clock can be ahead: no submission was made after it was received.
  least(occurred_at, received_at) AS occurred_at,
  received_at,
  causes,
  student_id,
  submission_id,
  class_id,
  assignment_id,
  attempt,
  key_version,
  rubric_version,
  udf_version('score_submission') AS grader,
  points_earned,
  points_earned * late_permille / 1000 AS points,
  points_max,
  late_permille,
  marks
FROM (
  SELECT
    *,
    json_get_int(score, 'points') AS points_earned,
    json_get_int(score, 'max') AS points_max,
    score_marks(score) AS marks
  FROM (
    SELECT
      s.tenant,
      s.occurred_at,
      s.received_at,
      '["' || s.event_id || '","' || k.event_id || '"]' AS causes,
      s.student_id,
      s.submission_id,
      s.class_id,
      s.assignment_id,
      s.attempt,
      k.key_version,
      k.rubric_version,
      late_factor(to_unixtime(s.received_at), to_unixtime(k.due_at)) AS late_permille,
      score_submission(s.answers, k.key) AS score
    FROM fluvio_submissions s
    JOIN gradings k ON s.tenant = k.tenant AND s.assignment_id = k.assignment_id
    WHERE s.event_type = 'submission_received'
      AND (k.just_submission IS NULL OR k.just_submission = s.submission_id)
  )
);
