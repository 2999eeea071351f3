//! Numbers about a node, for Prometheus.

use crate::app::App;
use crate::error::{Limit, QueryError, QueryErrorKind};
use chalk_catalog::{SystemTopic, TopicDef};
use chalk_event::{NANOS_PER_SECOND, PartitionId};
use chalk_ingest::Receipt;
use chalk_runtime::{SinkStatus, SourceStatus, StageStatus};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use std::fmt;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

/// Labels with their values.
type Labels = Vec<(&'static str, String)>;

/// How a client asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http,
    Postgres,
}

impl Protocol {
    fn labels(self) -> Labels {
        let name = match self {
            Self::Http => "http",
            Self::Postgres => "postgres",
        };
        vec![("protocol", name.to_owned())]
    }
}

/// What is counted while it happens; all else is looked up when it is asked for.
#[derive(Debug)]
pub(crate) struct Metrics {
    events: Family<Labels, Counter>,
    queries: Family<Labels, Counter>,
    running: Family<Labels, Gauge>,
    seconds: Family<Labels, Histogram>,
    connections: Family<Labels, Gauge>,
    refused: Family<Labels, Counter>,
    streams: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            events: Family::default(),
            queries: Family::default(),
            running: Family::default(),
            // From 0.1 ms to about 26 s.
            seconds: Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.000_1, 4.0, 10))),
            connections: Family::default(),
            refused: Family::default(),
            streams: Gauge::default(),
        }
    }
}

/// A query that is being answered. Dropped before it is done, it counts as cancelled.
pub(crate) struct Asked<'a> {
    metrics: &'a Metrics,
    protocol: Protocol,
    running: Gauge,
    since: Instant,
    outcome: &'static str,
}

impl Asked<'_> {
    /// Says how it ended.
    pub(crate) fn done<T>(mut self, answer: Result<T, QueryError>) -> Result<T, QueryError> {
        self.outcome = match &answer {
            Ok(_) => "finished",
            Err(error) => match error.kind {
                QueryErrorKind::Mistake => "mistaken",
                QueryErrorKind::Limit(Limit::Time) => "timed_out",
                QueryErrorKind::Limit(_) => "limited",
                QueryErrorKind::Internal => "failed",
            },
        };
        answer
    }
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        self.running.dec();
        let mut labels = self.protocol.labels();
        self.metrics.seconds.get_or_create(&labels).observe(self.since.elapsed().as_secs_f64());
        labels.push(("outcome", self.outcome.to_owned()));
        self.metrics.queries.get_or_create(&labels).inc();
    }
}

/// Something that is open, counted for as long as it is.
#[derive(Debug)]
pub(crate) struct Open(Gauge);

