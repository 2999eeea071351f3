-- The ten highest bids for each auction.
CREATE MATERIALIZED VIEW q19 AS
SELECT auction, bidder, price, datetime, place
FROM (SELECT *, row_number() OVER (PARTITION BY auction ORDER BY price DESC, datetime) AS place FROM bid)
WHERE place <= 10;
