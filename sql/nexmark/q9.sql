-- The winning bid of each auction.
CREATE MATERIALIZED VIEW q9 AS
SELECT id, item_name, seller, category, bidder, price, bid_at
FROM (
  SELECT a.id AS id, a.item_name AS item_name, a.seller AS seller, a.category AS category, b.bidder AS bidder, b.price AS price,
         b.datetime AS bid_at,
         row_number() OVER (PARTITION BY a.id ORDER BY b.price DESC, b.datetime) AS place
  FROM auction AS a INNER JOIN bid AS b ON a.id = b.auction
  WHERE b.datetime BETWEEN a.datetime AND a.expires)
WHERE place <= 1;
