-- The Nexmark benchmark: an auction site, and what is asked of it (q0.sql to q22.sql).
--
--   chalk run sql/nexmark

CREATE TABLE nexmark WITH (connector = 'nexmark', event_rate = '10000', runtime = '1');

CREATE VIEW person AS
SELECT person.id AS id, person.name AS name, person.email_address AS email_address, person.credit_card AS credit_card,
       person.city AS city, person.state AS state, person.extra AS extra, _timestamp AS datetime
FROM nexmark WHERE person IS NOT NULL;

CREATE VIEW auction AS
SELECT auction.id AS id, auction.item_name AS item_name, auction.description AS description, auction.initial_bid AS initial_bid,
       auction.reserve AS reserve, auction.expires AS expires, auction.seller AS seller, auction.category AS category,
       auction.extra AS extra, _timestamp AS datetime
FROM nexmark WHERE auction IS NOT NULL;

CREATE VIEW bid AS
SELECT bid.auction AS auction, bid.bidder AS bidder, bid.price AS price, bid.channel AS channel, bid.url AS url,
       bid.extra AS extra, _timestamp AS datetime
FROM nexmark WHERE bid IS NOT NULL;
