-- How many bids each bidder makes in every ten seconds. The benchmark means seconds of the machine's clock, which decides no result here: these
-- are those of the events.
CREATE MATERIALIZED VIEW q12 AS
SELECT bidder, bids, w.start AS start, w.end AS end
FROM (SELECT bidder, count(*) AS bids, tumble(INTERVAL '10 seconds') AS w FROM bid GROUP BY bidder, w);
