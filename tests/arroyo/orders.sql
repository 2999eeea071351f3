-- Changes of a database's table in, changes of an aggregate out.
CREATE TABLE orders (
    id INT PRIMARY KEY,
    customer_name TEXT,
    product_name TEXT,
    quantity INTEGER,
    price FLOAT,
    order_date TIMESTAMP,
    status TEXT
) WITH (
    connector = 'single_file',
    path = 'orders.json',
    format = 'debezium_json',
    type = 'source'
);

CREATE TABLE output (
    id TEXT PRIMARY KEY,
    c INT,
    q INT
) WITH (
    connector = 'single_file',
    path = 'output.json',
    format = 'debezium_json',
    type = 'sink'
);

INSERT INTO output
SELECT concat('p_', product_name), count(*), sum(quantity + 5) + 10
FROM orders
GROUP BY concat('p_', product_name);
