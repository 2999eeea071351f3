//! The program, run as its users run it: in a folder of its own, with files, pipes, signals and HTTP.

use crate::workspace::root;
use serde_json::Value;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Nothing that a test waits for takes this long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// How often a server is asked whether its views have caught up.
pub(crate) const ASK_EVERY: Duration = Duration::from_millis(5);

/// What a command came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("the program writes UTF-8");
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    /// The standard output of a command that did all it was to do.
    pub(crate) fn done(self) -> String {
        assert_eq!((self.code, self.err.as_str()), (Some(0), ""), "after {}", self.out);
        self.out
    }

    /// Checks exit code, standard output and standard error.
    pub(crate) fn check(&self, code: i32, out: &str, err: &str) {
        assert_eq!(self.out, out, "standard output; standard error is {}", self.err);
        assert_eq!(self.err, err, "standard error");
        assert_eq!(self.code, Some(code), "exit code");
    }
}

/// A folder in which commands run; it is gone afterwards.
pub(crate) struct Folder(TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    /// With the homework schemas and pipelines.
    pub(crate) fn of_homework() -> Self {
        let folder = Self::new();
        for part in ["schemas", "sql"] {
            copy(&root().join(part), &folder.path(part));
        }
        folder
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("a file in a folder")).expect("a folder");
        std::fs::write(path, text).unwrap_or_else(|error| panic!("{name}: {error}"));
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// A command that has not started.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_chalk-under-test"));
        command.args(arguments).current_dir(self.0.path()).stdin(Stdio::null());
        command
    }

    /// Runs a command to its end.
    pub(crate) fn chalk(&self, arguments: &[&str]) -> Ran {
        Ran::of(self.command(arguments).output().expect("the program starts"))
    }

    /// Runs a command that compiles functions: with a target folder beside the tests', which they share.
    pub(crate) fn building(&self, arguments: &[&str]) -> Ran {
        let mut command = self.command(arguments);
        Ran::of(command.env("CARGO_TARGET_DIR", udf_target()).output().expect("the program starts"))
    }

    /// Runs a command to its end; its standard input is a file.
    pub(crate) fn chalk_reading(&self, arguments: &[&str], file: &str) -> Ran {
        let input = File::open(self.path(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        Ran::of(self.command(arguments).stdin(input).output().expect("the program starts"))
    }

    /// Runs one command into another, and gives what both came to.
    pub(crate) fn chalk_piped(&self, from: &[&str], into: &[&str]) -> [Ran; 2] {
        let mut from = self.command(from);
        let mut from = from.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
        let pipe = from.stdout.take().expect("a piped output");
        let into = self.command(into).stdin(pipe).output().expect("the program starts");
        [Ran::of(from.wait_with_output().expect("the program ends")), Ran::of(into)]
    }

    /// Starts a command that serves, and waits until it does.
    pub(crate) fn serve(&self, arguments: &[&str]) -> Server {
        self.try_serve(arguments, &[]).unwrap_or_else(|said| panic!("it ended before it served: {said}"))
    }

    /// Starts a command that serves in another environment, and waits until it does; what it said, when it ended before.
    pub(crate) fn try_serve(&self, arguments: &[&str], environment: &[(&str, String)]) -> Result<Server, String> {
        let mut command = self.command(arguments);
        command.args(["--http-port", "0", "--pg-port", "0"]).envs(environment.iter().cloned());
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the program starts");
        let mut err = BufReader::new(child.stderr.take().expect("a piped error output"));
        let mut said = String::new();
        let address = loop {
            let line = said.len();
            let ended = err.read_line(&mut said).expect("a readable pipe") == 0;
            if let Some(serving) = said[line..].strip_prefix("serving on http://") {
                break serving.split(' ').next().unwrap_or(serving).to_owned();
            }
            if ended {
                let status = child.wait().expect("it ends");
                return Err(format!("{status}: {said}"));
            }
        };
        Ok(Server { child, err, client: self.client(address) })
    }

    /// Who talks to a server at this address.
    pub(crate) fn client(&self, address: String) -> Client {
        let config = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(PATIENCE));
        Client { address, agent: config.build().into() }
    }
}

