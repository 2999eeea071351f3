//! How a connection begins: what it is, who asks, and which settings it starts with.

use super::{Connection, Failure};
use crate::pg::answer::Told;
use crate::pg::settings::REPORTED;
use crate::pg::wire::{Phase, Reader, Writer};
use crate::tables::CATALOG;
use pgwire::messages::response::{GssEncResponse, SslResponse};
use pgwire::messages::startup::{Authentication, BackendKeyData, NegotiateProtocolVersion, ParameterStatus, Startup};
use pgwire::messages::{PgWireBackendMessage as Message, PgWireFrontendMessage, SslNegotiationMetaMessage};

/// The protocol's newest version that is spoken: 3.0.
const PROTOCOL_VERSION: i32 = 3 << 16;

/// How a connection begins.
pub(super) enum Started {
    Cancel(pgwire::messages::cancel::CancelRequest),
    Startup(Startup),
}

pub(super) async fn startup(reader: &mut Reader, writer: &mut Writer) -> Result<Option<Started>, Failure> {
    // Each kind of encryption may be asked for once.
    for _ in 0..3 {
        match reader.next(Phase::Startup).await? {
            PgWireFrontendMessage::SslNegotiation(SslNegotiationMetaMessage::PostgresSsl(_)) => {
                writer.put(&Message::SslResponse(SslResponse::Refuse))?;
            }
            PgWireFrontendMessage::SslNegotiation(_) => {
                writer.put(&Message::GssEncResponse(GssEncResponse::Refuse))?;
            }
            PgWireFrontendMessage::CancelRequest(request) => return Ok(Some(Started::Cancel(request))),
            PgWireFrontendMessage::Startup(request) => return Ok(Some(Started::Startup(request))),
            _ => return Ok(None),
        }
        writer.flush().await?;
    }
    Ok(None)
}

impl Connection {
    pub(super) async fn begin(&mut self, request: &Startup) -> Result<(), Failure> {
        let given = |name: &str| request.parameters.get(name).map(String::as_str);
        let user = given("user").unwrap_or_default();
        let database = given("database").unwrap_or(user);
        if database != CATALOG {
            let told = Told::fatal("3D000", format!("database \"{database}\" does not exist"));
            return Err(told.hint(format!("the database is called {CATALOG}: psql -d {CATALOG}")).into());
        }
        if given("replication").is_some_and(|value| !["false", "off", "no", "0"].contains(&value)) {
            return Err(Told::fatal("0A000", "there is no replication").into());
        }
        let unknown: Vec<String> =
            request.parameters.keys().filter(|name| name.starts_with("_pq_.")).cloned().collect();
        if request.protocol_number_minor > 0 || !unknown.is_empty() {
            let newest = NegotiateProtocolVersion::new(PROTOCOL_VERSION, unknown);
            self.writer.put(&Message::NegotiateProtocolVersion(newest))?;
        }
        self.settings.start("session_authorization", user);
        for (name, value) in &request.parameters {
            match name.as_str() {
                "user" | "database" | "replication" => {}
                "options" => {
                    for (name, value) in options(value) {
                        self.settings.set(&name, &value).map_err(|error| Told::of_setting(&name, &error))?;
                    }
                }
                name if name.starts_with("_pq_.") => {}
                name => drop(self.settings.set(name, value).map_err(|error| Told::of_setting(name, &error))?),
            }
        }
        self.writer.put(&Message::Authentication(Authentication::Ok))?;
        for name in REPORTED {
            if let Some((name, value)) = self.settings.get(name) {
                let status = ParameterStatus::new(name.to_owned(), value.to_owned());
                self.writer.put(&Message::ParameterStatus(status))?;
            }
        }
        let key = BackendKeyData::new(self.cancel.pid, self.cancel.key.clone());
        self.writer.put(&Message::BackendKeyData(key))?;
        self.ready().await
    }
}

/// `-c name=value --name=value`: what `PGOPTIONS` sets.
fn options(text: &str) -> Vec<(String, String)> {
    let mut options = Vec::new();
    let mut words = text.split_whitespace();
    while let Some(word) = words.next() {
        let setting = match word {
            "-c" => words.next(),
            word => word.strip_prefix("-c").or_else(|| word.strip_prefix("--")),
        };
        if let Some((name, value)) = setting.and_then(|setting| setting.split_once('=')) {
            options.push((name.replace('-', "_"), value.to_owned()));
        }
    }
    options
}

#[cfg(test)]
mod tests {
    use super::options;

    #[test]
    fn options_of_the_command_line_are_settings() {
        let set = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            options("-c statement_timeout=5s --search-path=public -cwork_mem=1"),
            [set("statement_timeout", "5s"), set("search_path", "public"), set("work_mem", "1")]
        );
        assert_eq!(options("-c"), []);
    }
}
