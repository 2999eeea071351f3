-- Improvement of each pupil, for the pupil only: the school week's share of points against the mean of the pupil's own 4 school
-- weeks before it. Who has none of these is not listed. Bands and no ranks.

CREATE VIEW weekly_shares AS
SELECT
  tenant,
  class_id,
  student_id,
  week.start AS week,
  1000 * sum(points) / nullif(sum(points_max), 0) AS share
FROM (
  SELECT tenant, class_id, student_id, points, points_max, tumble(INTERVAL '7 days') AS week
  FROM counting_attempts
  WHERE named
)
GROUP BY tenant, class_id, student_id, week;

CREATE MATERIALIZED VIEW improvement AS
SELECT
  class_id,
  student_id,
  CAST(week - INTERVAL '3 days' AS DATE) AS week_of,
  CASE
    WHEN share - share_before >= 100 THEN 'well up'
    WHEN share - share_before >= 30 THEN 'up'
    WHEN share - share_before > -30 THEN 'steady'
    WHEN share - share_before > -100 THEN 'down'
    ELSE 'well down'
  END AS band,
  share AS share_permille,
  share_before AS share_before_permille,
  tenant
FROM (
  SELECT w.tenant, w.class_id, w.student_id, w.week, w.share, b.share_before
  FROM weekly_shares w
  JOIN (
    -- Each week is one of those before the next four.
    SELECT tenant, class_id, student_id, week + later AS week, sum(share) / count(share) AS share_before
    FROM (
      SELECT
        *,
        unnest([INTERVAL '7 days', INTERVAL '14 days', INTERVAL '21 days', INTERVAL '28 days']) AS later
      FROM weekly_shares
      WHERE share IS NOT NULL
    )
    GROUP BY tenant, class_id, student_id, week + later
  ) b ON w.tenant = b.tenant AND w.class_id = b.class_id AND w.student_id = b.student_id AND w.week = b.week
  WHERE w.share IS NOT NULL
);
