-- Bids with what a table of 10,000 fixed rows says of their auctions. The benchmark has it in a file.
CREATE VIEW side_input AS SELECT key, concat('value ', CAST(key AS TEXT)) AS value FROM (SELECT unnest(range(0, 10000)) AS key);

CREATE MATERIALIZED VIEW q13 AS
SELECT b.auction, b.bidder, b.price, b.datetime, s.value FROM bid AS b INNER JOIN side_input AS s ON b.auction % 10000 = s.key;
