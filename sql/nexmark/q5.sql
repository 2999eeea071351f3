-- The auctions with most bids in the last ten seconds, every two seconds.
CREATE VIEW bids_of_windows AS
SELECT auction, count(*) AS num, hop(INTERVAL '2 seconds', INTERVAL '10 seconds') AS w FROM bid GROUP BY auction, w;

CREATE MATERIALIZED VIEW q5 AS
SELECT b.auction, b.num, b.w.start AS start
FROM bids_of_windows AS b
INNER JOIN (SELECT max(num) AS most, w FROM bids_of_windows GROUP BY w) AS m ON b.w.start = m.w.start AND b.num = m.most;
