-- Every bid, as it is.
CREATE MATERIALIZED VIEW q0 AS SELECT auction, bidder, price, datetime, extra FROM bid;
