//! How commands reach a data directory: through the server that holds it, or by opening it themselves.

use crate::error::CliError;
use crate::node::Node;
use crate::project::ProjectFiles;
use crate::serving::tokio_runtime;
use chalk_log::read_holder;
use chalk_serve::{Format, Queries};
use serde_json::Value;
use std::path::Path;

/// A data directory, reached.
pub(crate) enum Client {
    /// A server holds it.
    Server { agent: ureq::Agent, base: String },
    /// Nobody holds it.
    Local(Box<Local>),
}

pub(crate) struct Local {
    node: Node,
    queries: Queries,
    runtime: tokio::runtime::Runtime,
}

/// What became of appended events.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) accepted: u64,
    pub(crate) duplicates: u64,
    /// `line: reason: message`.
    pub(crate) refused: Vec<String>,
}

impl Counts {
    pub(crate) fn add(&mut self, other: Self) {
        self.accepted += other.accepted;
        self.duplicates += other.duplicates;
        self.refused.extend(other.refused);
    }
}

impl Client {
    /// Finds the server of a data directory; with none running, opens the directory with a project's files.
    pub(crate) fn find(data: &Path, files: impl FnOnce() -> Result<ProjectFiles, CliError>) -> Result<Self, CliError> {
        Self::opening(data, || Node::look(&files()?, data, "client"))
    }

    /// The same, to append.
    pub(crate) fn to_append(
        data: &Path,
        files: impl FnOnce() -> Result<ProjectFiles, CliError>,
    ) -> Result<Self, CliError> {
        Self::opening(data, || Node::append(&files()?, data, "client"))
    }

    fn opening(data: &Path, open: impl FnOnce() -> Result<Node, CliError>) -> Result<Self, CliError> {
        match read_holder(data) {
            Some(holder) => match holder.http {
                Some(address) => {
                    let config = ureq::Agent::config_builder().http_status_as_error(false).build();
                    Ok(Self::Server { agent: config.into(), base: format!("http://{address}") })
                }
                None => Err(CliError::other(format!(
                    "{} is in use by process {} ({}), which does not serve",
                    data.display(),
                    holder.pid,
                    holder.command
                ))),
            },
            None => {
                let runtime = tokio_runtime()?;
                let node = open()?;
                let queries = node.queries();
                Ok(Self::Local(Box::new(Local { node, queries, runtime })))
            }
        }
    }

    /// Appends JSON lines, of which the first is line `first_line` of what the user gave.
    pub(crate) fn append(&self, lines: &[u8], first_line: u64) -> Result<Counts, CliError> {
        match self {
            Self::Server { agent, base } => {
                let url = format!("{base}/events");
                let response = agent.post(&url).content_type("application/x-ndjson").send(lines);
                let (status, body) = read(&url, response)?;
                if status >= 300 {
                    return Err(server_error(&body));
                }
                Ok(counts(&body, first_line))
            }
            Self::Local(local) => {
                let receipt = local.node.intake.submit("chalk append", lines)?.wait()?;
                let refused = receipt.refused.iter().map(|refused| {
                    refused_line(refused.line + first_line - 1, refused.bad.position, &refused.bad.to_string())
                });
                Ok(Counts {
                    accepted: receipt.accepted_total(),
                    duplicates: receipt.duplicates,
                    refused: refused.collect(),
                })
            }
        }
    }

    /// Asks, and gives the answer as text.
    pub(crate) fn query(&self, sql: &str, format: &str) -> Result<String, CliError> {
        match self {
            Self::Server { agent, base } => {
                let url = format!("{base}/query");
                let body = serde_json::json!({ "sql": sql, "format": format }).to_string();
                let (status, body) = read(&url, agent.post(&url).content_type("application/json").send(&body))?;
                if status >= 300 { Err(server_error(&body)) } else { Ok(body) }
            }
            Self::Local(local) => {
                local.runtime.block_on(local.node.pipeline.caught_up())?;
                let format: Format = format.parse().map_err(|error| CliError::other(format!("{error}")))?;
                let result = local.runtime.block_on(local.queries.run(sql));
                let result = result.map_err(|error| CliError::other(error.to_string()))?;
                chalk_serve::write(&result, format).map_err(|error| CliError::other(error.to_string()))
            }
        }
    }
}

/// `GET /status` of a server.
pub(crate) fn status_of(address: &str) -> Result<Value, CliError> {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let url = format!("http://{address}/status");
    let (status, body) = read(&url, agent.get(&url).call())?;
    if status >= 300 {
        return Err(server_error(&body));
    }
    serde_json::from_str(&body).map_err(|error| CliError::other(format!("{url} does not answer as expected: {error}")))
}

/// `POST /functions/<name>/promote` of a server.
pub(crate) fn promote(address: &str, name: &str) -> Result<Value, CliError> {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let url = format!("http://{address}/functions/{name}/promote");
    let (status, body) = read(&url, agent.post(&url).send_empty())?;
    if status >= 300 {
        return Err(server_error(&body));
    }
    serde_json::from_str(&body).map_err(|error| CliError::other(format!("{url} does not answer as expected: {error}")))
}

fn read(url: &str, response: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Result<(u16, String), CliError> {
    let failed = |error: ureq::Error| CliError::other(format!("cannot reach {url}: {error}"));
    let mut response = response.map_err(failed)?;
    let body = response.body_mut().with_config().limit(u64::MAX).read_to_string().map_err(failed)?;
    Ok((response.status().as_u16(), body))
}

/// The server's error, with its place and hint.
fn server_error(body: &str) -> CliError {
    let json: Value = serde_json::from_str(body).unwrap_or_default();
    let error = &json["error"];
    let Some(message) = error["message"].as_str() else { return CliError::other(body.to_owned()) };
    let mut text = match (error["line"].as_u64(), error["column"].as_u64()) {
        (Some(line), Some(column)) => format!("{line}:{column}: {message}"),
        _ => message.to_owned(),
    };
    if let Some(hint) = error["hint"].as_str() {
        text.push_str(&format!("\n  hint: {hint}"));
    }
    CliError::other(text)
}

fn counts(body: &str, first_line: u64) -> Counts {
    let json: Value = serde_json::from_str(body).unwrap_or_default();
    let refused = json["refused"].as_array().map(Vec::as_slice).unwrap_or_default().iter().map(|refused| {
        let line = refused["line"].as_u64().unwrap_or_default() + first_line - 1;
        let position = refused["position"].as_u64().and_then(|position| usize::try_from(position).ok());
        let reason = refused["reason"].as_str().unwrap_or_default();
        refused_line(line, position, &format!("{reason}: {}", refused["message"].as_str().unwrap_or_default()))
    });
    Counts {
        accepted: json["accepted_total"].as_u64().unwrap_or_default(),
        duplicates: json["duplicates"].as_u64().unwrap_or_default(),
        refused: refused.collect(),
    }
}

fn refused_line(line: u64, position: Option<usize>, what: &str) -> String {
    position.map_or_else(|| format!("{line}: {what}"), |position| format!("{line}:{position}: {what}"))
}
