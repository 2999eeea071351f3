//! Options of `connector = 'fluvio'`.

use super::OptionError;
use super::reader::{Reader, refused};
use std::path::PathBuf;
use std::time::Duration;

/// Options of `connector = 'fluvio'`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FluvioOptions {
    /// `endpoint`, or `profile`.
    pub access: FluvioAccess,
    /// `topic`
    pub topic: String,
    /// `source.offset`
    pub begin: FluvioBegin,
    /// `lost_records`
    pub lost: FluvioLost,
    /// `source.max_bytes`
    pub fetch_bytes: i32,
    /// `sink.key_field`
    pub key_field: Option<String>,
    /// `sink.compression`
    pub compression: FluvioCompression,
    /// `sink.batch_bytes`
    pub batch_bytes: usize,
    /// `sink.linger_ms`
    pub linger: Duration,
}

/// How a cluster is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FluvioAccess {
    /// `endpoint`: `host:port` of its SC, with `tls`.
    Endpoint(String, FluvioTls),
    /// `profile`: a profile of `~/.fluvio/config`; without a name, the current one.
    Profile(Option<String>),
}

/// `tls`: how connections are encrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FluvioTls {
    /// `disabled`
    Disabled,
    /// `anonymous`: whoever answers is believed.
    Anonymous,
    /// `verified`: both sides show certificates.
    Verified {
        /// `tls.domain`
        domain: String,
        /// `tls.ca_cert`
        ca_cert: PathBuf,
        /// `tls.client_cert`
        cert: PathBuf,
        /// `tls.client_key`
        key: PathBuf,
    },
}

/// `source.offset`: where a topic is begun that was never read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FluvioBegin {
    /// `earliest`
    Earliest,
    /// `latest`
    Latest,
}

/// `lost_records`: what becomes of records that the cluster no longer has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FluvioLost {
    /// `stop`
    Stop,
    /// `skip`
    Skip,
}

/// `sink.compression`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FluvioCompression {
    /// `none`
    None,
    /// `gzip`
    Gzip,
    /// `snappy`
    Snappy,
    /// `lz4`
    Lz4,
    /// `zstd`
    Zstd,
}

/// All options, with what they may be, what they are without being said, and what they mean: the table in `docs/connectors/fluvio.md`.
pub const FLUVIO_OPTIONS: [[&str; 4]; 15] = [
    ["endpoint", "`host:port`", "the current profile", "where the cluster's SC listens"],
    [
        "profile",
        "a name",
        "the current profile",
        "instead of `endpoint`: a profile of `~/.fluvio/config`, with its TLS",
    ],
    [
        "tls",
        "`disabled`, `anonymous`, `verified`",
        "`disabled`",
        "with `endpoint`: how connections are encrypted; `anonymous` believes whoever answers",
    ],
    ["tls.domain", "a name", "", "with `verified`: what the cluster's certificate is for"],
    ["tls.ca_cert", "a file", "", "with `verified`: who has signed it, as PEM"],
    ["tls.client_cert", "a file", "", "with `verified`: this side's certificate, as PEM"],
    ["tls.client_key", "a file", "", "with `verified`: its key, as PEM"],
    ["topic", "`a`–`z`, digits, `-`", "the table's name", "which must exist"],
    [
        "source.offset",
        "`earliest`, `latest`",
        "`earliest`",
        "where a topic is begun that the table has never read; afterwards it goes on where it was",
    ],
    [
        "source.max_bytes",
        "1000000 to 1000000000",
        "67108864",
        "asked for at once, of each partition; more than the largest batch",
    ],
    [
        "lost_records",
        "`stop`, `skip`",
        "`stop`",
        "when retention has overtaken the table: stop, or count what is gone and go on",
    ],
    ["sink.key_field", "a column", "no key", "its value is the record's key, which decides the partition"],
    ["sink.compression", "`none`, `gzip`, `snappy`, `lz4`, `zstd`", "`none`", "of batches"],
    ["sink.batch_bytes", "1000 to 900000", "262144", "a batch has about so many bytes at most"],
    ["sink.linger_ms", "up to 60000", "0", "rows are gathered until nothing has been added for so long"],
];

