-- Review operations per class and school week: what came in to be looked at, what was done, and what of it is still open.

CREATE TABLE photos (
  event_type     TEXT NOT NULL,
  tenant         TEXT NOT NULL,
  occurred_at    TIMESTAMP NOT NULL,
  received_at    TIMESTAMP NOT NULL,
  submission_id  TEXT NOT NULL,
  school_week    TIMESTAMP GENERATED ALWAYS AS (date_trunc('week', least(occurred_at, received_at) + INTERVAL '8 hours')) STORED
) WITH (connector = 'log', topic = 'photos', type = 'source', format = 'json');

CREATE TABLE sheets (
  tenant         TEXT NOT NULL,
  occurred_at    TIMESTAMP NOT NULL,
  received_at    TIMESTAMP NOT NULL,
  submission_id  TEXT NOT NULL,
  confidence     INT NOT NULL,
  school_week    TIMESTAMP GENERATED ALWAYS AS (date_trunc('week', least(occurred_at, received_at) + INTERVAL '8 hours')) STORED
) WITH (connector = 'log', topic = 'sheets', type = 'source', format = 'json');

CREATE TABLE copies (
  event_type    TEXT NOT NULL,
  tenant        TEXT NOT NULL,
  occurred_at   TIMESTAMP NOT NULL,
  received_at   TIMESTAMP NOT NULL,
  pair_id       TEXT NOT NULL,
  hash_version  INT NOT NULL,
  class_id      TEXT,
  school_week   TIMESTAMP GENERATED ALWAYS AS (date_trunc('week', least(occurred_at, received_at) + INTERVAL '8 hours')) STORED
) WITH (connector = 'log', topic = 'copies', type = 'source', format = 'json');

-- What happened to submissions, and in which week. A photo can come before its submission: it waits for it.
CREATE VIEW happenings AS
SELECT tenant, submission_id, school_week, event_type AS what
FROM photos
UNION ALL
SELECT tenant, submission_id, school_week, event_type
FROM reviews
UNION ALL
-- Open is what was queued in the week and has not been resolved since.
SELECT tenant, submission_id, school_week, 'review_open'
FROM reviews q
WHERE q.event_type = 'review_queued' AND NOT EXISTS (
  SELECT 1
  FROM reviews r
  WHERE r.event_type = 'review_resolved'
    AND r.tenant = q.tenant AND r.submission_id = q.submission_id AND r.item = q.item AND r.reader = q.reader
)
UNION ALL
SELECT tenant, submission_id, school_week, 'sheet_unsure'
FROM sheets
WHERE confidence < 800
UNION ALL
SELECT tenant, submission_id, date_trunc('week', least(occurred_at, received_at) + INTERVAL '8 hours'), event_type
FROM commands
WHERE event_type = 'regrade_requested';

CREATE MATERIALIZED VIEW review_operations AS
SELECT
  class_id,
  CAST(school_week AS DATE) AS week_of,
  count(*) FILTER (WHERE what = 'review_queued') AS reviews_queued,
  count(*) FILTER (WHERE what = 'review_resolved') AS reviews_resolved,
  count(*) FILTER (WHERE what = 'review_open') AS reviews_open,
  count(*) FILTER (WHERE what = 'regrade_requested') AS regrades_requested,
  count(*) FILTER (WHERE what = 'photo_stored') AS photos_stored,
  count(*) FILTER (WHERE what = 'photo_rejected') AS photos_rejected,
  count(*) FILTER (WHERE what = 'sheet_unsure') AS sheets_unsure,
  count(*) FILTER (WHERE what = 'copy_suspected') AS copies_suspected,
  count(*) FILTER (WHERE what = 'copy_open') AS copies_open,
  tenant
FROM (
  SELECT h.tenant, s.class_id, h.school_week, h.what
  FROM happenings h
  JOIN commands s ON h.tenant = s.tenant AND h.submission_id = s.submission_id
  WHERE s.event_type = 'submission_received'
  UNION ALL
  SELECT tenant, class_id, school_week, event_type
  FROM copies
  WHERE event_type = 'copy_suspected'
  UNION ALL
  SELECT tenant, class_id, school_week, 'copy_open'
  FROM copies c
  WHERE c.event_type = 'copy_suspected' AND NOT EXISTS (
    SELECT 1
    FROM copies d
    WHERE d.event_type = 'copy_dismissed'
      AND d.tenant = c.tenant AND d.pair_id = c.pair_id AND d.hash_version = c.hash_version
  )
)
GROUP BY tenant, class_id, school_week;
