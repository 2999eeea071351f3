-- Windows over a file, the busiest driver of each: the older options for event time and watermark.
CREATE TABLE rides (
  timestamp TIMESTAMP,
  driver_id BIGINT,
  event_type TEXT,
  location TEXT,
  watermark TIMESTAMP GENERATED ALWAYS AS (timestamp - INTERVAL '1 minute') STORED
) WITH (
  connector = 'single_file',
  path = 'rides.json',
  format = 'json',
  type = 'source',
  event_time_field = 'timestamp',
  watermark_field = 'watermark'
);

CREATE TABLE busiest (
  start TIMESTAMP,
  end TIMESTAMP,
  driver_id BIGINT,
  count BIGINT,
  row_number BIGINT
) WITH (
  connector = 'single_file',
  path = 'busiest.json',
  format = 'json',
  type = 'sink'
);

INSERT INTO busiest
SELECT window.start, window.end, driver_id, count, row_number FROM (
  SELECT *, ROW_NUMBER() OVER (
    PARTITION BY window
    ORDER BY count DESC, driver_id DESC) AS row_number
  FROM (
    SELECT driver_id, TUMBLE(INTERVAL '1' HOUR) AS window, COUNT(*) AS count
    FROM rides
    GROUP BY 1, 2)
) WHERE row_number = 1;

CREATE TABLE by_type (
  kind TEXT,
  hour TIMESTAMP,
  rides TEXT
) WITH (
  connector = 'single_file',
  path = 'by_type.json',
  format = 'json',
  type = 'sink'
);

INSERT INTO by_type
SELECT event_type, window.start AS hour, count
FROM (
  SELECT event_type, HOP(INTERVAL '30' MINUTE, INTERVAL '1' HOUR) AS window, COUNT(*) AS count
  FROM rides
  GROUP BY 1, 2);
