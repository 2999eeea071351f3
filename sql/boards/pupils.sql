-- What is known of pupils: who was erased, who must not be named, and who took their history along to another class.

CREATE TABLE students (
  event_type   TEXT NOT NULL,
  tenant       TEXT NOT NULL,
  received_at  TIMESTAMP NOT NULL,
  student_id   TEXT NOT NULL,
  class_id     TEXT,
  history      TEXT,
  log_offset   BIGINT METADATA FROM 'offset_id'
) WITH (connector = 'log', topic = 'students', type = 'source', format = 'json');

-- Of each matter the newest word counts. Pupils of whom nothing was said are not here: they can be named, and stay where they are.
CREATE VIEW pupils AS
SELECT
  tenant,
  student_id,
  count(*) FILTER (WHERE event_type = 'student_erased') > 0 AS erased,
  count(*) FILTER (WHERE event_type = 'consent_withdrawn') > 0 AS unnamed,
  max(class_id) FILTER (WHERE history = 'moves') AS moved_to,
  max(received_at) FILTER (WHERE history = 'moves') AS moved_at
FROM (
  SELECT
    *,
    ROW_NUMBER() OVER (PARTITION BY tenant, student_id, matter ORDER BY log_offset DESC) AS newest
  FROM (
    SELECT
      *,
      CASE WHEN event_type IN ('consent_given', 'consent_withdrawn') THEN 'consent' ELSE event_type END AS matter
    FROM students
  )
)
WHERE newest = 1
GROUP BY tenant, student_id;
