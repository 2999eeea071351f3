-- How many bids each bidder makes in a session.
CREATE MATERIALIZED VIEW q11 AS
SELECT bidder, bids, w.start AS start, w.end AS end
FROM (SELECT bidder, count(*) AS bids, session(INTERVAL '1 second') AS w FROM bid GROUP BY bidder, w);
