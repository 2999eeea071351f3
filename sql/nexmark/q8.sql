-- New people who open an auction within the same ten seconds.
CREATE MATERIALIZED VIEW q8 AS
SELECT p.id, p.name, p.start
FROM (
  SELECT id, name, w.start AS start
  FROM (SELECT id, name, tumble(INTERVAL '10 seconds') AS w FROM person GROUP BY id, name, w)) AS p
INNER JOIN (
  SELECT seller, w.start AS start
  FROM (SELECT seller, tumble(INTERVAL '10 seconds') AS w FROM auction GROUP BY seller, w)) AS a
ON p.id = a.seller AND p.start = a.start;
