//! Streaming tests as text: `tests/slt/*.slt`, and the examples of `docs/sql.md`.
//!
//! A file is a pipeline, what happens to it, and what it then shows. Blocks are parted by empty lines; `#` begins a comment.
//!
//! | block | does |
//! |---|---|
//! | `topic NAME` | what follows is the schema of a topic |
//! | `statement` | what follows is SQL of the pipeline; all of them come first |
//! | `error` | what follows is SQL that cannot be planned with those before; `----` and what is said |
//! | `explain` | `----` and the graph, as `chalk explain` shows it |
//! | `events TABLE` | appends the lines of JSON that follow, in one commit; `----` and what was refused, if anything was |
//! | `advance TABLE TIME` | appends a row that has nothing but its event time |
//! | `pass N UNIT` | lets so much time pass before the next commit |
//! | `restart [SHARDS]` | stops the pipeline and starts it again |
//! | `drain` | bounded tables end: what is open closes |
//! | `query` | SQL over views and topics; `----` and the answer as CSV, a row that is one NULL as `NULL`. Rows are sorted unless it has ORDER BY |
//! | `rows VIEW` | `----` and the rows of a view as lines of JSON, sorted |
//! | `printed` | `----` and the lines that queries have written to the terminal since the last such block, sorted |
//! | `file NAME` | `----` and what is in a file |
//! | `files FOLDER` | `----` and the files of a folder and those in it, by name: of each what is in it. Hidden ones are left out |
//! | `watermarks` | `----` and the watermark of each table; of those that others do not wait for that they are idle |
//! | `late` | `----` and how many late rows there were of each table since the start |
//! | `ahead` | `----` and how many rows of each table were too far ahead of their commit to move its watermark |
//!
//! `CHALK_BLESS=1 cargo test --release --test it -- slt` writes down what happens now; review it like code.

use crate::engine::{Engine, Run, plan};
use crate::workspace::root;
use chalk_codec::write_json_row;
use chalk_runtime::TableStatus;
use std::fmt::Write as _;

/// A part of a script.
#[derive(Debug)]
enum Part {
    /// Empty lines and comments.
    Between(String),
    Block {
        number: usize,
        head: String,
        body: String,
        expected: Option<String>,
    },
}

fn parts(script: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut lines = script.split_inclusive('\n').enumerate().peekable();
    while let Some((number, line)) = lines.next() {
        if line.trim().is_empty() || line.starts_with('#') {
            parts.push(Part::Between(line.to_owned()));
            continue;
        }
        let (mut body, mut expected) = (String::new(), None::<String>);
        while let Some((_, line)) = lines.next_if(|(_, line)| !line.trim().is_empty()) {
            match &mut expected {
                Some(expected) => expected.push_str(line),
                None if line.trim_end() == "----" => expected = Some(String::new()),
                None => body.push_str(line),
            }
        }
        parts.push(Part::Block { number: number + 1, head: line.trim_end().to_owned(), body, expected });
    }
    parts
}

/// A script at work.
struct Session {
    topics: Vec<(String, String)>,
    sql: String,
    engine: Option<Engine>,
}

impl Session {
    fn engine(&mut self) -> &mut Engine {
        let (sql, topics) = (&self.sql, &self.topics);
        self.engine.get_or_insert_with(|| {
            let project = plan(sql, topics).unwrap_or_else(|errors| panic!("{}", said(&errors)));
            Engine::start(project, topics, Run::default())
        })
    }

