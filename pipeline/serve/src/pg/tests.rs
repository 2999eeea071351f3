mod catalogue;

use super::*;
use crate::queries::QueryLimits;
use crate::testing::{Node, clock, order};
use futures::TryStreamExt;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{FromSqlOwned, ToSql, Type};
use tokio_postgres::{Client, Config, Error, NoTls, SimpleQueryMessage};

const MORE_THAN_CAN_BE_COUNTED: &str = "generate_series(1, 1000000000000)";

/// A node that is served, and how to end that.
struct Served {
    node: Node,
    app: App,
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

async fn serve_with(limits: QueryLimits, connections_max: usize) -> Served {
    let node = Node::new();
    node.submit(&[order(1, "north", 10), order(2, "south", 20)].concat());
    node.publish(7, &[("totals", &[("north", 1, 40), ("south", 1, 20), ("south", 2, 5)])]);
    let app = App::with_report(node.limited(limits), Arc::clone(&node.door), Arc::new(|| None), clock());
    let server = PgServer::bind("127.0.0.1:0".parse().expect("an address")).await.expect("a free port");
    let (address, (stop, stopped)) = (server.address(), oneshot::channel::<()>());
    let shutdown = async {
        let _ = stopped.await;
    };
    let served = app.clone();
    let task = tokio::spawn(async move { server.run_with(served, connections_max, shutdown).await });
    Served { node, app, address, stop, task }
}

async fn serve() -> Served {
    serve_with(QueryLimits::default(), 10).await
}

impl Served {
    fn config(&self) -> Config {
        let mut config = Config::new();
        config.host("127.0.0.1").port(self.address.port()).user("ada").dbname("chalk");
        config
    }

    async fn connect(&self) -> Client {
        self.try_connect(&self.config()).await.expect("a connection")
    }

