-- Reviews: what a reviewer gave for an item stands instead of its automatic mark.

CREATE TABLE reviews (
  event_type     TEXT NOT NULL,
  tenant         TEXT NOT NULL,
  occurred_at    TIMESTAMP NOT NULL,
  received_at    TIMESTAMP NOT NULL,
  submission_id  TEXT NOT NULL,
  item           TEXT NOT NULL,
  reader         TEXT NOT NULL,
  points         BIGINT,
  log_offset     BIGINT METADATA FROM 'offset_id',
  school_week    TIMESTAMP GENERATED ALWAYS AS (date_trunc('week', least(occurred_at, received_at) + INTERVAL '8 hours')) STORED
) WITH (connector = 'log', topic = 'reviews', type = 'source', format = 'json');

-- An item can be reviewed once for each reader: the newest review counts.
CREATE VIEW reviewed AS
SELECT tenant, submission_id, item, points
FROM (
  SELECT
    *,
    ROW_NUMBER() OVER (PARTITION BY tenant, submission_id, item ORDER BY log_offset DESC) AS newest
  FROM reviews
  WHERE event_type = 'review_resolved'
)
WHERE newest = 1;

-- By how much reviews change a submission's automatic marks. Only submissions with reviews have their marks taken apart.
CREATE VIEW review_adjustments AS
SELECT r.tenant, r.submission_id, sum(r.points - a.mark.points) AS adjustment
FROM reviewed r
JOIN (
  SELECT tenant, submission_id, unnest(item_marks(marks)) AS mark
  FROM (
    SELECT
      *,
      ROW_NUMBER() OVER (
        PARTITION BY tenant, submission_id ORDER BY key_version DESC, rubric_version DESC, log_offset DESC
      ) AS newest
    FROM marks m
    WHERE EXISTS (SELECT 1 FROM reviewed r WHERE r.tenant = m.tenant AND r.submission_id = m.submission_id)
  )
  WHERE newest = 1
) a ON r.tenant = a.tenant AND r.submission_id = a.submission_id AND r.item = a.mark.item
GROUP BY r.tenant, r.submission_id;
