-- How hard each item of an assignment is, over the attempts that count: 0 = everybody had full points, 1000 = nobody had any.

CREATE MATERIALIZED VIEW item_difficulty AS
SELECT
  class_id,
  assignment_id,
  item,
  count(*) AS answers,
  count(*) FILTER (WHERE outcome = 'blank') AS blank,
  sum(points) AS points,
  sum(points_max) AS points_max,
  1000 - 1000 * greatest(sum(points), 0) / nullif(sum(points_max), 0) AS difficulty_permille,
  tenant
FROM (
  SELECT
    tenant,
    class_id,
    assignment_id,
    mark.item AS item,
    mark.mark AS outcome,
    mark.points AS points,
    mark.max AS points_max
  FROM (
    SELECT c.tenant, c.set_in AS class_id, c.assignment_id, unnest(item_marks(m.marks)) AS mark
    FROM counting_attempts c
    JOIN marks m ON c.tenant = m.tenant AND c.submission_id = m.submission_id AND c.log_offset = m.log_offset
  )
)
GROUP BY tenant, class_id, assignment_id, item;
