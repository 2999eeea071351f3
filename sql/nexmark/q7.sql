-- The highest bids of each ten seconds.
CREATE MATERIALIZED VIEW q7 AS
SELECT b.auction, b.price, b.bidder, b.datetime
FROM (SELECT auction, price, bidder, datetime, date_bin(INTERVAL '10 seconds', datetime) AS start FROM bid) AS b
INNER JOIN (
  SELECT price, w.start AS start
  FROM (SELECT max(price) AS price, tumble(INTERVAL '10 seconds') AS w FROM bid GROUP BY w)) AS m
ON b.start = m.start AND b.price = m.price;
