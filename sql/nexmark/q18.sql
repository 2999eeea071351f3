-- The last bid of each bidder for each auction.
CREATE MATERIALIZED VIEW q18 AS
SELECT auction, bidder, price, channel, datetime
FROM (SELECT *, row_number() OVER (PARTITION BY bidder, auction ORDER BY datetime DESC) AS place FROM bid)
WHERE place <= 1;
