//! Options of tables whose rows are made up.

use super::OptionError;
use super::reader::Reader;
use std::time::Duration;

/// Options of `connector = 'impulse'`.
#[derive(Clone, Debug, PartialEq)]
pub struct ImpulseOptions {
    /// `event_rate`: rows per second.
    pub event_rate: f64,
    /// `event_time_interval`: how far the event times of two rows are apart, in nanoseconds; the rate's distance by default.
    pub event_time_interval: Option<Duration>,
    /// `message_count`: how many rows there are; without it there is no last one.
    pub message_count: Option<u64>,
}

/// Rates are finite.
impl Eq for ImpulseOptions {}

/// Options of `connector = 'nexmark'`.
#[derive(Clone, Debug, PartialEq)]
pub struct NexmarkOptions {
    /// `event_rate`: events per second, of event time too.
    pub event_rate: f64,
    /// `runtime`: for so long; a number of seconds. Without it there is no last event.
    pub runtime: Option<Duration>,
    /// `seed`: other events for another number; 0 by default.
    pub seed: u64,
}

/// Rates are finite.
impl Eq for NexmarkOptions {}

impl NexmarkOptions {
    /// How many events there are; `None` when there is no last one.
    #[must_use]
    pub fn event_count(&self) -> Option<u64> {
        self.runtime.map(|runtime| (self.event_rate * runtime.as_secs_f64()).round() as u64)
    }
}

/// Options of a connector that the program adds, whose rows are made up.
#[derive(Clone, Debug, PartialEq)]
pub struct GeneratorOptions {
    /// Which it is.
    pub connector: String,
    /// `event_rate`: rows per second; without it, as fast as they are taken.
    pub event_rate: Option<f64>,
    /// `events`: how many there are.
    pub events: u64,
    /// `seed`: other rows for another number; 1 by default.
    pub seed: u64,
    /// `topic`: of what it makes, only what belongs to this topic.
    pub topic: Option<String>,
}

/// Rates are finite.
impl Eq for GeneratorOptions {}

/// So many, unless it is said.
const EVENTS: u64 = 200_000;

pub(super) fn generator(connector: &str, options: &mut Reader<'_>) -> Result<GeneratorOptions, OptionError> {
    let event_rate = options.rate("event_rate")?;
    let events = options.whole("events")?.unwrap_or(EVENTS);
    let seed = options.whole("seed")?.unwrap_or(1);
    let topic = options.optional("topic");
    options.one_of("format", &[("json", ())])?;
    Ok(GeneratorOptions { connector: connector.to_owned(), event_rate, events, seed, topic })
}

pub(super) fn nexmark(options: &mut Reader<'_>) -> Result<NexmarkOptions, OptionError> {
    options.required("event_rate")?;
    let event_rate = options.rate("event_rate")?.unwrap_or(1.0);
    let runtime = options.rate("runtime")?.map(Duration::from_secs_f64);
    let seed = options.whole("seed")?.unwrap_or_default();
    options.one_of("format", &[("json", ())])?;
    Ok(NexmarkOptions { event_rate, runtime, seed })
}

pub(super) fn impulse(options: &mut Reader<'_>) -> Result<ImpulseOptions, OptionError> {
    options.required("event_rate")?;
    let event_rate = options.rate("event_rate")?.unwrap_or(1.0);
    let event_time_interval = options.whole("event_time_interval")?.map(Duration::from_nanos);
    let message_count = options.whole("message_count")?;
    options.one_of("format", &[("json", ())])?;
    Ok(ImpulseOptions { event_rate, event_time_interval, message_count })
}
