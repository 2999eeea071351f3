//! What stands in `docs/` is what happens: every block is run, and what it prints is compared with the block after it.
//!
//! | block | is |
//! |---|---|
//! | `sh serve` | a server; the ports in later blocks are replaced by the ones that it got |
//! | `sh`, `python` | run to its end |
//! | `text` | what the block before it printed |
//!
//! `CHALK_BLESS=1 cargo test --release --test it --features chalk-tests/server-tests -- docs` writes down what is printed now; review it like code.

use crate::program::{Folder, Server, udf_target};
use crate::workspace::root;
use std::os::unix::fs::symlink;
use std::process::Command;

const HTTP: &str = "8532";
const PG: &str = "5532";

/// A page: text and blocks in turn.
enum Part {
    Text(String),
    Block { info: String, body: String },
}

fn parts(page: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let (mut text, mut block): (String, Option<(String, String)>) = (String::new(), None);
    for line in page.split_inclusive('\n') {
        match (&mut block, line.strip_prefix("```")) {
            (None, Some(info)) => {
                parts.push(Part::Text(std::mem::take(&mut text)));
                block = Some((info.trim().to_owned(), String::new()));
            }
            (Some(_), Some(_)) => {
                let (info, body) = block.take().expect("an open block");
                parts.push(Part::Block { info, body });
            }
            (Some((_, body)), None) => body.push_str(line),
            (None, None) => text.push_str(line),
        }
    }
    assert!(block.is_none(), "a block is not closed");
    parts.push(Part::Text(text));
    parts
}

/// Runs a page's blocks in a folder of their own.
struct Session {
    folder: Folder,
    server: Option<Server>,
}

impl Session {
    fn new() -> Self {
        let folder = Folder::of_homework();
        folder.write("bin/.keep", "");
        symlink(env!("CARGO_BIN_EXE_chalk-under-test"), folder.path("bin/chalk")).expect("a link");
        Self { folder, server: None }
    }

    fn ports(&self) -> Vec<(&'static str, String)> {
        let Some(_) = &self.server else { return Vec::new() };
        let holder = chalk_log::read_holder(&self.folder.path("school")).expect("a server's lock");
        let port = |address: Option<String>| {
            let address = address.expect("an address");
            address.rsplit_once(':').expect("a port").1.to_owned()
        };
        vec![(HTTP, port(holder.http)), (PG, port(holder.pg))]
    }

    /// What a block prints.
    fn run(&mut self, info: &str, body: &str) -> String {
        if let Some(server) = &self.server {
            server.client.caught_up();
        }
        let mut body = body.to_owned();
        for (page, real) in self.ports() {
            body = body.replace(page, &real);
        }
        let mut command = match info {
            "sh serve" => {
                let words: Vec<&str> = body.split_whitespace().skip(1).collect();
                self.server = Some(self.folder.serve(&words));
                return String::new();
            }
            "sh" => {
                let mut command = Command::new("bash");
                command.args(["-c", &body]);
                command
            }
            "python" => {
                let mut command = Command::new("python3");
                command.args(["-c", &body]);
                command
            }
            other => panic!("no way to run a block of {other}"),
        };
        let path = format!("{}:{}", self.folder.path("bin").display(), std::env::var("PATH").expect("a PATH"));
        let here = self.folder.path(".");
        command.env("CARGO_TARGET_DIR", udf_target());
        let output =
            command.current_dir(here).env("PATH", path).env("PAGER", "cat").env("PSQLRC", "/dev/null").output();
        let output = output.unwrap_or_else(|error| panic!("{info}: {error}"));
        let err = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{body}\n{err}");
        let mut out = String::from_utf8(output.stdout).expect("text");
        for (page, real) in self.ports() {
            out = out.replace(&real, page);
        }
        out.lines().map(|line| format!("{}\n", line.trim_end())).collect()
    }
}

fn check(name: &str) {
    let path = root().join("docs").join(name);
    let page = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
    let mut session = Session::new();
    let mut now = String::new();
    let mut printed = String::new();
    for part in parts(&page) {
        match part {
            Part::Text(text) => now.push_str(&text),
            Part::Block { info, body } => {
                let body = if info == "text" {
                    std::mem::take(&mut printed)
                } else {
                    assert_eq!(
                        printed.trim(),
                        "",
                        "{name}: the page does not say what a block before this one prints: {body}"
                    );
                    printed = session.run(&info, &body);
                    body
                };
                now.push_str(&format!("```{info}\n{body}```\n"));
            }
        }
    }
    if std::env::var_os("CHALK_BLESS").is_some() {
        std::fs::write(&path, now).expect("a writable page");
    } else {
        assert!(page == now, "docs/{name} is not what happens; now it is:\n{now}");
    }
}

#[test]
fn getting_started() {
    check("getting-started.md");
}

#[test]
fn udfs() {
    check("udfs.md");
}

#[cfg(feature = "server-tests")]
#[test]
fn queries() {
    check("queries.md");
}

#[cfg(feature = "server-tests")]
#[test]
fn history() {
    check("history.md");
}
