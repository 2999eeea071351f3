-- What was set: each assignment as it was published, with the day on which it is due, in Shanghai.

-- A school week begins on Monday, 00:00 in Shanghai. Windows of 7 days are aligned to Thursday, 1 January 1970, 00:00 UTC, so that
-- event time + 3 days 8 hours turns one into the other.
CREATE TABLE published (
  event_type     TEXT NOT NULL,
  tenant         TEXT NOT NULL,
  occurred_at    TIMESTAMP NOT NULL,
  received_at    TIMESTAMP NOT NULL,
  assignment_id  TEXT NOT NULL,
  class_id       TEXT NOT NULL,
  key_version    INT NOT NULL,
  due_at         TIMESTAMP,
  pupils         INT,
  attempts       TEXT,
  school_time    TIMESTAMP GENERATED ALWAYS AS (least(occurred_at, received_at) + INTERVAL '3 days 8 hours') STORED,
  WATERMARK FOR school_time AS (school_time - INTERVAL '10 minutes')
) WITH (connector = 'log', topic = 'assignments', type = 'source', format = 'json');

-- Should one be published again, its newest key version says when it is due and for whom.
CREATE VIEW homework AS
SELECT
  tenant,
  assignment_id,
  class_id,
  CAST(due_at + INTERVAL '8 hours' AS DATE) AS due_day,
  pupils,
  attempts,
  school_time
FROM (
  SELECT
    *,
    ROW_NUMBER() OVER (PARTITION BY tenant, assignment_id ORDER BY key_version DESC) AS newest
  FROM published
  WHERE event_type = 'assignment_published'
)
WHERE newest = 1;
