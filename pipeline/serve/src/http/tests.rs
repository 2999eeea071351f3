use super::*;
use crate::app::PipelineReport;
use crate::queries::QueryLimits;
use crate::testing::{Node, order};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A node that is served, and how to end that.
struct Served {
    _node: Node,
    app: App,
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), ServeError>>,
}

async fn serve(limits: QueryLimits, report: Option<PipelineReport>) -> Served {
    let node = Node::new();
    node.publish(7, &[("totals", &[("north", 1, 40), ("south", 1, 20)])]);
    let app = App::with_report(
        node.limited(limits),
        Arc::clone(&node.door),
        Arc::new(move || report.clone()),
        crate::testing::clock(),
    );
    let server = Server::bind("127.0.0.1:0".parse().expect("an address")).await.expect("a free port");
    let (address, (stop, stopped)) = (server.address(), oneshot::channel::<()>());
    let shutdown = async {
        let _ = stopped.await;
    };
    let task = tokio::spawn(server.run(app.clone(), shutdown));
    Served { _node: node, app, address, stop, task }
}

impl Served {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("a server")
    }

    /// Sends a request with these header lines; gives status and body.
    async fn ask(&self, head: &str, headers: &str, body: &str) -> (u16, String) {
        let mut stream = self.connect().await;
        let host = if headers.contains("Host:") { "" } else { "Host: localhost\r\n" };
        let length = body.len();
        let text =
            format!("{head} HTTP/1.1\r\n{host}Connection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}");
        stream.write_all(text.as_bytes()).await.expect("an open connection");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        (status, body.to_owned())
    }

    async fn json(&self, head: &str, headers: &str, body: &str) -> (u16, Value) {
        let (status, body) = self.ask(head, headers, body).await;
        (status, serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}")))
    }

    async fn end(self) {
        self.stop.send(()).expect("the server runs");
        self.task.await.expect("no panic").expect("a clean end");
    }
}

const JSON: &str = "Content-Type: application/json\r\n";

#[tokio::test]
async fn queries_are_answered_in_three_formats() {
    let served = serve(QueryLimits::default(), None).await;
    let sql = "SELECT shop, total FROM totals ORDER BY shop";
    let csv = "shop,total\nnorth,40\nsouth,20\n";
    let body = |format: &str| json!({ "sql": sql, "format": format }).to_string();
    assert_eq!(served.ask("POST /query", JSON, &body("csv")).await, (200, csv.to_owned()));
    assert_eq!(served.ask("POST /query?format=csv", "", sql).await, (200, csv.to_owned()));
    let lines = "{\"shop\":\"north\",\"total\":40}\n{\"shop\":\"south\",\"total\":20}\n";
    assert_eq!(served.ask("POST /query", JSON, &json!({ "sql": sql }).to_string()).await, (200, lines.to_owned()));
    let (status, table) = served.ask("POST /query", "Content-Type: text/plain\r\n", sql).await;
    assert!(status == 200 && table.ends_with("(2 rows)\n"), "{table}");
    served.end().await;
}

