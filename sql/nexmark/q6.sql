-- The mean of what the last ten auctions of each seller ended at.
CREATE MATERIALIZED VIEW q6 AS
SELECT seller, id, avg(final) OVER (PARTITION BY seller ORDER BY expires, id ROWS BETWEEN 9 PRECEDING AND CURRENT ROW) AS mean
FROM (
  SELECT a.seller AS seller, a.id AS id, a.expires AS expires, max(b.price) AS final
  FROM auction AS a INNER JOIN bid AS b ON a.id = b.auction
  WHERE b.datetime BETWEEN a.datetime AND a.expires
  GROUP BY a.seller, a.id, a.expires);
