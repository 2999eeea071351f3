//! The protocol of sinks.

use crate::ConnectError;
use chalk_event::Epoch;

/// What a sink says of itself for the journal has at most so many bytes.
pub const STATE_BYTES_MAX: usize = 1024;

/// A place outside the log that has each row exactly once.
///
/// ```text
///            prepare                 journal record                commit
/// rows ────────────────▶ prepared ─────────────────▶ committed ──────────────▶ visible
///                          │ crash: recover forgets    │ crash: recover finishes
///                          ▼                           ▼
///                         gone, given again           visible
/// ```
///
/// The journal decides: between `prepare` and `commit` the runtime writes a record into the log that has the epoch and what `prepare`
/// gave. A row whose record is durable is never given again; any other is given again, and what is left of it was forgotten by then.
///
/// # Contract
///
/// - `recover` is called once, first. Then `prepare` and `commit` take turns.
/// - `prepare` makes rows durable, in a way that they can be forgotten. After an error for which [`ConnectError::is_full`] holds it may be
///   called again with the same rows; what the attempt left is taken back by then. After any other error the sink is not used again.
/// - `commit` makes what was prepared last visible. After an error for which [`ConnectError::is_full`] holds it may be called again;
///   whatever is left undone, the next `recover` does.
/// - What `prepare` gives is enough for `recover` to find out what is committed, in at most [`STATE_BYTES_MAX`] bytes.
/// - Rows can be committed without a record: those of a run that ends, whose next run gives them again. `recover` takes them back.
/// - Calls may take long, but not for ever: a thread of the sink's own makes them, but its pipeline waits for that when it stops.
pub trait Sink: Send {
    /// Makes the place hold what is committed and nothing else: finishes what was prepared and is committed, forgets what is not.
    /// `committed` is what `prepare` gave when the last record was written; `None` when there is no record.
    ///
    /// # Errors
    /// When the place cannot be used, or holds what is neither this sink's nor absent. Nothing was changed by then.
    fn recover(&mut self, committed: Option<&str>) -> Result<Recovered, ConnectError>;

    /// Writes the rows of one epoch, or of several that follow each other and end with this one: lines, each with its newline.
    ///
    /// # Errors
    /// When they could not be made durable.
    fn prepare(&mut self, epoch: Epoch, lines: &str) -> Result<String, ConnectError>;

    /// Makes visible what was prepared, which the journal says is committed.
    ///
    /// # Errors
    /// When that is not sure: the next `recover` does it.
    fn commit(&mut self, epoch: Epoch) -> Result<(), ConnectError>;
}

/// What a sink holds when it has recovered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recovered {
    /// All that was committed: rows are given from there on.
    GoesOn,
    /// Nothing: there is no record, or somebody has removed what there was. All rows are given again. Has the state as `prepare` would
    /// give it.
    Anew(String),
}