#[tokio::test]
async fn what_is_wrong_with_a_query_is_told() {
    let served = serve(QueryLimits { seconds_max: 1, rows_max: 10, ..QueryLimits::default() }, None).await;
    let (status, answer) = served.json("POST /query", "", "SELECT shp FROM totals").await;
    let expected =
        json!({ "message": "there is no column 'shp'", "hint": "did you mean 'shop'?", "line": 1, "column": 8 });
    assert_eq!((status, &answer["error"]), (400, &expected));
    for (sql, expected) in [
        ("DROP TABLE totals", 400),
        ("SELECT sum(value) FROM generate_series(1, 1000000000000)", 408),
        ("SELECT * FROM generate_series(1, 1000000000000)", 413),
        (&format!("SELECT {}", vec!["1"; 600].join("+")), 413),
    ] {
        let (status, answer) = served.json("POST /query", "", sql).await;
        assert_eq!(status, expected, "{sql}: {answer}");
        assert!(answer["error"]["message"].is_string() && answer["error"]["hint"].is_string(), "{answer}");
    }
    for (headers, body) in [
        (JSON, "{}"),
        (JSON, "SELECT 1"),
        (JSON, r#"{"sql":"SELECT 1","format":"xml"}"#),
        (JSON, r#"{"sql":"SELECT 1","x":1}"#),
    ] {
        assert_eq!(served.json("POST /query", headers, body).await.0, 400, "{body}");
    }
    assert_eq!(served.json("GET /query", "", "").await.0, 405);
    assert_eq!(served.json("GET /nothing", "", "").await.0, 404);
    served.end().await;
}

#[tokio::test]
async fn events_are_taken_and_can_be_queried() {
    let served = serve(QueryLimits::default(), None).await;
    let first = [order(1, "north", 10), order(2, "south", 20)].concat();
    let (status, answer) = served.json("POST /events", "", &first).await;
    assert_eq!(status, 200);
    let commit = answer["commit"].as_u64().expect("a number");
    assert_eq!(
        answer,
        json!({ "accepted": { "order_placed": 2 }, "accepted_total": 2, "duplicates": 0, "refused": [],
                "refused_total": 0, "commit": commit })
    );
    let second = format!("{}not JSON\n{}", order(1, "north", 10), order(3, "north", 5).replace("\"id\":3,", ""));
    let (status, answer) = served.json("POST /events", "", &second).await;
    assert_eq!((status, answer["duplicates"].as_u64(), answer["refused_total"].as_u64()), (207, Some(1), Some(2)));
    assert_eq!(answer["refused"][0]["line"], 2);
    assert_eq!(answer["refused"][0]["reason"], "malformed_json");
    assert_eq!(answer["refused"][1]["field"], "id");
    let sql = "SELECT (SELECT count(*) FROM orders) AS orders, count(*) FROM dead_letters WHERE source = 'http'";
    let (_, rows) = served.ask("POST /query?format=csv", "", sql).await;
    assert_eq!(rows.lines().nth(1), Some("2,2"), "{rows}");
    let mut stream = served.connect().await;
    let head = format!("POST /events HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", BODY_BYTES_MAX + 1);
    stream.write_all(head.as_bytes()).await.expect("an open connection");
    let mut answer = vec![0; 12];
    stream.read_exact(&mut answer).await.expect("an answer");
    assert_eq!(answer, b"HTTP/1.1 413");
    served.end().await;
}

#[tokio::test]
async fn status_and_health_are_told() {
    let mut report = PipelineReport::default();
    report.status.rows_in = 5;
    report
        .status
        .tables
        .insert("orders".to_owned(), chalk_runtime::TableStatus { is_idle: true, ahead: 3, ..Default::default() });
    let served = serve(QueryLimits::default(), Some(report.clone())).await;
    let (status, answer) = served.json("GET /status", "", "").await;
    assert_eq!((status, &answer["epoch"], &answer["views"]["totals"]["rows"]), (200, &json!(7), &json!(2)));
    assert_eq!((&answer["pipeline"]["rows_in"], &answer["failure"]), (&json!(5), &Value::Null));
    assert_eq!(answer["pipeline"]["watermarks"], json!({ "orders": null }));
    assert_eq!(answer["pipeline"]["idle"], json!(["orders"]));
    assert_eq!(answer["pipeline"]["ahead"], json!({ "orders": 3 }));
    assert_eq!(served.ask("GET /healthz", "", "").await, (200, "ok".to_owned()));
    served.end().await;
    report.failure = Some("the disk is full".to_owned());
    let served = serve(QueryLimits::default(), Some(report)).await;
    assert_eq!(served.ask("GET /healthz", "", "").await, (503, "the disk is full".to_owned()));
    assert_eq!(served.json("GET /status", "", "").await.1["failure"], "the disk is full");
    served.end().await;
}

#[tokio::test]
async fn views_are_listed_and_read_without_sql() {
    let served = serve(QueryLimits { rows_max: 2, ..QueryLimits::default() }, None).await;
    let column = |name: &str, of: &str, nullable: bool| json!({ "name": name, "type": of, "nullable": nullable });
    let columns = [column("shop", "TEXT", false), column("day", "BIGINT", false), column("total", "BIGINT", true)];
    let expected = json!({ "epoch": 7, "views": [{ "name": "totals", "rows": 2, "columns": columns }] });
    assert_eq!(served.json("GET /views", "", "").await, (200, expected));
    let north = "{\"shop\":\"north\",\"day\":1,\"total\":40}\n";
    let south = "{\"shop\":\"south\",\"day\":1,\"total\":20}\n";
    for (query, expected) in [
        ("?shop=north", north.to_owned()),
        ("?shop=south&day=1&total=20", south.to_owned()),
        ("?total=40", north.to_owned()),
        ("?shop=north&total=20", String::new()),
        ("?shop=", String::new()),
        ("", [north, south].concat()),
        ("?limit=1", north.to_owned()),
        ("?day=1&limit=1&format=csv", "shop,day,total\nnorth,1,40\n".to_owned()),
        ("?shop=%6eorth&format=json", north.to_owned()),
    ] {
        assert_eq!(served.ask(&format!("GET /views/totals{query}"), "", "").await, (200, expected), "{query}");
    }
    let (_, table) = served.ask("GET /views/totals?format=table", "", "").await;
    assert!(table.ends_with("(2 rows)\n"), "{table}");
    for (path, status, message, hint) in [
        ("/views/total", 404, "there is no view 'total'", "did you mean 'totals'?"),
        ("/views/orders", 404, "there is no view 'orders'", "known are totals"),
        ("/views/totals?shp=x", 400, "view 'totals' has no column 'shp'", "did you mean 'shop'?"),
        ("/views/totals?x=1", 400, "view 'totals' has no column 'x'", "columns here are shop, day, total"),
        ("/views/totals?day=x", 400, "'x' is no value of column 'day', which is BIGINT", "it is an integer"),
        ("/views/totals?day=1&day=2", 400, "column 'day' is given twice", "ask once for each value"),
    ] {
        let (found, answer) = served.json(&format!("GET {path}"), "", "").await;
        let error = &answer["error"];
        assert_eq!((found, error["message"].as_str(), error["hint"].as_str()), (status, Some(message), Some(hint)));
    }
    for path in ["/views/totals?limit=x", "/views/totals?limit=1&limit=2", "/views/totals?format=xml"] {
        assert_eq!(served.ask(&format!("GET {path}"), "", "").await.0, 400, "{path}");
    }
    served._node.publish(8, &[("totals", &[("a", 1, 1), ("b", 1, 1), ("c", 1, 1)])]);
    assert_eq!(served.json("GET /views/totals", "", "").await.0, 413);
    assert_eq!(served.ask("GET /views/totals?limit=2", "", "").await.0, 200);
    served.end().await;
}

/// The events of a stream.
struct Events {
    stream: TcpStream,
    text: String,
}

impl Events {
    async fn of(served: &Served, path: &str) -> Self {
        let mut stream = served.connect().await;
        let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        stream.write_all(head.as_bytes()).await.expect("an open connection");
        let mut events = Self { stream, text: String::new() };
        events.until("\r\n\r\n").await;
        let head = events.text.split_off(0);
        let (head, rest) = head.split_once("\r\n\r\n").expect("a head");
        assert!(head.starts_with("HTTP/1.1 200") && head.contains("text/event-stream"), "{head}");
        events.text = rest.to_owned();
        events
    }

    async fn until(&mut self, mark: &str) {
        let mut bytes = [0; 4096];
        while !self.text.contains(mark) {
            let read = tokio::time::timeout(Duration::from_secs(20), self.stream.read(&mut bytes));
            let count = read.await.expect("in time").expect("an open connection");
            assert!(count > 0, "the stream ended: {}", self.text);
            self.text.push_str(std::str::from_utf8(&bytes[..count]).expect("text"));
        }
    }

    /// The next event's name and data.
    async fn next(&mut self) -> (String, Value) {
        // In HTTP's chunks: an event is written at once, and ends with an empty line.
        self.until("\n\n").await;
        let (event, rest) =
            self.text.split_once("\n\n").map(|(event, rest)| (event.to_owned(), rest.to_owned())).expect("an end");
        self.text = rest;
        let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
        let data = field("data: ").unwrap_or_else(|| panic!("no data: {event}"));
        (field("event: ").expect("a name"), serde_json::from_str(&data).expect("JSON"))
    }
}

/// Adds changes to rows.
fn follow(rows: &mut Vec<Value>, changes: &Value) {
    for change in changes.as_array().expect("changes") {
        let (weight, row) = (change["weight"].as_i64().expect("a weight"), &change["row"]);
        for _ in 0..weight.abs() {
            if weight > 0 {
                rows.push(row.clone());
            } else {
                let at = rows.iter().position(|known| known == row).expect("a row that is there");
                rows.swap_remove(at);
            }
        }
    }
}

fn sorted(mut rows: Vec<Value>) -> Vec<String> {
    rows.sort_by_key(Value::to_string);
    rows.iter().map(Value::to_string).collect()
}

#[tokio::test]
async fn a_snapshot_and_its_changes_are_the_view() {
    let served = serve(QueryLimits::default(), None).await;
    let mut all = Events::of(&served, "/views/totals/changes").await;
    let mut south = Events::of(&served, "/views/totals/changes?shop=south&total=7").await;
    let (name, data) = all.next().await;
    assert_eq!((name.as_str(), &data["epoch"]), ("snapshot", &json!(7)));
    let mut rows = data["rows"].as_array().expect("rows").clone();
    assert_eq!(rows.len(), 2);
    assert_eq!(south.next().await, ("snapshot".to_owned(), json!({ "epoch": 7, "rows": [] })));
    let steps: [&[crate::testing::Total]; 5] = [
        &[("north", 1, 41), ("south", 1, 20)],
        &[("north", 1, 41), ("south", 1, 20)],
        &[("north", 1, 41), ("north", 1, 41), ("south", 1, 7), ("west", 3, 1)],
        &[],
        &[("south", 1, 7), ("south", 2, 7), ("south", 2, 8)],
    ];
    let mut seen = 7;
    for (epoch, step) in (8..).zip(steps) {
        served._node.publish(epoch, &[("totals", step)]);
        if epoch == 9 {
            continue; // nothing has changed: there is no event
        }
        // Slower than the views: changes of several epochs may come in one event, and are consolidated.
        while seen < epoch {
            let (name, data) = all.next().await;
            assert_eq!(name, "change");
            seen = data["epoch"].as_u64().expect("a number");
            follow(&mut rows, &data["changes"]);
        }
        let (_, answer) = served.ask("GET /views/totals", "", "").await;
        let expected = answer.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        assert_eq!(sorted(rows.clone()), sorted(expected), "epoch {epoch}");
    }
    let mut rows = Vec::new();
    loop {
        let (name, data) = south.next().await;
        assert_eq!(name, "change");
        follow(&mut rows, &data["changes"]);
        if data["epoch"] == 12 {
            break;
        }
    }
    assert_eq!(sorted(rows), [r#"{"day":1,"shop":"south","total":7}"#, r#"{"day":2,"shop":"south","total":7}"#]);
    served._node.publish(13, &[]);
    assert_eq!(all.next().await, ("end".to_owned(), json!({ "reason": "the view is gone" })));
    served._node.publish(14, &[("totals", &[("south", 9, 7)])]);
    let mut again = Events::of(&served, "/views/totals/changes?shop=south").await;
    assert_eq!(again.next().await.0, "snapshot");
    for (path, status) in
        [("/views/nothing/changes", 404), ("/views/totals/changes?shp=x", 400), ("/views/totals/changes?limit=1", 400)]
    {
        assert_eq!(served.json(&format!("GET {path}"), "", "").await.0, status, "{path}");
    }
    // A stream does not hold up the end of the server.
    served.end().await;
    assert_eq!(again.next().await, ("end".to_owned(), json!({ "reason": "the server is stopping" })));
}

#[tokio::test]
async fn metrics_can_be_read() {
    let mut report = PipelineReport::default();
    report.status.rows_in = 5;
    let behind = chalk_event::EventTime(crate::testing::clock()() - 90 * chalk_event::NANOS_PER_SECOND);
    let watermark = chalk_event::Watermark::at(behind);
    let orders = chalk_runtime::TableStatus { watermark, is_idle: true, ahead: 3 };
    report.status.tables.insert("orders".to_owned(), orders);
    report.status.late_of.insert("orders".to_owned(), 2);
    let served = serve(QueryLimits { seconds_max: 1, ..QueryLimits::default() }, Some(report)).await;
    served.ask("POST /events", "", &[order(1, "north", 10), "no event\n".to_owned()].concat()).await;
    for sql in ["SELECT 1", "SELECT 2", "SELECT shp FROM totals"] {
        served.ask("POST /query", "", sql).await;
    }
    let (status, text) = served.ask("GET /metrics", "", "").await;
    assert_eq!(status, 200);
    assert!(text.ends_with("# EOF\n") && text.matches("# EOF").count() == 1, "{text}");
    let mut known = std::collections::BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no value: {line}"));
        let value: f64 = value.parse().unwrap_or_else(|_| panic!("no number: {line}"));
        let name = name.split_once('{').map_or(name, |(name, _)| name).to_owned()
            + name.find('{').map_or("", |at| &name[at..]);
        assert!(known.insert(name, value).is_none(), "twice: {line}");
    }
    for (name, expected) in [
        ("chalk_http_events_total{outcome=\"accepted\",type=\"order_placed\"}", 1.0),
        ("chalk_http_events_total{outcome=\"malformed_json\",type=\"\"}", 1.0),
        ("chalk_topic_events_total{topic=\"orders\"}", 1.0),
        ("chalk_dead_letters_total", 1.0),
        ("chalk_late_rows_total", 0.0),
        ("chalk_queries_total{protocol=\"http\",outcome=\"finished\"}", 2.0),
        ("chalk_queries_total{protocol=\"http\",outcome=\"mistaken\"}", 1.0),
        ("chalk_queries_running{protocol=\"http\"}", 0.0),
        ("chalk_query_seconds_count{protocol=\"http\"}", 3.0),
        ("chalk_connections{protocol=\"http\"}", 1.0),
        ("chalk_epoch", 7.0),
        ("chalk_view_rows{view=\"totals\"}", 2.0),
        ("chalk_rows_in_total", 5.0),
        ("chalk_pipeline_failed", 0.0),
        ("chalk_watermark_lag_seconds{table=\"orders\"}", 90.0),
        ("chalk_rows_ahead_total{table=\"orders\"}", 3.0),
        ("chalk_table_idle{table=\"orders\"}", 1.0),
        ("chalk_table_late_total{table=\"orders\"}", 2.0),
    ] {
        assert_eq!(known.get(name), Some(&expected), "{name} in {text}");
    }
    assert!(known["chalk_commit_durable"] > 0.0);
    if cfg!(target_os = "linux") {
        assert!(known["process_resident_memory_bytes"] > 0.0 && known.contains_key("process_cpu_seconds_total"));
    }
    served.end().await;
}

#[tokio::test]
async fn connections_are_bounded() {
    let node = Node::new();
    let app = App::with_report(node.queries(), Arc::clone(&node.door), Arc::new(|| None), crate::testing::clock());
    let server = Server::bind("127.0.0.1:0".parse().expect("an address")).await.expect("a free port");
    let (address, (stop, stopped)) = (server.address(), oneshot::channel::<()>());
    let task = tokio::spawn(server.run_with(app, 1, async { drop(stopped.await) }));
    let ask = async |stream: &mut TcpStream| {
        let _ = stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.expect("an answer");
        String::from_utf8_lossy(&answer).into_owned()
    };
    let mut first = TcpStream::connect(address).await.expect("a server");
    assert_eq!(ask(&mut first).await, "HTTP/1.1 200");
    let mut second = TcpStream::connect(address).await.expect("a server");
    let mut answer = [0; 12];
    second.read_exact(&mut answer).await.expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 503");
    drop((first, second));
    stop.send(()).expect("the server runs");
    task.await.expect("no panic").expect("a clean end");
}

#[tokio::test]
async fn a_client_that_goes_away_ends_its_query() {
    let served = serve(QueryLimits::default(), None).await;
    let mut stream = served.connect().await;
    let sql = "SELECT sum(value) FROM generate_series(1, 1000000000000)";
    let text = format!("POST /query HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{sql}", sql.len());
    stream.write_all(text.as_bytes()).await.expect("an open connection");
    let running = async |count: usize| {
        let wait = async {
            while served.app.queries.running() != count {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), wait).await.expect("in time");
    };
    running(1).await;
    drop(stream);
    running(0).await;
    served.end().await;
}

#[tokio::test]
async fn requests_at_hand_are_answered_before_the_end() {
    let served = serve(QueryLimits { seconds_max: 1, ..QueryLimits::default() }, None).await;
    let mut stream = served.connect().await;
    let sql = "SELECT sum(value) FROM generate_series(1, 1000000000000)";
    let text = format!("POST /query HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{sql}", sql.len());
    stream.write_all(text.as_bytes()).await.expect("an open connection");
    while served.app.queries.running() == 0 {
        tokio::task::yield_now().await;
    }
    let reading = tokio::spawn(async move {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.map(|_| answer)
    });
    served.end().await;
    let answer = reading.await.expect("no panic").expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
}

#[tokio::test]
async fn only_this_machine_may_ask() {
    for address in ["0.0.0.0:0", "192.0.2.1:80", "[::]:0"] {
        let error = Server::bind(address.parse().expect("an address")).await.expect_err("not loopback");
        assert!(matches!(error, ServeError::NotLoopback(_)), "{error}");
    }
    let served = serve(QueryLimits::default(), None).await;
    let taken = Server::bind(served.address).await.expect_err("taken");
    assert!(matches!(taken, ServeError::Taken(_)), "{taken}");
    assert!(
        taken.to_string().starts_with(&format!("{} is taken", served.address)) && taken.to_string().contains("or 0")
    );
    for (headers, expected) in [
        ("Host: localhost:80\r\n", 200),
        ("Host: 127.0.0.1\r\n", 200),
        ("Host: [::1]:80\r\nOrigin: http://localhost:3000\r\n", 200),
        ("Host: example.org\r\n", 403),
        ("Host: localhost.example.org\r\n", 403),
        ("Origin: https://example.org\r\n", 403),
        ("Origin: null\r\n", 403),
    ] {
        assert_eq!(served.ask("GET /healthz", headers, "").await.0, expected, "{headers}");
    }
    served.end().await;
}

#[test]
fn a_log_that_takes_nothing_is_unavailable() {
    use chalk_ingest::DoorError;
    use chalk_log::LogError;
    for (error, expected) in [
        (DoorError::Log(LogError::Stopped("the disk is full".to_owned())), StatusCode::SERVICE_UNAVAILABLE),
        (DoorError::Log(LogError::TooLarge { bytes: 2, limit: 1 }), StatusCode::PAYLOAD_TOO_LARGE),
        (DoorError::TooMuch { bytes: 2, limit: 1 }, StatusCode::PAYLOAD_TOO_LARGE),
    ] {
        assert_eq!(events::refusal(&error).into_response().status(), expected);
    }
}
