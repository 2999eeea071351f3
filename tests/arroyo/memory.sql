-- JSON of any shape, a table between two queries, a counter that is aggregated into lists and taken apart again.
CREATE TABLE events (
    value JSON
) WITH (
    connector = 'single_file',
    path = 'events.json',
    format = 'json',
    type = 'source',
    'json.unstructured' = 'true'
);

CREATE TABLE in_between (
    kind TEXT,
    driver TEXT,
);

CREATE TABLE sink WITH (
    connector = 'single_file',
    path = 'kinds.json',
    format = 'json',
    type = 'sink'
);

INSERT INTO in_between SELECT value->>'event_type', value->>'driver_id' AS driver_id FROM events;

INSERT INTO sink SELECT 'test' AS a, driver AS b, kind AS c FROM in_between WHERE kind IS NOT NULL;

CREATE TABLE counters (
    timestamp TIMESTAMP,
    counter bigint unsigned not null,
    subtask_index bigint unsigned not null
) WITH (
    connector = 'single_file',
    path = 'counters.json',
    format = 'json',
    type = 'source',
    event_time_field = 'timestamp'
);

CREATE TABLE apart (
    counter bigint unsigned not null,
) WITH (
    connector = 'single_file',
    path = 'apart.json',
    format = 'json',
    type = 'sink'
);

CREATE VIEW lists AS
SELECT unnest(counters) AS counter FROM (
    SELECT array_agg(counter) AS counters, tumble(INTERVAL '1 day') FROM counters GROUP BY tumble(INTERVAL '1 day'));

INSERT INTO apart SELECT counter FROM lists;
