//! History and checkpoints in an object store of S3's kind: moto's server, whose `moto_server` must be on the path (`pip install 'moto[server]'`).

use crate::program::{ASK_EVERY, Folder, PATIENCE, Server};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

/// Segments so small that there are some to export.
const RUN: [&str; 7] = ["run", "--data", "data", "--segment-bytes", "50000", "--checkpoint-interval-ms", "50"];

/// A server that keeps objects in memory; gone when dropped.
struct S3 {
    child: Child,
    endpoint: String,
}

impl S3 {
    fn new() -> Self {
        let mut command = Command::new("moto_server");
        command.args(["-H", "127.0.0.1", "-p", "0"]).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("moto_server on the path: pip install 'moto[server]'");
        let mut said = BufReader::new(child.stderr.take().expect("a piped error output")).lines();
        let endpoint = said
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| Some(line.split_once("Running on ")?.1.trim().to_owned()))
            .expect("where it listens");
        // It says a line for each request.
        std::thread::spawn(move || said.for_each(drop));
        Self { child, endpoint }
    }

    fn environment(&self) -> Vec<(&'static str, String)> {
        let said = [
            ("AWS_ENDPOINT", self.endpoint.as_str()),
            ("AWS_ALLOW_HTTP", "true"),
            ("AWS_REGION", "eu-central-1"),
            ("AWS_ACCESS_KEY_ID", "someone"),
            ("AWS_SECRET_ACCESS_KEY", "something"),
        ];
        said.map(|(name, value)| (name, value.to_owned())).into()
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Fixture {
    s3: S3,
    folder: Folder,
}

impl Fixture {
    fn chalk(&self, arguments: &[&str]) -> String {
        let output = self.folder.command(arguments).envs(self.s3.environment()).output().expect("the program starts");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && said.is_empty(), "{arguments:?}: {said}");
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    fn serve(&self) -> Server {
        self.folder.try_serve(&RUN, &self.s3.environment()).unwrap_or_else(|said| panic!("it ended: {said}"))
    }

    /// The first offset of a topic that the log's own segments have.
    fn first_in_log(&self, topic: &str) -> Option<u64> {
        let told = self.chalk(&["topics", "--data", "data", "-f", "json"]);
        let topics = told.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        let found = topics.into_iter().find(|found| found["topic"] == topic)?;
        found["partitions"].as_array()?.iter().filter_map(|partition| partition["first_in_log"].as_u64()).max()
    }

    fn append(&self, server: &Server, seed: u64) {
        let generate = ["generate", "homework", "--events", "1500", "--seed", &seed.to_string()];
        let lines = self.folder.chalk(&generate).out;
        let answer = server.client.post("/events", "application/x-ndjson", lines.as_bytes());
        let (status, answer) = answer.expect("an answer");
        assert!(matches!(status, 200 | 207), "{answer}");
        server.client.caught_up();
    }
}

/// Waits for something that the status says.
fn until(server: &Server, is_so: impl Fn(&Value) -> bool) -> Value {
    let began = Instant::now();
    loop {
        let status = server.client.status();
        if is_so(&status) {
            return status;
        }
        assert!(began.elapsed() < PATIENCE, "it never comes: {status}");
        std::thread::sleep(ASK_EVERY);
    }
}

fn is_copied(status: &Value) -> bool {
    let checkpoint = &status["pipeline"]["checkpoint"];
    checkpoint["upto"].as_u64() > Some(0) && checkpoint["copies"]["upto"] == checkpoint["upto"]
}

#[test]
fn history_and_checkpoints_are_kept_in_a_bucket() {
    let fixture = Fixture { s3: S3::new(), folder: Folder::of_homework() };
    let made = ureq::put(format!("{}/school", fixture.s3.endpoint)).send_empty().expect("a bucket");
    assert_eq!(made.status(), 200);
    fixture.serve().stop();
    fixture.chalk(&["history", "keep-in", "s3://school/a b/history", "--data", "data"]);
    fixture.chalk(&["checkpoint", "keep-in", "s3://school/a b/checkpoints", "--data", "data"]);
    let mut server = fixture.serve();
    for seed in 1..=3 {
        fixture.append(&server, seed);
        // A stop leaves a checkpoint of everything, which the next start copies.
        server.stop();
        server = fixture.serve();
        until(&server, is_copied);
    }
    let counts = "SELECT count(*), sum(_offset), sum(_commit_seq) FROM submissions";
    let boards = "SELECT * FROM completion ORDER BY class_id, week_of";
    let before = [server.client.query(counts), server.client.query(boards)];
    server.kill();

    // Segments that are only in the bucket are read from there, and a start takes its checkpoint from there.
    assert!(fixture.chalk(&["history", "export", "--seal", "--data", "data"]).contains("s3://school/a b/history"));
    fixture.chalk(&["retention", "set", "*", "--log-bytes", "1KiB", "--data", "data"]);
    let listed = fixture.chalk(&["checkpoint", "list", "--data", "data"]);
    assert!(listed.contains("copies in s3://school/a b/checkpoints:\n"), "{listed}");
    let server = fixture.serve();
    until(&server, is_copied);
    let began = Instant::now();
    while fixture.first_in_log("submissions") == Some(0) {
        assert!(began.elapsed() < PATIENCE, "no segment goes: {}", server.client.status());
        std::thread::sleep(ASK_EVERY);
    }
    assert_eq!([server.client.query(counts), server.client.query(boards)], before);
    server.kill();
    std::fs::remove_dir_all(fixture.folder.path("data/checkpoints")).expect("a folder");
    let server = fixture.serve();
    let status = server.client.status();
    let checkpoint = &status["pipeline"]["checkpoint"];
    assert_eq!(checkpoint["copies"]["started"], Value::Bool(true), "{status}");
    server.client.caught_up();
    assert_eq!([server.client.query(counts), server.client.query(boards)], before);
    fixture.append(&server, 4);
    assert_eq!(server.stop().0, Some(0));
    assert!(fixture.chalk(&["history", "verify", "--data", "data"]).contains("s3://school/a b/history"));
}
