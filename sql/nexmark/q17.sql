-- What is bid for each auction, by day.
CREATE MATERIALIZED VIEW q17 AS
SELECT auction, to_char(datetime, '%Y-%m-%d') AS day,
       count(*) AS total_bids, count(*) FILTER (WHERE price < 10000) AS rank1_bids,
       count(*) FILTER (WHERE price >= 10000 AND price < 1000000) AS rank2_bids, count(*) FILTER (WHERE price >= 1000000) AS rank3_bids,
       min(price) AS least, max(price) AS most, avg(price) AS mean, sum(price) AS total
FROM bid GROUP BY auction, to_char(datetime, '%Y-%m-%d');