    /// Does what a block says; gives what it shows, if it is one that shows something.
    fn run(&mut self, head: &str, body: &str) -> Option<String> {
        let mut words = head.split_whitespace();
        let (directive, arguments): (_, Vec<&str>) = (words.next().unwrap_or_default(), words.collect());
        match (directive, arguments.as_slice()) {
            ("topic", [name]) => {
                self.topics.push(((*name).to_owned(), body.to_owned()));
                None
            }
            ("statement", []) => {
                assert!(self.engine.is_none(), "all statements come before what happens");
                self.sql.push_str(&format!("{};\n", body.trim_end().trim_end_matches(';')));
                None
            }
            ("error", []) => {
                let with = format!("{}{body}", self.sql);
                let before = self.sql.lines().count();
                let errors = plan(&with, &self.topics).err().unwrap_or_else(|| panic!("it can be planned: {body}"));
                Some(said(&errors).replace("test.sql:", "").lines().map(|line| moved(line, before)).collect())
            }
            ("explain", []) => {
                let project = plan(&self.sql, &self.topics).unwrap_or_else(|errors| panic!("{}", said(&errors)));
                Some(project.graph.explain().to_string())
            }
            ("events", [table]) => {
                let refused = self.engine().append(table, body);
                self.engine().caught_up().unwrap_or_else(|error| panic!("{error}"));
                let line =
                    |refused: &chalk_ingest::Refused| format!("line {}: {}\n", refused.line, refused.bad.message);
                let refused: String = refused.iter().map(line).collect();
                (!refused.is_empty()).then_some(refused)
            }
            ("advance", [table, time]) => {
                let column = self.engine().project.table(table).and_then(|table| {
                    let source = table.source.as_ref()?;
                    Some(table.schema.field(source.event_time?).name().clone())
                });
                let column = column.unwrap_or_else(|| panic!("table '{table}' has no event time"));
                let refused = self.engine().append(table, &format!("{{\"{column}\":\"{time}\"}}\n"));
                assert!(refused.is_empty(), "{refused:?}");
                self.engine().caught_up().unwrap_or_else(|error| panic!("{error}"));
                None
            }
            ("pass", time) => {
                let time = chalk_graph::options::parse_interval(&time.join(" ")).expect("a number and a unit");
                self.engine().pass(time);
                None
            }
            ("restart", shards) => {
                let shards = shards.first().map_or(1, |shards| shards.parse().expect("a number of shards"));
                self.engine().restart(Run { shards, ..Run::default() });
                self.engine().caught_up().unwrap_or_else(|error| panic!("{error}"));
                None
            }
            ("drain", []) => {
                self.engine().drain().unwrap_or_else(|error| panic!("{error}"));
                None
            }
            ("query", []) => {
                self.engine().caught_up().unwrap_or_else(|error| panic!("{error}"));
                let answer = self.engine().query(body.trim_end().trim_end_matches(';'));
                let answer = answer.unwrap_or_else(|error| format!("error: {error}\n"));
                // A row that is one NULL is an empty line, which would end the block.
                let line = |line: &str| if line.is_empty() { "NULL\n".to_owned() } else { format!("{line}\n") };
                let answer: String = answer.lines().map(line).collect();
                let ordered = body.to_uppercase().contains("ORDER BY");
                Some(if ordered { answer } else { with_sorted_rows(&answer) })
            }
            ("rows", [view]) => {
                let snapshot = self.engine().caught_up().unwrap_or_else(|error| panic!("{error}"));
                let view = snapshot.views.get(*view).unwrap_or_else(|| panic!("there is no view '{view}'"));
                let mut lines = Vec::new();
                for batch in view.batches(1000).expect("rows that decode") {
                    for row in 0..batch.num_rows() {
                        let mut line = String::new();
                        write_json_row(&mut line, &batch, row, &|_| false).expect("rows that JSON has words for");
                        lines.push(line + "\n");
                    }
                }
                lines.sort_unstable();
                Some(lines.concat())
            }
            ("printed", []) => {
                self.engine().caught_up().unwrap_or_else(|error| panic!("{error}"));
                let mut shown = String::new();
                for (_, text) in self.engine().take_printed() {
                    let mut lines: Vec<&str> = text.lines().collect();
                    lines.sort_unstable();
                    lines.iter().for_each(|line| writeln!(shown, "{line}").expect("strings can be written to"));
                }
                Some(shown)
            }
            ("file", [name]) => {
                let path = self.engine().folder.path().join(name);
                Some(std::fs::read_to_string(path).unwrap_or_else(|error| format!("{error}\n")))
            }
            ("files", [name]) => {
                let mut shown = String::new();
                show_files(&self.engine().folder.path().join(name), "", &mut shown);
                Some(shown)
            }
            ("watermarks", []) => {
                let shown = |(table, status): (String, TableStatus)| {
                    format!("{table} {}{}\n", status.watermark, if status.is_idle { ", idle" } else { "" })
                };
                Some(self.engine().tables().into_iter().map(shown).collect())
            }
            ("late", []) => {
                let late = self.engine().late_of();
                Some(late.into_iter().map(|(table, count)| format!("{table} {count}\n")).collect())
            }
            ("ahead", []) => {
                let shown = |(table, status): (String, TableStatus)| format!("{table} {}\n", status.ahead);
                Some(self.engine().tables().into_iter().map(shown).collect())
            }
            _ => panic!("no block is '{head}'"),
        }
    }
}

