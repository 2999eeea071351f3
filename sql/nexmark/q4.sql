-- The mean of what auctions end at, by category.
CREATE MATERIALIZED VIEW q4 AS
SELECT category, avg(final) AS mean
FROM (
  SELECT max(b.price) AS final, a.category AS category
  FROM auction AS a INNER JOIN bid AS b ON a.id = b.auction
  WHERE b.datetime BETWEEN a.datetime AND a.expires
  GROUP BY a.id, a.category)
GROUP BY category;