pub(super) fn read(table: &str, options: &mut Reader<'_>) -> Result<FluvioOptions, OptionError> {
    let access = access(options)?;
    let topic = options.optional("topic").unwrap_or_else(|| table.to_owned());
    let is_name = |name: &str| {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        !name.is_empty() && name.bytes().all(allowed)
    };
    if !is_name(&topic) {
        let message = format!("option topic = '{topic}': a topic of Fluvio is named with a-z, 0-9 and '-'");
        return Err(refused("topic", message));
    }
    let begin =
        options.word("source.offset", [("earliest", FluvioBegin::Earliest), ("latest", FluvioBegin::Latest)])?;
    let fetch_bytes = options.number("source.max_bytes", 1_000_000..=1_000_000_000, 64 << 20)?;
    let lost = options.word("lost_records", [("stop", FluvioLost::Stop), ("skip", FluvioLost::Skip)])?;
    let key_field = options.optional("sink.key_field");
    let compressions = [
        ("none", FluvioCompression::None),
        ("gzip", FluvioCompression::Gzip),
        ("snappy", FluvioCompression::Snappy),
        ("lz4", FluvioCompression::Lz4),
        ("zstd", FluvioCompression::Zstd),
    ];
    let compression = options.word("sink.compression", compressions)?;
    let batch_bytes = options.number("sink.batch_bytes", 1000..=900_000, 256 << 10)?;
    let linger = Duration::from_millis(options.number("sink.linger_ms", 0..=60_000, 0)?);
    Ok(FluvioOptions { access, topic, begin, lost, fetch_bytes, key_field, compression, batch_bytes, linger })
}

fn access(options: &mut Reader<'_>) -> Result<FluvioAccess, OptionError> {
    #[derive(Clone, Copy, PartialEq)]
    enum Kind {
        Disabled,
        Anonymous,
        Verified,
    }
    let refused = |option: &str, message: String| Err(refused(option, message));
    let endpoint = options.optional("endpoint");
    let profile = options.optional("profile");
    let given = options.optional("tls");
    let kinds = [("disabled", Kind::Disabled), ("anonymous", Kind::Anonymous), ("verified", Kind::Verified)];
    let kind = options.word("tls", kinds)?;
    let files =
        ["tls.domain", "tls.ca_cert", "tls.client_cert", "tls.client_key"].map(|name| (name, options.optional(name)));
    if let Some((name, _)) = files.iter().find(|(_, value)| value.is_some() && kind != Kind::Verified) {
        return refused(name, format!("option '{name}' is of tls = 'verified'"));
    }
    let Some(endpoint) = endpoint else {
        return match given {
            None => Ok(FluvioAccess::Profile(profile)),
            Some(_) => refused("tls", "option 'tls' is of an endpoint; a profile has its own".to_owned()),
        };
    };
    if profile.is_some() {
        return refused("profile", "options 'endpoint' and 'profile' are one too many".to_owned());
    }
    if !endpoint.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok()) {
        return refused("endpoint", format!("option endpoint = '{endpoint}': it is host:port, such as localhost:9103"));
    }
    let tls = match kind {
        Kind::Disabled => FluvioTls::Disabled,
        Kind::Anonymous => FluvioTls::Anonymous,
        Kind::Verified => {
            let mut values = Vec::new();
            for (name, value) in files {
                match value {
                    Some(value) => values.push(value),
                    None => return refused(name, format!("option '{name}' is missing: tls = 'verified' needs it")),
                }
            }
            let Ok([domain, ca_cert, cert, key]) = <[String; 4]>::try_from(values) else {
                return refused("tls", "option 'tls' lacks others".to_owned());
            };
            FluvioTls::Verified { domain, ca_cert: ca_cert.into(), cert: cert.into(), key: key.into() }
        }
    };
    Ok(FluvioAccess::Endpoint(endpoint, tls))
}

#[cfg(test)]
mod tests {
    use super::super::Given;
    use super::*;