/// Where tests compile functions: the interface that they are built on takes minutes the first time.
pub(crate) fn udf_target() -> PathBuf {
    let program = Path::new(env!("CARGO_BIN_EXE_chalk-under-test"));
    let mut target = program.ancestors().nth(2).expect("target/release/program").as_os_str().to_owned();
    target.push("-udfs");
    target.into()
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).unwrap_or_else(|error| panic!("{}: {error}", from.display())) {
        let entry = entry.expect("a readable folder");
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).expect("a readable file");
        }
    }
}

/// Who talks to a server.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) address: String,
    agent: ureq::Agent,
}

impl Client {
    /// Posts, and gives status and body; `None` when no whole answer came.
    pub(crate) fn post(&self, path: &str, content_type: &str, body: &[u8]) -> Option<(u16, String)> {
        let url = format!("http://{}{path}", self.address);
        let mut response = self.agent.post(&url).content_type(content_type).send(body).ok()?;
        // A long soak's answers are larger than what is read by default.
        let text = response.body_mut().with_config().limit(1 << 30).read_to_string().ok()?;
        Some((response.status().as_u16(), text))
    }

    /// Appends lines of JSON; `None` when they were not acknowledged.
    pub(crate) fn append(&self, lines: &str) -> Option<Value> {
        let (status, body) = self.post("/events", "application/x-ndjson", lines.as_bytes())?;
        assert!(matches!(status, 200 | 207), "{status}: {body}");
        Some(serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}")))
    }

    /// Asks the newest snapshot; the answer is CSV without its line of names.
    pub(crate) fn query(&self, sql: &str) -> String {
        let (status, body) = self.post("/query?format=csv", "text/plain", sql.as_bytes()).expect("an answer");
        assert_eq!(status, 200, "{sql}: {body}");
        body.split_once('\n').map_or("", |(_, rows)| rows).trim_end().to_owned()
    }

    pub(crate) fn status(&self) -> Value {
        self.try_status().expect("an answer")
    }

    /// The status; `None` when no whole answer came.
    pub(crate) fn try_status(&self) -> Option<Value> {
        let url = format!("http://{}/status", self.address);
        let body = self.agent.get(&url).call().ok()?.body_mut().read_to_string().ok()?;
        Some(serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}")))
    }

    /// Waits until the views show all that is durable and all that it led to.
    pub(crate) fn caught_up(&self) {
        let began = Instant::now();
        loop {
            let status = self.status();
            // The snapshot is taken before `durable` is read: equal numbers mean that nothing was open in between.
            if status["epoch"].as_u64() > Some(0) && status["upto"] == status["durable"] {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "the views do not catch up: {status}");
            std::thread::sleep(ASK_EVERY);
        }
    }

    /// Waits until a query is answered so: what a file holds is known to no status before it is read.
    pub(crate) fn shows(&self, sql: &str, expected: &str) {
        let began = Instant::now();
        loop {
            let answer = self.query(sql);
            if answer == expected {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "{sql}: {answer}");
            std::thread::sleep(ASK_EVERY);
        }
    }
}

/// A server at work; killed when dropped.
pub(crate) struct Server {
    child: Child,
    err: BufReader<ChildStderr>,
    pub(crate) client: Client,
}

impl Server {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Kills it as a power cut would: nothing of it runs any more.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it ends");
    }

    /// Waits until it ends of itself, and gives what it said since it began to serve.
    pub(crate) fn ended(mut self) -> String {
        let began = Instant::now();
        while self.child.try_wait().expect("a child").is_none() {
            assert!(began.elapsed() < PATIENCE, "it does not end");
            std::thread::sleep(ASK_EVERY);
        }
        let mut said = String::new();
        self.err.read_to_string(&mut said).expect("a readable pipe");
        said
    }

    /// Sends it a signal, such as `STOP`.
    pub(crate) fn signal(&self, signal: &str) {
        let kill = format!("kill -{signal} {}", self.pid());
        assert!(Command::new("sh").args(["-c", &kill]).status().expect("a shell").success());
    }

    /// Stops it as Ctrl-C does, and gives its exit code and what it said since it began to serve.
    pub(crate) fn stop(mut self) -> (Option<i32>, String) {
        self.signal("INT");
        let mut said = String::new();
        self.err.read_to_string(&mut said).expect("a readable pipe");
        (self.child.wait().expect("it ends").code(), said)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