/// Writes down what is in a folder's files, and in those of folders in it.
fn show_files(folder: &std::path::Path, name: &str, shown: &mut String) {
    let entries = std::fs::read_dir(folder.join(name)).expect("a folder").flatten();
    let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.retain(|name| !name.starts_with(['.', '_']));
    names.sort();
    for inner in names {
        let inner = if name.is_empty() { inner } else { format!("{name}/{inner}") };
        match std::fs::read_to_string(folder.join(&inner)) {
            Ok(text) => write!(shown, "{inner}\n{text}").expect("strings can be written to"),
            Err(_) => show_files(folder, &inner, shown),
        }
    }
}

fn said(errors: &[chalk_plan::PlanError]) -> String {
    errors.iter().map(|error| format!("{error}\n")).collect()
}

/// A line of an error, its place counted from the statement's own first line.
fn moved(line: &str, before: usize) -> String {
    let moved = line.split_once(':').and_then(|(number, rest)| {
        let number = number.parse::<usize>().ok()?.checked_sub(before)?;
        Some(format!("{number}:{rest}\n"))
    });
    moved.unwrap_or_else(|| format!("{line}\n"))
}

/// An answer as CSV, its rows in order.
fn with_sorted_rows(answer: &str) -> String {
    let mut lines: Vec<&str> = answer.lines().collect();
    if let Some(rows) = lines.get_mut(1..) {
        rows.sort_unstable();
    }
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// Runs a script; gives it with what it shows now.
pub(crate) fn run(name: &str, script: &str) -> String {
    let mut session = Session { topics: Vec::new(), sql: String::new(), engine: None };
    let mut now = String::new();
    for part in parts(script) {
        match part {
            Part::Between(text) => now.push_str(&text),
            Part::Block { number, head, body, expected } => {
                let shown = session.run(&head, &body);
                if !is_blessing() {
                    let (expected, shown) = (expected.unwrap_or_default(), shown.clone().unwrap_or_default());
                    assert_eq!(shown, expected, "{name}:{number}: {head}\n{body}");
                }
                write!(now, "{head}\n{body}").expect("strings can be written to");
                if let Some(shown) = shown {
                    write!(now, "----\n{shown}").expect("strings can be written to");
                }
            }
        }
    }
    now
}

/// Whether what happens now is to be written down.
pub(crate) fn is_blessing() -> bool {
    std::env::var_os("CHALK_BLESS").is_some()
}

fn check(path: &std::path::Path) {
    let name = path.file_name().and_then(|name| name.to_str()).expect("a name");
    let script = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{name}: {error}"));
    let now = run(name, &script);
    if is_blessing() && now != script {
        std::fs::write(path, now).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

/// All scripts of a folder below the root.
fn check_all(folder: &str) {
    let entries = std::fs::read_dir(root().join(folder)).expect("a folder").flatten().map(|entry| entry.path());
    let mut paths: Vec<_> = entries.filter(|path| path.extension().is_some_and(|end| end == "slt")).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{folder} has no scripts");
    paths.iter().for_each(|path| check(path));
}

#[test]
fn every_script_shows_what_it_says() {
    check_all("tests/slt");
}

/// The blocks of `docs/sql.md` that begin with ```` ```slt ````.
#[test]
fn the_examples_of_the_page_on_sql_show_what_they_say() {
    let path = root().join("docs/sql.md");
    let page = std::fs::read_to_string(&path).expect("a page");
    let (mut now, mut rest, mut count) = (String::new(), page.as_str(), 0);
    while let Some((before, from)) = rest.split_once("```slt\n") {
        let (script, after) = from.split_once("```\n").expect("a block that ends");
        count += 1;
        let line = (now.lines().count() + before.lines().count()).to_string();
        write!(now, "{before}```slt\n{}```\n", run(&format!("docs/sql.md:{line}"), script)).expect("a string");
        rest = after;
    }
    now.push_str(rest);
    assert!(count > 0, "the page has no examples");
    if is_blessing() && now != page {
        std::fs::write(path, now).expect("a page");
    }
}