    fn check(options: &[(&str, &str)], expected: Result<FluvioOptions, &str>) {
        let given: Given = options.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        let mut reader = Reader::new(&given);
        let options = read("orders", &mut reader).and_then(|read| reader.finish("fluvio").map(|()| read));
        assert_eq!(options.map_err(|error| error.message), expected.map_err(str::to_owned));
    }

    fn usual() -> FluvioOptions {
        FluvioOptions {
            access: FluvioAccess::Endpoint("localhost:9103".to_owned(), FluvioTls::Disabled),
            topic: "orders".to_owned(),
            begin: FluvioBegin::Earliest,
            lost: FluvioLost::Stop,
            fetch_bytes: 64 << 20,
            key_field: None,
            compression: FluvioCompression::None,
            batch_bytes: 256 << 10,
            linger: Duration::ZERO,
        }
    }

    #[test]
    fn options_are_read() {
        let endpoint = ("endpoint", "localhost:9103");
        check(&[endpoint], Ok(usual()));
        check(&[], Ok(FluvioOptions { access: FluvioAccess::Profile(None), ..usual() }));
        let named = FluvioAccess::Profile(Some("shop".to_owned()));
        check(&[("profile", "shop")], Ok(FluvioOptions { access: named, ..usual() }));
        check(
            &[
                endpoint,
                ("topic", "orders-2"),
                ("source.offset", "latest"),
                ("source.max_bytes", "1000000000"),
                ("lost_records", "skip"),
                ("sink.key_field", "customer"),
                ("sink.compression", "zstd"),
                ("sink.batch_bytes", "65536"),
                ("sink.linger_ms", "5"),
            ],
            Ok(FluvioOptions {
                topic: "orders-2".to_owned(),
                begin: FluvioBegin::Latest,
                lost: FluvioLost::Skip,
                fetch_bytes: 1_000_000_000,
                key_field: Some("customer".to_owned()),
                compression: FluvioCompression::Zstd,
                batch_bytes: 65_536,
                linger: Duration::from_millis(5),
                ..usual()
            }),
        );
        let verified = FluvioTls::Verified {
            domain: "shop.example".to_owned(),
            ca_cert: "ca.pem".into(),
            cert: "me.pem".into(),
            key: "me.key".into(),
        };
        let files = [("tls", "verified"), ("tls.domain", "shop.example"), ("tls.ca_cert", "ca.pem")];
        let mine = [endpoint, ("tls.client_cert", "me.pem"), ("tls.client_key", "me.key")];
        let access = FluvioAccess::Endpoint("localhost:9103".to_owned(), verified);
        check(&[files, mine].concat(), Ok(FluvioOptions { access, ..usual() }));
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let endpoint = ("endpoint", "localhost:9103");
        check(
            &[("endpoint", "localhost")],
            Err("option endpoint = 'localhost': it is host:port, such as localhost:9103"),
        );
        check(&[endpoint, ("profile", "p")], Err("options 'endpoint' and 'profile' are one too many"));
        check(&[("tls", "anonymous")], Err("option 'tls' is of an endpoint; a profile has its own"));
        check(&[endpoint, ("tls", "on")], Err("option tls = 'on': this build knows disabled, anonymous, verified"));
        check(&[endpoint, ("tls", "verified")], Err("option 'tls.domain' is missing: tls = 'verified' needs it"));
        check(&[endpoint, ("tls.domain", "d")], Err("option 'tls.domain' is of tls = 'verified'"));
        check(
            &[endpoint, ("topic", "Home.Work")],
            Err("option topic = 'Home.Work': a topic of Fluvio is named with a-z, 0-9 and '-'"),
        );
        check(
            &[endpoint, ("source.max_bytes", "1 GB")],
            Err("option source.max_bytes = '1 GB': a number from 1000000 to 1000000000"),
        );
    }

    #[test]
    fn every_option_is_described() {
        let given = Given::new();
        let mut reader = Reader::new(&given);
        read("orders", &mut reader).expect("nothing is needed");
        let known: std::collections::BTreeSet<&str> = reader.known.into_iter().collect();
        assert_eq!(known, FLUVIO_OPTIONS.map(|[name, ..]| name).into());
    }
}
