-- Bids with their auctions, of one category.
CREATE MATERIALIZED VIEW q20 AS
SELECT b.auction, b.bidder, b.price, b.channel, b.datetime, a.item_name, a.initial_bid, a.reserve, a.expires, a.seller
FROM bid AS b INNER JOIN auction AS a ON b.auction = a.id
WHERE a.category = 10;