impl Open {
    fn new(gauge: Gauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Metrics {
    /// A query begins.
    pub(crate) fn query(&self, protocol: Protocol) -> Asked<'_> {
        let running = self.running.get_or_create_owned(&protocol.labels());
        running.inc();
        Asked { metrics: self, protocol, running, since: Instant::now(), outcome: "cancelled" }
    }

    /// A connection is open.
    pub(crate) fn connection(&self, protocol: Protocol) -> Open {
        Open::new(self.connections.get_or_create_owned(&protocol.labels()))
    }

    /// A connection is refused because there are too many.
    pub(crate) fn refused(&self, protocol: Protocol) {
        self.refused.get_or_create(&protocol.labels()).inc();
    }

    /// A view's changes are followed, unless so many are already.
    pub(crate) fn stream(&self, streams_max: i64) -> Option<Open> {
        let open = Open::new(self.streams.clone());
        (self.streams.get() <= streams_max).then_some(open)
    }

    /// Events came in over HTTP.
    pub(crate) fn received(&self, receipt: &Receipt) {
        let count = |outcome: &str, event_type: &str, events: u64| {
            let labels = vec![("outcome", outcome.to_owned()), ("type", event_type.to_owned())];
            self.events.get_or_create(&labels).inc_by(events);
        };
        for (event_type, events) in &receipt.accepted {
            count("accepted", event_type, *events);
        }
        if receipt.duplicates > 0 {
            count("duplicate", "", receipt.duplicates);
        }
        for refused in &receipt.refused {
            count(refused.bad.reason.code(), "", 1);
        }
    }

    /// All numbers, in the text format of OpenMetrics.
    pub(crate) fn text(&self, app: &App) -> Result<String, fmt::Error> {
        let mut registry = Registry::with_prefix("chalk");
        registry.register("http_events", "Events that came in over HTTP", self.events.clone());
        registry.register("queries", "Queries that have ended", self.queries.clone());
        registry.register("queries_running", "Queries that are running or wait for their turn", self.running.clone());
        registry.register_with_unit("query", "How long queries took", Unit::Seconds, self.seconds.clone());
        registry.register("connections", "Open connections", self.connections.clone());
        registry.register("connections_refused", "Connections beyond the number that is allowed", self.refused.clone());
        registry.register("streams", "Clients that follow the changes of a view", self.streams.clone());
        let held = i64::try_from(app.queries.memory_held()).unwrap_or(i64::MAX);
        registry.register("queries_memory_bytes", "Memory that queries and their answers hold", ConstGauge::new(held));
        log(&mut registry, app);
        pipeline(&mut registry, app);
        let mut system = Registry::default();
        process(&mut system);
        let (mut text, mut more) = (String::new(), String::new());
        encode(&mut text, &registry)?;
        encode(&mut more, &system)?;
        // Each ends with a mark of the end.
        text.truncate(text.len() - text.strip_suffix("# EOF\n").map_or(0, |_| "# EOF\n".len()));
        Ok(text + &more)
    }
}

fn counters(values: impl IntoIterator<Item = (Labels, u64)>) -> Family<Labels, Counter> {
    let family = Family::<Labels, Counter>::default();
    for (labels, value) in values {
        family.get_or_create(&labels).inc_by(value);
    }
    family
}

fn gauges(values: impl IntoIterator<Item = (Labels, f64)>) -> Family<Labels, Gauge<f64, AtomicU64>> {
    let family = Family::<Labels, Gauge<f64, AtomicU64>>::default();
    for (labels, value) in values {
        family.get_or_create(&labels).set(value);
    }
    family
}

/// What is in the log and in the views.
fn log(registry: &mut Registry, app: &App) {
    let log = app.door.log();
    let snapshot = app.queries.snapshot();
    let topics = log.topics();
    let events = |topic: &TopicDef| {
        (0..topic.partitions).map(|partition| log.tail(topic.id, PartitionId(partition)).0).sum::<u64>()
    };
    let of_topic = |topic: &TopicDef| (vec![("topic", topic.name().to_owned())], events(topic));
    let in_topics = counters(topics.user().map(of_topic));
    registry.register("topic_events", "Events in a topic since it was made", in_topics);
    let of_system = |topic: SystemTopic| topics.by_id(topic.id()).map_or(0, events);
    let dead = ConstCounter::new(of_system(SystemTopic::DeadLetters));
    registry.register("dead_letters", "Refused events since the log was made", dead);
    let late = ConstCounter::new(of_system(SystemTopic::LateRows));
    registry.register("late_rows", "Rows after their window had closed, since the log was made", late);
    let number = |number: u64| ConstGauge::new(i64::try_from(number).unwrap_or(i64::MAX));
    let stalled = ConstGauge::new(i64::from(log.stalled().is_some()));
    registry.register("log_stalled", "1 while appends wait for room on the disk", stalled);
    let size = log.size();
    registry.register("log_first_commit", "The first commit that the log's segments have", number(size.first.0));
    registry.register("log_stored_bytes", "What the log's segments take", number(size.bytes));
    let held_back = ConstGauge::new(i64::from(size.held_back.is_some()));
    registry.register(
        "retention_held_back",
        "1 while segments are kept past their retention because they are needed",
        held_back,
    );
    if let Some(history) = size.history {
        registry.register("history_commit", "The last commit that is in history", number(history.upto.0));
        registry.register("history_stored_bytes", "What the files of history take", number(history.bytes));
        let failed = ConstGauge::new(i64::from(history.failed.is_some()));
        registry.register("history_failed", "1 when the last export to history failed; it is tried again", failed);
    }
    registry.register("commit_durable", "The last durable commit", number(log.durable().borrow().0));
    registry.register("commit_visible", "The last commit whose rows are in the views", number(snapshot.upto.0));
    registry.register(
        "commit_settled",
        "The last commit of which all that it led to is in the views",
        number(snapshot.settled.0),
    );
    registry.register("epoch", "The newest epoch of the views", number(snapshot.epoch.0));
    let rows = snapshot.views.iter().map(|(name, rows)| (vec![("view", name.clone())], rows.len() as f64));
    registry.register("view_rows", "Rows of a view", gauges(rows));
}

fn pipeline(registry: &mut Registry, app: &App) {
    let Some(report) = (app.report)() else { return };
    let status = &report.status;
    let failed = ConstGauge::new(i64::from(report.failure.is_some()));
    registry.register("pipeline_failed", "Whether the pipeline has stopped with an error", failed);
    registry.register("epochs", "Epochs since the start", ConstCounter::new(status.epochs));
    registry.register("rows_in", "Rows that sources gave since the start", ConstCounter::new(status.rows_in));
    registry.register("rows_out", "Changes that reached sinks since the start", ConstCounter::new(status.rows_out));
    registry.register("late", "Late rows since the start", ConstCounter::new(status.late));
    let late = status.late_of.iter().map(|(table, count)| (vec![("table", table.clone())], *count));
    registry.register("table_late", "Late rows of a table since the start", counters(late));
    let derived = status.derived.iter().map(|(name, count)| (vec![("type", name.clone())], *count));
    registry.register("derived_events", "Events that queries derived since the start", counters(derived));
    let refused = ConstCounter::new(status.derived_refused);
    registry.register("derived_events_refused", "Derived rows that were no good events", refused);
    let checkpoint = &status.checkpoint;
    let number = |commit: u64| ConstGauge::new(i64::try_from(commit).unwrap_or(i64::MAX));
    let last = number(checkpoint.last.map_or(0, |(_, upto)| upto.0));
    registry.register("checkpoint_commit", "The last commit that the newest checkpoint knows", last);
    let failed = ConstGauge::new(i64::from(checkpoint.failed.is_some()));
    registry.register("checkpoint_failed", "1 when no more checkpoints are made before the next start", failed);
    if let Some(copies) = &checkpoint.copies {
        let last = number(copies.last.map_or(0, |(_, upto)| upto.0));
        registry.register("checkpoint_copy_commit", "The last commit that the newest copied checkpoint knows", last);
        let failed = ConstGauge::new(i64::from(copies.failed.is_some()));
        registry.register("checkpoint_copy_failed", "1 when the last copy failed; it is tried again", failed);
    }
    let of_sources = |value: fn(&SourceStatus) -> u64| {
        counters(status.sources.iter().map(|(table, status)| (vec![("table", table.clone())], value(status))))
    };
    let records = of_sources(|source| source.records);
    registry.register("source_records", "Records that a source outside the log gave since the start", records);
    let gaps = of_sources(|source| source.gaps);
    registry.register("source_gaps", "Times that a source missed records and asked for them again", gaps);
    let lost = of_sources(|source| source.lost);
    registry.register(
        "source_lost",
        "Records that a source's place no longer had, and that were gone on without",
        lost,
    );
    let reconnects = of_sources(|source| source.reconnects);
    registry.register("source_reconnects", "Times that a source was connected to again", reconnects);
    let waits = status
        .sources
        .iter()
        .map(|(table, source)| (vec![("table", table.clone())], f64::from(source.waits.is_some())));
    registry.register("source_waits", "1 while a source's place cannot be reached", gauges(waits));
    let of_sinks = |value: fn(&SinkStatus) -> f64| {
        gauges(status.sinks.iter().map(|(sink, status)| (vec![("sink", sink.clone())], value(status))))
    };
    let upto = of_sinks(|sink| sink.upto.map_or(0.0, |upto| upto.0 as f64));
    registry.register("sink_commit", "The last commit whose rows a sink outside the log has", upto);
    let waits = of_sinks(|sink| f64::from(sink.waits.is_some()));
    registry.register("sink_waits", "1 while a sink waits for room on its disk", waits);
    let failed = of_sinks(|sink| f64::from(sink.failed.is_some()));
    registry.register("sink_failed", "1 when a sink gets no more rows before the next start", failed);
    let of_stages = |value: fn(&StageStatus) -> f64| {
        gauges(status.stages.iter().map(|(stage, status)| (vec![("stage", stage.clone())], value(status))))
    };
    let in_flight = of_stages(|stage| stage.in_flight as f64);
    registry.register("stage_in_flight", "Calls of a stage's async function without an answer", in_flight);
    let limit = of_stages(|stage| stage.limit as f64);
    registry.register("stage_in_flight_max", "How many there may be, as things are now", limit);
    let waiting = of_stages(|stage| stage.waiting as f64);
    registry.register("stage_waiting", "Rows of a stage that were read and are not called yet", waiting);
    let recorded = of_stages(|stage| stage.recorded as f64);
    registry.register("stage_recorded", "Results that a stage recorded since the start", recorded);
    let failed = of_stages(|stage| stage.failed as f64);
    registry.register("stage_failed", "Rows that a stage's function failed for since the start", failed);
    let now = (app.clock)();
    let seconds = |nanos: i64| nanos as f64 / NANOS_PER_SECOND as f64;
    let known = || {
        let known = status.tables.iter().filter_map(|(table, status)| Some((table, status.watermark.time()?.0)));
        known.map(|(table, time)| (vec![("table", table.clone())], time))
    };
    let ahead = status.tables.iter().map(|(table, status)| (vec![("table", table.clone())], status.ahead));
    registry.register(
        "rows_ahead",
        "Rows of a table since the start that did not move its watermark: more than a day ahead of their commit",
        counters(ahead),
    );
    let idle = status.tables.iter().map(|(table, status)| (vec![("table", table.clone())], f64::from(status.is_idle)));
    registry.register("table_idle", "1 while windows over several tables do not wait for a table", gauges(idle));
    let watermarks = known().map(|(table, time)| (table, seconds(time)));
    registry.register_with_unit(
        "watermark",
        "Event time up to which a table is complete, since the Unix epoch",
        Unit::Seconds,
        gauges(watermarks),
    );
    let lags = known().map(|(table, time)| (table, seconds(now.saturating_sub(time))));
    registry.register_with_unit(
        "watermark_lag",
        "How far a table's watermark is behind the clock",
        Unit::Seconds,
        gauges(lags),
    );
}

/// What the system says about this process, where it says so in files.
fn process(registry: &mut Registry) {
    let stat = std::fs::read_to_string("/proc/self/stat").ok();
    if let Some(seconds) = stat.and_then(|stat| cpu_seconds(&stat)) {
        let counter = Counter::<f64, AtomicU64>::default();
        counter.inc_by(seconds);
        registry.register_with_unit("process_cpu", "User and system time", Unit::Seconds, counter);
    }
    let status = std::fs::read_to_string("/proc/self/status").ok();
    if let Some(bytes) = status.and_then(|status| resident_bytes(&status)) {
        let help = "Memory that is resident";
        registry.register_with_unit("process_resident_memory", help, Unit::Bytes, ConstGauge::new(bytes));
    }
}

/// `proc_pid_stat(5)`, fields 14 and 15, in ticks of 1/100 s.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let mut fields = stat.rsplit_once(") ")?.1.split(' ').skip(11);
    let ticks = fields.next()?.parse::<u32>().ok()? + fields.next()?.parse::<u32>().ok()?;
    Some(f64::from(ticks) / 100.0)
}

/// `VmRSS` of `proc_pid_status(5)`.
fn resident_bytes(status: &str) -> Option<i64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<i64>().ok()? << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_says_is_read() {
        let stat = "7 (a b) c) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0";
        assert_eq!(cpu_seconds(stat), Some(2.0));
        assert_eq!(resident_bytes("VmHWM:\t  9 kB\nVmRSS:\t  2048 kB\n"), Some(2 << 20));
        assert_eq!((cpu_seconds(""), resident_bytes("")), (None, None));
    }
}
