//! Recorded stages: functions that ask others are called beside the engine, and what they say becomes events that the engine reads.
//!
//! ```text
//!  ┌─────────────────────────── stage thread ────────────────────────┐      ┌─ recorder thread ─┐
//!  log ─read─▶ rows (source, filter, project) ─▶ queue ─▶ calls ─▶ done ─▶ results and marker ─▶ log ─▶ engine
//! ```
//!
//! A stage reads at its own pace, so that the log is its backlog: as long as there are too many rows without a result, it does not read on. It has one
//! topic of its own:
//!
//! | partition | a row is |
//! |---|---|
//! | 0 | the kept columns of an input row, `_result`, `_function` (who was called), `_verdict` (why there is no result), and the row's id: `_input_partition`, `_input_offset` and `_input_commit`; `_arguments`, a hash of what the function was given |
//! | 1 | a marker: all rows of commits up to `_input_commit` are recorded, `_watermark` is theirs; what is recorded of later ones begins at the offset `_input_offset` of partition 0 |
//!
//! What is recorded counts, and nothing else does: the engine passes rows on as they are recorded, and event time as markers say, so that a slow function
//! makes nothing late. After a stop or a kill a stage begins at its last marker, reads what was recorded since, and calls the function for the
//! rest. It is the only writer of its topic, so that a row has one result; a row that was being called when the process ended is called again.
//!
//! When the query changes, or calls are to be made again, a stage begins another topic (see [`generation`]).

mod bell;
mod earlier;
mod generation;
mod layout;
mod place;
mod queue;
mod recorder;
mod stage;

pub use generation::{current_stages, prepare_stages};
pub(crate) use layout::{is_marker, last_watermark, without_failed};
pub(crate) use stage::{Progress, Stages, ring, start_stages};

use chalk_udf_host::{CurrentFunction, Permits, Timeline};
use std::collections::BTreeMap;

/// The functions that stages call, by name, and what these share; and where in the log all functions are called.
#[derive(Clone, Debug, Default)]
pub struct Functions {
    /// By name.
    pub by_name: BTreeMap<String, CurrentFunction>,
    /// How many calls all of them may have in flight.
    pub permits: Permits,
    /// Of the functions that the graph calls.
    pub timeline: Timeline,
}
