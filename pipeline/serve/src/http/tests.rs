use super::*;
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
    let app = App::with_report(node.limited(limits), Arc::clone(&node.door), Arc::new(move || report.clone()));
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
    report.status.watermarks.insert("orders".to_owned(), chalk_event::Watermark::default());
    let served = serve(QueryLimits::default(), Some(report.clone())).await;
    let (status, answer) = served.json("GET /status", "", "").await;
    assert_eq!((status, &answer["epoch"], &answer["views"]["totals"]["rows"]), (200, &json!(7), &json!(2)));
    assert_eq!((&answer["pipeline"]["rows_in"], &answer["failure"]), (&json!(5), &Value::Null));
    assert_eq!(answer["pipeline"]["watermarks"], json!({ "orders": null }));
    assert_eq!(served.ask("GET /healthz", "", "").await, (200, "ok".to_owned()));
    served.end().await;
    report.failure = Some("the disk is full".to_owned());
    let served = serve(QueryLimits::default(), Some(report)).await;
    assert_eq!(served.ask("GET /healthz", "", "").await, (503, "the disk is full".to_owned()));
    assert_eq!(served.json("GET /status", "", "").await.1["failure"], "the disk is full");
    served.end().await;
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
