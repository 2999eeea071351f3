-- Every submission is scored against its assignment's key, once, and the marks become an event.
--
-- This file keeps to what Arroyo can run: append-only sources, an inner join, functions, a topic.

CREATE TABLE assignments (
  tenant          TEXT NOT NULL,
  assignment_id   TEXT NOT NULL,
  due_at          TIMESTAMP NOT NULL,
  key_version     INT NOT NULL,
  rubric_version  INT NOT NULL,
  key             JSON NOT NULL
) WITH (connector = 'log', topic = 'assignments', type = 'source', format = 'json');

-- All events of the topic: columns that not every one of them has can be NULL.
CREATE TABLE submissions (
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
) WITH (connector = 'log', topic = 'submissions', type = 'source', format = 'json');

CREATE TABLE graded (
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
  points          BIGINT NOT NULL,
  points_max      BIGINT NOT NULL,
  late_permille   BIGINT NOT NULL,
  marks           JSON NOT NULL
) WITH (connector = 'log', topic = 'graded', type = 'sink', format = 'json');

INSERT INTO graded
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
  json_get_int(score, 'points') * late_permille / 1000 AS points,
  json_get_int(score, 'max') AS points_max,
  late_permille,
  json_get_json(score, 'marks') AS marks
FROM (
  SELECT
    s.tenant,
    s.occurred_at,
    s.received_at,
    '["' || s.event_id || '"]' AS causes,
    s.student_id,
    s.submission_id,
    s.class_id,
    s.assignment_id,
    s.attempt,
    a.key_version,
    a.rubric_version,
    late_factor(to_unixtime(s.received_at), to_unixtime(a.due_at)) AS late_permille,
    score_submission(normalise_answers(s.answers), a.key) AS score
  FROM submissions s
  JOIN assignments a ON s.tenant = a.tenant AND s.assignment_id = a.assignment_id
  WHERE s.event_type = 'submission_received'
);
