//! Options of Fluvio tables as its connector takes them.

use crate::elsewhere::Elsewhere;
use crate::error::RuntimeError;
use crate::pipeline::Options;
use crate::reading::places;
use arrow::datatypes::Schema;
use chalk_connect::Place;
use chalk_connect::fluvio::{
    Access, Begin, Compression, FluvioSink, FluvioSource, Lost, Producer, ProducerSettings, SinkSettings,
    SourceSettings, Timing, Tls, ensure_topic, look,
};
use chalk_graph::Sink;
use chalk_graph::options::{FluvioAccess, FluvioBegin, FluvioCompression, FluvioLost, FluvioOptions, FluvioTls};
use chalk_log::EventLog;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// How a table's cluster is reached; files are relative to a directory.
pub(crate) fn access(options: &FluvioOptions, directory: &Path) -> Access {
    match &options.access {
        FluvioAccess::Profile(profile) => Access::Profile(profile.clone()),
        FluvioAccess::Endpoint(endpoint, tls) => {
            let tls = match tls {
                FluvioTls::Disabled => Tls::Disabled,
                FluvioTls::Anonymous => Tls::Anonymous,
                FluvioTls::Verified { domain, ca_cert, cert, key } => Tls::Verified {
                    domain: domain.clone(),
                    ca_cert: directory.join(ca_cert),
                    cert: directory.join(cert),
                    key: directory.join(key),
                },
            };
            Access::Endpoint { endpoint: endpoint.clone(), tls }
        }
    }
}

/// A table's source, opened where the journal says.
pub(crate) fn source(
    options: &FluvioOptions,
    directory: &Path,
    places: &BTreeMap<u32, Place>,
) -> Result<FluvioSource, RuntimeError> {
    let settings = SourceSettings {
        access: access(options, directory),
        topic: options.topic.clone(),
        begin: match options.begin {
            FluvioBegin::Earliest => Begin::Earliest,
            FluvioBegin::Latest => Begin::Latest,
        },
        lost: match options.lost {
            FluvioLost::Stop => Lost::Stop,
            FluvioLost::Skip => Lost::Skip,
        },
        fetch_bytes: options.fetch_bytes,
        timing: Timing::default(),
    };
    Ok(FluvioSource::open(settings, places)?)
}

/// Under this and the topic's name it is journalled how far a log's topic was read: no table is called so.
const LOG: &str = "_log";
/// So long a cluster may take to make a topic.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a topic has, in words.
pub(crate) fn look_at(options: &FluvioOptions, directory: &Path) -> Result<String, RuntimeError> {
    let found = look(&access(options, directory), &options.topic, PATIENCE)?;
    let records: u64 = found.partitions.values().map(|offsets| offsets.end - offsets.start).sum();
    let (topic, partitions, platform) = (&options.topic, found.partitions.len(), found.platform);
    Ok(format!("topic {topic}, {partitions} partitions, {records} records; Fluvio {platform}"))
}

/// A project's log. Its topic is made if it is not there.
pub(crate) fn log(
    options: &FluvioOptions,
    partitions: u32,
    directory: &Path,
    log: &dyn EventLog,
) -> Result<Elsewhere, RuntimeError> {
    let access = access(options, directory);
    ensure_topic(&access, &options.topic, partitions, PATIENCE)?;
    let name = format!("{LOG}/{}", options.topic);
    let source = source(options, directory, &places(&log.journal(), &name))?;
    let settings = ProducerSettings {
        access,
        topic: options.topic.clone(),
        compression: compression(options.compression),
        batch_bytes: options.batch_bytes,
        timing: Timing::default(),
    };
    let mut publish = Producer::new(settings);
    publish.connect()?;
    Ok(Elsewhere { name, source: Box::new(source), publish: Box::new(publish) })
}

fn compression(compression: FluvioCompression) -> Compression {
    match compression {
        FluvioCompression::None => Compression::None,
        FluvioCompression::Gzip => Compression::Gzip,
        FluvioCompression::Snappy => Compression::Snappy,
        FluvioCompression::Lz4 => Compression::Lz4,
        FluvioCompression::Zstd => Compression::Zstd,
    }
}

/// A table's sink; `schema` is of the rows that it is given.
pub(crate) fn sink(options: &FluvioOptions, run: &Options, pipeline: &str, sink: &Sink, schema: &Schema) -> FluvioSink {
    FluvioSink::new(SinkSettings {
        access: access(options, &run.directory),
        topic: options.topic.clone(),
        key_field: options.key_field.clone(),
        compression: compression(options.compression),
        batch_bytes: options.batch_bytes,
        add_event_id: schema.column_with_name("event_id").is_none(),
        identity: format!("{pipeline}/{}/{}", sink.query, options.topic),
        timing: Timing::default(),
    })
}