    async fn try_connect(&self, config: &Config) -> Result<Client, Error> {
        let (client, connection) = config.connect(NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }

    /// Waits until so many queries run.
    async fn running(&self, count: usize) {
        let wait = async {
            while self.app.queries.running() != count {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), wait).await.expect("in time");
    }

    async fn end(self) {
        self.stop.send(()).expect("the server runs");
        self.task.await.expect("no panic");
    }
}

/// Rows of a simple query as text, cells with commas between them.
async fn rows(client: &Client, sql: &str) -> Vec<String> {
    let messages = client.simple_query(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    let mut rows = Vec::new();
    for message in messages {
        if let SimpleQueryMessage::Row(row) = message {
            let cells: Vec<&str> = (0..row.len()).map(|column| row.get(column).unwrap_or("NULL")).collect();
            rows.push(cells.join(","));
        }
    }
    rows
}

/// Code, message, place and hint of what a simple query is told.
async fn told(client: &Client, sql: &str) -> (SqlState, String, Option<u32>, Option<String>) {
    let error = client.simple_query(sql).await.expect_err(sql);
    let error = error.as_db_error().unwrap_or_else(|| panic!("{sql}: {error}"));
    let place = error.position().map(|position| match position {
        tokio_postgres::error::ErrorPosition::Original(place) => *place,
        tokio_postgres::error::ErrorPosition::Internal { position, .. } => *position,
    });
    (error.code().clone(), error.message().to_owned(), place, error.hint().map(str::to_owned))
}

/// One value, in the binary format.
async fn value<T: FromSqlOwned>(client: &Client, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> Option<T> {
    let row = client.query_one(sql, parameters).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    row.try_get(0).unwrap_or_else(|error| panic!("{sql}: {error:?}"))
}

#[tokio::test]
async fn clients_connect_and_ask() {
    let served = serve().await;
    let client = served.connect().await;
    assert_eq!(
        rows(&client, "SELECT shop, total FROM totals ORDER BY total").await,
        ["south,5", "south,20", "north,40"]
    );
    let statement = client.prepare("SELECT total FROM totals WHERE shop = $1 AND day = $2").await.expect("a plan");
    assert_eq!(statement.params(), [Type::TEXT, Type::INT8]);
    let column = &statement.columns()[0];
    assert_eq!((column.name(), column.type_()), ("total", &Type::INT8));
    for (shop, day, expected) in [("south", 2_i64, vec![5_i64]), ("north", 1, vec![40]), ("west", 1, vec![])] {
        let found = client.query(&statement, &[&shop, &day]).await.expect("rows");
        assert_eq!(found.iter().map(|row| row.get::<_, i64>(0)).collect::<Vec<_>>(), expected, "{shop}");
    }
    assert_eq!(rows(&client, "SELECT count(*) FROM orders").await, ["2"]);
    assert_eq!(rows(&client, "SHOW TABLES").await.len(), 4);
    assert_eq!(rows(&client, "").await, [""; 0]);
    assert_eq!(rows(&client, " ; ").await, [""; 0]);
    assert_eq!(client.query("", &[]).await.expect("nothing").len(), 0);
    served.end().await;
}

#[tokio::test]
async fn only_the_database_is_served_and_to_any_user() {
    let served = serve().await;
    for user in ["postgres", "grafana", "Ünal"] {
        served.try_connect(served.config().user(user)).await.expect("any user");
    }
    let error = served.try_connect(served.config().dbname("bakery")).await.expect_err("another database");
    let error = error.as_db_error().expect("an answer");
    assert_eq!(
        (error.code(), error.message(), error.hint()),
        (
            &SqlState::INVALID_CATALOG_NAME,
            "database \"bakery\" does not exist",
            Some("the database is called chalk: psql -d chalk")
        )
    );
    assert!(matches!(PgServer::bind("0.0.0.0:0".parse().expect("an address")).await, Err(ServeError::NotLoopback(_))));
    assert!(matches!(PgServer::bind(served.address).await, Err(ServeError::Taken(_))));
    served.end().await;
}

#[tokio::test]
async fn encryption_is_declined_and_cleartext_goes_on() {
    let served = serve().await;
    let mut stream = TcpStream::connect(served.address).await.expect("a server");
    for (code, expected) in [(80_877_103_u32, b'N'), (80_877_104, b'N')] {
        stream.write_all(&[8_u32.to_be_bytes(), code.to_be_bytes()].concat()).await.expect("an open connection");
        assert_eq!(stream.read_u8().await.expect("an answer"), expected);
    }
    let startup = b"\0\x03\0\0user\0ada\0database\0chalk\0\0";
    let length = u32::try_from(startup.len() + 4).expect("short").to_be_bytes();
    stream.write_all(&[&length[..], startup].concat()).await.expect("an open connection");
    assert_eq!(stream.read_u8().await.expect("an answer"), b'R');
    served.end().await;
}

#[tokio::test]
async fn every_kind_of_column_has_a_type_in_both_formats() {
    use chrono::{NaiveDate, NaiveTime};
    let served = serve().await;
    let client = served.connect().await;
    let date = NaiveDate::from_ymd_opt(2025, 9, 1).expect("a date");
    let time = date.and_hms_micro_opt(7, 59, 1, 500).expect("a time");
    macro_rules! check {
        ($sql:expr, $pg:expr, $text:expr, $rust:ty, $binary:expr) => {
            let sql = format!("SELECT {} AS x", $sql);
            assert_eq!(client.prepare(&sql).await.expect("a plan").columns()[0].type_(), &$pg, "{sql}");
            assert_eq!(rows(&client, &sql).await, [$text], "{sql}");
            assert_eq!(value::<$rust>(&client, &sql, &[]).await, Some($binary), "{sql}");
        };
    }
    check!("true", Type::BOOL, "t", bool, true);
    check!("CAST(-5 AS SMALLINT)", Type::INT2, "-5", i16, -5);
    check!("CAST(5 AS INT)", Type::INT4, "5", i32, 5);
    check!("5", Type::INT8, "5", i64, 5);
    check!("CAST(5 AS TINYINT)", Type::INT2, "5", i16, 5);
    check!("arrow_cast(5, 'UInt8')", Type::INT2, "5", i16, 5);
    check!("arrow_cast(5, 'UInt16')", Type::INT4, "5", i32, 5);
    check!("arrow_cast(5, 'UInt32')", Type::INT8, "5", i64, 5);
    check!("CAST(1.5 AS REAL)", Type::FLOAT4, "1.5", f32, 1.5);
    check!("1.5", Type::FLOAT8, "1.5", f64, 1.5);
    check!("'ä, \"b\"'", Type::TEXT, "ä, \"b\"", String, "ä, \"b\"".to_owned());
    check!("''", Type::TEXT, "", String, String::new());
    check!("X'00ff'", Type::BYTEA, "\\x00ff", Vec<u8>, vec![0, 255]);
    check!("DATE '2025-09-01'", Type::DATE, "2025-09-01", NaiveDate, date);
    check!(
        "TIMESTAMP '2025-09-01T07:59:01.0005'",
        Type::TIMESTAMP,
        "2025-09-01 07:59:01.000500",
        chrono::NaiveDateTime,
        time
    );
    check!(
        "TIME '07:59:00'",
        Type::TIME,
        "07:59:00.000000",
        NaiveTime,
        NaiveTime::from_hms_opt(7, 59, 0).expect("a time")
    );
    check!("[1, 2]", Type::INT8_ARRAY, "{1,2}", Vec<i64>, vec![1, 2]);
    check!("['a', NULL]", Type::TEXT_ARRAY, "{a,NULL}", Vec<Option<String>>, vec![Some("a".to_owned()), None]);
    check!(
        "named_struct('a', 1, 'b', 'x')",
        Type::TEXT,
        "{\"a\":1,\"b\":\"x\"}",
        String,
        "{\"a\":1,\"b\":\"x\"}".to_owned()
    );
    for (sql, pg, text) in [
        ("CAST(2.50 AS DECIMAL(10,2))", Type::NUMERIC, "2.50"),
        ("arrow_cast(9223372036854775807, 'UInt64')", Type::INT8, "9223372036854775807"),
        ("INTERVAL '1 day 2 hours'", Type::INTERVAL, "1 day 02:00:00"),
        ("CAST(2.5 AS DECIMAL(38,1))", Type::NUMERIC, "2.5"),
        ("arrow_cast(2.5, 'Decimal256(50,1)')", Type::TEXT, "2.5"),
        ("arrow_cast([1, 2], 'List(UInt8)')", Type::INT2_ARRAY, "{1,2}"),
    ] {
        let sql = format!("SELECT {sql}");
        assert_eq!(client.prepare(&sql).await.expect("a plan").columns()[0].type_(), &pg, "{sql}");
        assert_eq!(rows(&client, &sql).await, [text], "{sql}");
    }
    served.end().await;
}

#[tokio::test]
async fn null_is_no_value_in_both_formats() {
    let served = serve().await;
    let client = served.connect().await;
    assert_eq!(rows(&client, "SELECT NULL, NULL::int, NULL::text, '', [1, NULL]").await, ["NULL,NULL,NULL,,{1,NULL}"]);
    assert_eq!(value::<i32>(&client, "SELECT NULL::int", &[]).await, None);
    assert_eq!(value::<String>(&client, "SELECT NULL::text", &[]).await, None);
    assert_eq!(value::<String>(&client, "SELECT _rest FROM orders LIMIT 1", &[]).await, None);
    assert_eq!(value::<i64>(&client, "SELECT total FROM totals WHERE shop = $1 LIMIT 1", &[&"south"]).await, Some(20));
    let nobody: Option<&str> = None;
    assert!(client.query("SELECT total FROM totals WHERE shop = $1", &[&nobody]).await.expect("no rows").is_empty());
    assert_eq!(value::<bool>(&client, "SELECT $1::text IS NULL", &[&nobody]).await, Some(true));
    served.end().await;
}

#[tokio::test]
async fn parameters_are_of_the_types_that_the_statement_gives_them() {
    let served = serve().await;
    let client = served.connect().await;
    let types = async |sql: &str| {
        let statement = client.prepare(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        statement.params().to_vec()
    };
    assert_eq!(types("SELECT * FROM totals WHERE total > $2 AND shop = $1").await, [Type::TEXT, Type::INT8]);
    assert_eq!(types("SELECT $1").await, [Type::TEXT]);
    assert_eq!(types("SELECT $1::int + 1").await, [Type::INT4]);
    assert_eq!(types("SELECT shop FROM totals LIMIT $1 OFFSET $2").await, [Type::INT8, Type::INT8]);
    assert_eq!(types("SELECT * FROM orders WHERE occurred_at > $1").await, [Type::TIMESTAMP]);
    assert_eq!(value::<String>(&client, "SELECT $1", &[&"x'y"]).await, Some("x'y".to_owned()));
    assert_eq!(value::<i32>(&client, "SELECT $1::int + $2::int", &[&2, &3]).await, Some(5));
    let sql = "SELECT shop FROM totals ORDER BY total LIMIT $1";
    assert_eq!(client.query(sql, &[&2_i64]).await.expect("rows").len(), 2);
    let sql = "SELECT count(*) FROM totals WHERE shop = $1 OR total = $2";
    assert_eq!(value::<i64>(&client, sql, &[&"north", &5_i64]).await, Some(2));
    let sql = "SELECT count(*) FROM totals WHERE day = ANY($1)";
    assert_eq!(types(sql).await, [Type::INT8_ARRAY]);
    assert_eq!(value::<i64>(&client, sql, &[&vec![1_i64, 9]]).await, Some(2));
    let typed = client.prepare_typed(sql, &[Type::INT4_ARRAY]).await.expect("a plan");
    assert_eq!(client.query_one(&typed, &[&vec![2_i32, 3]]).await.expect("a row").get::<_, i64>(0), 1);
    // A client may say another type than that of the column: the comparison is still that of the values.
    let typed = client.prepare_typed("SELECT total FROM totals WHERE day = $1", &[Type::INT4]).await.expect("a plan");
    assert_eq!(client.query(&typed, &[&2_i32]).await.expect("rows").len(), 1);
    let typed = client.prepare_typed("SELECT total FROM totals WHERE day = $1", &[Type::FLOAT8]).await.expect("a plan");
    assert_eq!(client.query(&typed, &[&2.0_f64]).await.expect("rows").len(), 1);
    assert_eq!(client.query(&typed, &[&2.5_f64]).await.expect("no rows").len(), 0);
    let (code, message, _, hint) = told(&client, "SELECT * FROM totals WHERE shop = $1").await;
    assert_eq!((code, message.contains("no values"), hint.is_some()), (SqlState::from_code("42000"), true, true));
    let error = client.prepare("SELECT $2000").await.expect_err("too many");
    assert!(error.as_db_error().expect("an answer").message().contains("$1000"), "{error:?}");
    served.end().await;
}

#[tokio::test]
async fn errors_say_what_where_and_what_to_do() {
    let served = serve_with(QueryLimits { rows_max: 1_000, seconds_max: 1, ..QueryLimits::default() }, 10).await;
    let client = served.connect().await;
    for (sql, code, place, hint) in [
        ("SELECT shp FROM totals", "42703", Some(8), Some("did you mean 'shop'?")),
        ("SELECT 'ä',\n shp FROM totals", "42703", Some(14), Some("did you mean 'shop'?")),
        ("SELECT 1; SELECT shp FROM totals", "42703", Some(18), Some("did you mean 'shop'?")),
        ("SELECT * FROM total", "42P01", Some(15), Some("did you mean 'totals'?")),
        ("SELECT * FROM totals WHERE )", "42601", Some(28), None),
        ("SELECT", "42601", Some(7), None),
        ("SELECT shop, sum(total) FROM totals", "42803", Some(8), None),
        ("SELECT cout(*) FROM totals", "42883", Some(8), None),
        ("SELECT 1 / 0", "22012", None, None),
        ("SELECT CAST('x' AS INT)", "22P02", None, None),
        ("SELECT a.shop FROM totals a JOIN totals b ON shop = 'x'", "42702", Some(46), None),
        (
            "DROP TABLE totals",
            "25006",
            None,
            Some("a query is SELECT, WITH, VALUES, EXPLAIN, DESCRIBE, SHOW TABLES or SHOW COLUMNS"),
        ),
        ("INSERT INTO totals VALUES ('x', 1, 1)", "25006", None, None),
        ("COPY totals TO STDOUT", "25006", None, None),
        ("CREATE VIEW x AS SELECT", "25006", None, None),
        ("SELECT * FROM generate_series(1, 1001)", "54000", None, None),
        (&format!("SELECT sum(value) FROM {MORE_THAN_CAN_BE_COUNTED}"), "57014", None, None),
        (&format!("SELECT {}", vec!["1"; 600].join("+")), "54001", None, None),
        (&format!("SELECT '{}'", "x".repeat(70_000)), "54001", None, None),
    ] {
        let (found, message, at, help) = told(&client, sql).await;
        assert_eq!((found.code(), at), (code, place), "{sql}: {message}");
        if hint.is_some() {
            assert_eq!(help.as_deref(), hint, "{sql}: {message}");
        }
        // The connection goes on.
        assert_eq!(rows(&client, "SELECT 1").await, ["1"]);
    }
    let error = client.query("SELECT shp FROM totals WHERE shop = $1", &[&"x"]).await.expect_err("no such column");
    assert_eq!(error.code(), Some(&SqlState::UNDEFINED_COLUMN));
    served.end().await;
}

#[tokio::test]
async fn statements_of_one_text_run_in_turn_up_to_the_first_error() {
    let served = serve().await;
    let client = served.connect().await;
    assert_eq!(rows(&client, "SELECT 1; SELECT ';' AS x;; SELECT 3").await, ["1", ";", "3"]);
    let stream = client.simple_query_raw("SELECT 1; SELECT 2; SELECT shp FROM totals; SELECT 4").await.expect("sent");
    let mut stream = std::pin::pin!(stream);
    let mut seen = Vec::new();
    let error = loop {
        match stream.try_next().await {
            Ok(Some(SimpleQueryMessage::Row(row))) => seen.push(row.get(0).map(str::to_owned)),
            Ok(Some(_)) => {}
            Ok(None) => panic!("no error after {seen:?}"),
            Err(error) => break error,
        }
    };
    assert_eq!(seen, [Some("1".to_owned()), Some("2".to_owned())]);
    assert_eq!(error.code(), Some(&SqlState::UNDEFINED_COLUMN));
    served.end().await;
}

#[tokio::test]
async fn what_clients_send_unasked_does_no_harm() {
    let served = serve().await;
    let client = served.connect().await;
    for sql in [
        "SET extra_float_digits = 3",
        "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
        "SET application_name = 'test'",
        "SET client_encoding TO 'UTF8'",
        "SET datestyle = ISO",
        "SET search_path TO public",
        "SET myapp.user = 'ada'",
        "BEGIN READ ONLY",
        "SAVEPOINT a",
        "RELEASE a",
        "COMMIT",
        "START TRANSACTION ISOLATION LEVEL REPEATABLE READ",
        "ROLLBACK",
        "DEALLOCATE ALL",
        "CLOSE ALL",
        "UNLISTEN *",
        "RESET ALL",
        "DISCARD ALL",
    ] {
        assert_eq!(rows(&client, sql).await, [""; 0], "{sql}");
    }
    rows(&client, "SET application_name = 'test'").await;
    assert_eq!(rows(&client, "SHOW application_name").await, ["test"]);
    assert_eq!(value::<String>(&client, "SHOW server_encoding", &[]).await, Some("UTF8".to_owned()));
    assert_eq!(rows(&client, "SHOW TRANSACTION ISOLATION LEVEL").await, ["read committed"]);
    assert!(rows(&client, "SHOW ALL").await.len() > 20);
    assert_eq!(told(&client, "SHOW no_such_thing").await.0, SqlState::UNDEFINED_OBJECT);
    assert_eq!(told(&client, "SET client_encoding = 'LATIN1'").await.0, SqlState::INVALID_PARAMETER_VALUE);
    served.end().await;
}

#[tokio::test]
async fn a_failed_transaction_waits_for_its_end() {
    let served = serve().await;
    let mut client = served.connect().await;
    rows(&client, "BEGIN").await;
    assert_eq!(told(&client, "SELECT nothing").await.0, SqlState::UNDEFINED_COLUMN);
    assert_eq!(told(&client, "SELECT 1").await.0, SqlState::IN_FAILED_SQL_TRANSACTION);
    assert_eq!(
        client.query("SELECT 1", &[]).await.expect_err("failed").code(),
        Some(&SqlState::IN_FAILED_SQL_TRANSACTION)
    );
    rows(&client, "ROLLBACK").await;
    assert_eq!(rows(&client, "SELECT 1").await, ["1"]);
    let transaction = client.transaction().await.expect("a transaction");
    assert_eq!(transaction.query_one("SELECT 1", &[]).await.expect("a row").get::<_, i64>(0), 1);
    transaction.commit().await.expect("an end");
    served.end().await;
}

#[tokio::test]
async fn portals_give_so_many_rows_at_a_time() {
    let served = serve().await;
    let mut client = served.connect().await;
    let transaction = client.transaction().await.expect("a transaction");
    let portal = transaction
        .bind("SELECT value FROM generate_series(1, 20000) WHERE value > $1", &[&0_i64])
        .await
        .expect("bound");
    let mut found = 0_i64;
    for expected in [7_000, 7_000, 6_000, 0] {
        let rows = transaction.query_portal(&portal, 7_000).await.expect("rows");
        assert_eq!(rows.len(), expected);
        for row in rows {
            found += 1;
            assert_eq!(row.get::<_, i64>(0), found);
        }
    }
    transaction.commit().await.expect("an end");
    served.end().await;
}

#[tokio::test]
async fn cursors_are_fetched_from() {
    let served = serve().await;
    let client = served.connect().await;
    rows(&client, "BEGIN").await;
    rows(&client, "DECLARE c CURSOR FOR SELECT * FROM generate_series(1, 5)").await;
    assert_eq!(rows(&client, "FETCH FORWARD 2 FROM c").await, ["1", "2"]);
    assert_eq!(rows(&client, "MOVE 1 FROM c").await, [""; 0]);
    assert_eq!(rows(&client, "FETCH c").await, ["4"]);
    assert_eq!(rows(&client, "FETCH ALL c").await, ["5"]);
    assert_eq!(rows(&client, "FETCH ALL c").await, [""; 0]);
    rows(&client, "CLOSE c").await;
    assert_eq!(told(&client, "FETCH c").await.0, SqlState::INVALID_CURSOR_NAME);
    rows(&client, "ROLLBACK").await;
    rows(&client, "BEGIN; DECLARE d CURSOR FOR SELECT 1; COMMIT").await;
    assert_eq!(told(&client, "FETCH d").await.0, SqlState::INVALID_CURSOR_NAME);
    served.end().await;
}

#[tokio::test]
async fn a_cancel_request_ends_the_query_that_runs() {
    let served = serve().await;
    let client = served.connect().await;
    let cancel = client.cancel_token();
    let sql = format!("SELECT sum(value) FROM {MORE_THAN_CAN_BE_COUNTED}");
    let cancelling = async {
        served.running(1).await;
        cancel.cancel_query(NoTls).await.expect("a request that is taken");
    };
    let (answer, ()) = tokio::join!(client.simple_query(&sql), cancelling);
    assert_eq!(answer.expect_err("cancelled").code(), Some(&SqlState::QUERY_CANCELED));
    served.running(0).await;
    // Nothing runs: nothing is cancelled, now or later.
    cancel.cancel_query(NoTls).await.expect("a request that is taken");
    assert_eq!(rows(&client, "SELECT 1").await, ["1"]);
    rows(&client, "SET statement_timeout = '50ms'").await;
    assert_eq!(told(&client, &sql).await.0, SqlState::QUERY_CANCELED);
    served.end().await;
}

#[tokio::test]
async fn a_client_that_goes_away_ends_its_query() {
    let served = serve().await;
    for simple in [true, false] {
        let (client, connection) = served.config().connect(NoTls).await.expect("a connection");
        let connection = tokio::spawn(connection);
        let asking = tokio::spawn(async move {
            let sql = format!("SELECT sum(value) FROM {MORE_THAN_CAN_BE_COUNTED}");
            if simple { client.simple_query(&sql).await.map(drop) } else { client.query(&sql, &[]).await.map(drop) }
        });
        served.running(1).await;
        connection.abort();
        served.running(0).await;
        asking.await.expect("no panic").expect_err("no answer");
    }
    assert_eq!(served.app.queries.memory_held(), 0);
    served.end().await;
}

#[tokio::test]
async fn connections_and_what_they_hold_are_bounded() {
    let served = serve_with(QueryLimits::default(), 2).await;
    let (first, _second) = (served.connect().await, served.connect().await);
    let error = served.try_connect(&served.config()).await.expect_err("too many");
    assert_eq!(error.code(), Some(&SqlState::TOO_MANY_CONNECTIONS));
    // A cancel request needs no seat.
    first.cancel_token().cancel_query(NoTls).await.expect("a request that is taken");
    let mut statements = Vec::new();
    let error = loop {
        match first.prepare("SELECT 1").await {
            Ok(statement) => statements.push(statement),
            Err(error) => break error,
        }
    };
    assert_eq!((statements.len(), error.code()), (1_000, Some(&SqlState::PROGRAM_LIMIT_EXCEEDED)));
    drop(statements);
    rows(&first, "DEALLOCATE ALL").await;
    first.prepare("SELECT 1").await.expect("room again");
    let mut stream = TcpStream::connect(served.address).await.expect("a server");
    stream.write_all(b"\x16\x03\x01\x02\x00\x01\x00").await.expect("an open connection");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("an end");
    assert_eq!(answer.first(), Some(&b'E'), "a TLS greeting is no message");
    served.end().await;
}

#[tokio::test]
async fn each_statement_sees_the_newest_snapshot() {
    let served = serve().await;
    let (first, second) = (served.connect().await, served.connect().await);
    let sql = "SELECT total FROM totals WHERE shop = 'north'";
    let prepared = second.prepare("SELECT total FROM totals WHERE shop = $1").await.expect("a plan");
    for (epoch, total) in [(8, 41), (9, 42)] {
        served.node.publish(epoch, &[("totals", &[("north", 1, total)])]);
        assert_eq!(rows(&first, sql).await, [total.to_string()]);
        assert_eq!(second.query_one(&prepared, &[&"north"]).await.expect("a row").get::<_, i64>(0), total);
        assert_eq!(rows(&second, "SELECT sum(total) FROM totals").await, [total.to_string()]);
    }
    served.end().await;
}

#[tokio::test]
async fn queries_at_hand_are_answered_before_the_end() {
    let served = serve_with(QueryLimits { seconds_max: 1, ..QueryLimits::default() }, 10).await;
    let (client, idle) = (served.connect().await, served.connect().await);
    let asking = tokio::spawn(async move {
        client.simple_query(&format!("SELECT sum(value) FROM {MORE_THAN_CAN_BE_COUNTED}")).await
    });
    served.running(1).await;
    served.end().await;
    assert_eq!(asking.await.expect("no panic").expect_err("no time").code(), Some(&SqlState::QUERY_CANCELED));
    assert!(idle.simple_query("SELECT 1").await.is_err());
}
