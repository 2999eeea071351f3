//! Options of Fluvio tables as its connector takes them.

use crate::error::RuntimeError;
use crate::pipeline::Options;
use arrow::datatypes::Schema;
use chalk_connect::Place;
use chalk_connect::fluvio::{
    Access, Begin, Compression, FluvioSink, FluvioSource, Lost, SinkSettings, SourceSettings, Timing, Tls,
};
use chalk_graph::Sink;
use chalk_graph::options::{FluvioAccess, FluvioBegin, FluvioCompression, FluvioLost, FluvioOptions, FluvioTls};
use std::collections::BTreeMap;
use std::path::Path;

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

/// A table's sink; `schema` is of the rows that it is given.
pub(crate) fn sink(options: &FluvioOptions, run: &Options, pipeline: &str, sink: &Sink, schema: &Schema) -> FluvioSink {
    FluvioSink::new(SinkSettings {
        access: access(options, &run.directory),
        topic: options.topic.clone(),
        key_field: options.key_field.clone(),
        compression: match options.compression {
            FluvioCompression::None => Compression::None,
            FluvioCompression::Gzip => Compression::Gzip,
            FluvioCompression::Snappy => Compression::Snappy,
            FluvioCompression::Lz4 => Compression::Lz4,
            FluvioCompression::Zstd => Compression::Zstd,
        },
        batch_bytes: options.batch_bytes,
        add_event_id: schema.column_with_name("event_id").is_none(),
        identity: format!("{pipeline}/{}/{}", sink.query, options.topic),
        timing: Timing::default(),
    })
}
