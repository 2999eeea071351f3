-- How hard each item of an assignment is, over the best attempts: 0 = everybody had full points, 1000 = nobody had any.

CREATE MATERIALIZED VIEW item_difficulty AS
SELECT
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
    assignment_id,
    json_get_str(mark, 'item') AS item,
    json_get_str(mark, 'mark') AS outcome,
    json_get_int(mark, 'points') AS points,
    json_get_int(mark, 'max') AS points_max
  FROM (SELECT tenant, assignment_id, unnest(json_get_array(marks)) AS mark FROM best_attempts)
)
GROUP BY tenant, assignment_id, item;
