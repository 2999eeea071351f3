-- Bids with their day and minute, as they are kept in files.
CREATE MATERIALIZED VIEW q10 AS
SELECT auction, bidder, price, datetime, extra, to_char(datetime, '%Y-%m-%d') AS day, to_char(datetime, '%H:%M') AS minute FROM bid;
