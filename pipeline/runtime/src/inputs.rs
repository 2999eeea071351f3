//! Sources outside the log: what they are opened as, and what their lines are.

use crate::avro::{container, datums};
use crate::containers::{ContainerSource, Open, pass_over};
use crate::elsewhere::Elsewhere;
use crate::error::RuntimeError;
use crate::parquet::open_parquet;
use crate::pipeline::Options;
use crate::reading::place;
use arrow::datatypes::Field;
use chalk_catalog::Journal;
use chalk_codec::LineFormat;
use chalk_connect::{
    FileSource, FolderSource, Generated, Impulse, ImpulseSettings, InOrder, MadeUp, Nexmark, NexmarkSettings, Place,
    files_of,
};
use chalk_graph::Source;
use chalk_graph::options::{BadData, FluvioOptions, Format, GeneratorOptions, SourceOptions};
use chalk_ingest::Rows;
use chalk_log::EventLog;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// Makes up the lines of a connector.
pub type Generator = Arc<dyn Fn(&GeneratorOptions) -> MadeUp + Send + Sync>;

/// Connectors whose rows the program makes up, by name.
pub type Generators = BTreeMap<String, Generator>;

/// What the lines of a table without envelope are.
///
/// # Errors
/// When the log does not have its topic.
pub fn rows_of(source: &Source, log: &dyn EventLog) -> Result<Rows, RuntimeError> {
    let topic = log.topics().by_name(&source.topic).map(|topic| topic.id);
    let topic = topic.ok_or_else(|| RuntimeError::NoTopic(source.topic.clone()))?;
    // The planner sees to it that formats of one column have one.
    let column = || source.columns.stored.first().cloned().unwrap_or_default();
    let format = match &source.format {
        Format::Json(json) if json.unstructured => LineFormat::Unstructured { column: column() },
        Format::Json(_) | Format::Avro(_) | Format::Parquet => LineFormat::Json,
        Format::RawString => LineFormat::RawString { column: column() },
        Format::RawBytes => LineFormat::RawBytes { column: column() },
        Format::DebeziumJson(_) => LineFormat::Debezium { weight: source.columns.weight.clone().unwrap_or_default() },
    };
    let bad_data = match source.bad_data {
        BadData::DeadLetter => chalk_ingest::BadData::DeadLetter,
        BadData::Drop => chalk_ingest::BadData::Drop,
        BadData::Fail => chalk_ingest::BadData::Fail,
    };
    Ok(Rows { format, bad_data, ..Rows::of(topic, 1) })
}

/// A source, and how far its partitions are if it has any.
pub(crate) type Opened = (Box<dyn chalk_connect::Source>, Option<BTreeMap<u32, Place>>);

/// Opens a table's source where the journal says.
pub(crate) fn open_source(
    source: &Source,
    options: &SourceOptions,
    run: &Options,
    journal: &Journal,
) -> Result<Opened, RuntimeError> {
    let directory = &run.directory;
    let place = place(journal, &source.table);
    let before = journal.sources.contains_key(&source.table).then_some((place.position, place.records));
    let opened: Box<dyn chalk_connect::Source> = match (options, container_of(source)) {
        (SourceOptions::SingleFile(file), Some(open)) => {
            let files = vec![directory.join(&file.path)];
            Box::new(InOrder::new(ContainerSource::new(files, place.position, open), place))
        }
        (SourceOptions::Folder(folder), Some(open)) => {
            let files = files_of(&directory.join(&folder.path), folder.pattern.as_deref())?;
            Box::new(InOrder::new(ContainerSource::new(files, place.position, open), place))
        }
        (SourceOptions::SingleFile(file), _) => Box::new(FileSource::open(&directory.join(&file.path), place)?),
        (SourceOptions::Folder(folder), _) => {
            let path = directory.join(&folder.path);
            Box::new(InOrder::new(FolderSource::open(&path, folder.pattern.as_deref(), place.position)?, place))
        }
        (SourceOptions::Impulse(impulse), _) => {
            let settings = ImpulseSettings {
                event_rate: impulse.event_rate,
                interval: impulse.event_time_interval,
                count: impulse.message_count,
            };
            Box::new(InOrder::new(Impulse::new(&settings, before, now()), place))
        }
        (SourceOptions::Nexmark(nexmark), _) => {
            let (event_rate, count, seed) = (nexmark.event_rate, nexmark.event_count(), nexmark.seed);
            let settings = NexmarkSettings { event_rate, count, seed };
            Box::new(InOrder::new(Nexmark::new(&settings, before, now()), place))
        }
        (SourceOptions::Generator(options), _) => {
            let make = run.generators.get(&options.connector);
            let make = make.ok_or_else(|| RuntimeError::NoGenerator(options.connector.clone()))?;
            Box::new(InOrder::new(Generated::new(make(options), place.position, options.event_rate), place))
        }
        #[cfg(feature = "fluvio")]
        (SourceOptions::Fluvio(fluvio), _) => {
            let places = crate::reading::places(journal, &source.table);
            let opened = crate::fluvio::source(fluvio, directory, &places)?;
            return Ok((Box::new(opened), Some(places)));
        }
        #[cfg(not(feature = "fluvio"))]
        (SourceOptions::Fluvio(_), _) => return Err(RuntimeError::NotInThisBuild("fluvio")),
    };
    Ok((opened, None))
}

/// The Fluvio topic that a project's events go through; it is made if it is not there.
///
/// # Errors
/// When this build has no Fluvio, or the cluster cannot be reached.
#[cfg_attr(not(feature = "fluvio"), expect(unused_variables, reason = "a build without Fluvio"))]
pub fn log_elsewhere(
    fluvio: &FluvioOptions,
    partitions: u32,
    directory: &Path,
    log: &dyn EventLog,
) -> Result<Elsewhere, RuntimeError> {
    #[cfg(feature = "fluvio")]
    return crate::fluvio::log(fluvio, partitions, directory, log);
    #[cfg(not(feature = "fluvio"))]
    Err(RuntimeError::NotInThisBuild("fluvio"))
}

/// What a Fluvio topic has, in words.
///
/// # Errors
/// When this build has no Fluvio, the cluster cannot be reached, or there is no such topic.
#[cfg_attr(not(feature = "fluvio"), expect(unused_variables, reason = "a build without Fluvio"))]
pub fn look_at_topic(fluvio: &FluvioOptions, directory: &Path) -> Result<String, RuntimeError> {
    #[cfg(feature = "fluvio")]
    return crate::fluvio::look_at(fluvio, directory);
    #[cfg(not(feature = "fluvio"))]
    Err(RuntimeError::NotInThisBuild("fluvio"))
}

/// How files of a table are opened whose format is not made of lines.
fn container_of(source: &Source) -> Option<Open> {
    match &source.format {
        Format::Parquet => Some(Box::new(open_parquet)),
        Format::Avro(avro) if avro.raw_datums => {
            let stored = source.columns.schema.fields().iter().take(source.columns.stored.len());
            let columns: Vec<Arc<Field>> = stored.cloned().collect();
            Some(Box::new(move |file, after| pass_over(datums(file, &columns)?, after)))
        }
        Format::Avro(_) => Some(Box::new(|file, after| pass_over(container(file)?, after))),
        Format::Json(_) | Format::DebeziumJson(_) | Format::RawString | Format::RawBytes => None,
    }
}

/// Nanoseconds since 1970: when a made-up source begins, which its first position keeps.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
