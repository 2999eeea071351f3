//! Rows and groups that a query's expression or function failed for: kept in `dead_letters`, never silent.

use crate::error::RuntimeError;
use chalk_catalog::SystemTopic;
use chalk_codec::{Cell, Reason, RowsBuilder, write_json_row};
use chalk_event::{ChangeBatch, IngestTime, PartitionId};
use chalk_log::FrameToAppend;
use chalk_operators::{RefusedGroup, RefusedRow};
use std::borrow::Cow;

/// A refused row, as it is kept.
pub(crate) struct Refused {
    /// The node that refused it.
    pub(crate) node: String,
    pub(crate) message: String,
    /// The row that the node got, as JSON; of a group what it is grouped by.
    pub(crate) json: String,
}

impl Refused {
    /// A row of `batch`; `None` for a delete, since its insert was refused, and told of, before.
    pub(crate) fn of(refused: &RefusedRow, batch: &ChangeBatch) -> Option<Result<Self, RuntimeError>> {
        if batch.weight(refused.row) < 0 {
            return None;
        }
        let mut json = String::new();
        let written = write_json_row(&mut json, batch.rows(), refused.row, &|_| false);
        let refused = || Self { node: String::new(), message: refused.message.clone(), json };
        Some(written.map(|()| refused()).map_err(Into::into))
    }

    /// A group, which is kept as what it is grouped by.
    pub(crate) fn of_group(refused: &RefusedGroup) -> Result<Self, RuntimeError> {
        let mut json = String::new();
        write_json_row(&mut json, &refused.keys, 0, &|_| false)?;
        Ok(Self { node: String::new(), message: refused.message.clone(), json })
    }
}

/// The frame that keeps them; `None` when there are none. `time` is when the last input was accepted.
pub(crate) fn frame(refused: &[Refused], time: Option<IngestTime>) -> Result<Option<FrameToAppend>, RuntimeError> {
    if refused.is_empty() {
        return Ok(None);
    }
    let topic = SystemTopic::DeadLetters.definition();
    let mut rows = RowsBuilder::new(topic.schema.clone());
    for Refused { node, message, json } in refused {
        fn text(value: &str) -> Cell<'_> {
            Cell::Text(Cow::Borrowed(value))
        }
        let source = format!("query {}", node.split('/').next().unwrap_or(node));
        let cells = [
            Cell::Time(time.map_or(0, |time| time.0)),
            text(Reason::NotComputed.code()),
            text(message),
            text(&source),
            // It is no line of anything.
            Cell::Integer(0),
            Cell::Null,
            Cell::Null,
            Cell::Null,
            Cell::Null,
            text(json),
        ];
        rows.append(&cells, None, 0);
    }
    let rows = rows.finish()?;
    let (schema, partition) = (topic.schema_id, PartitionId(0));
    Ok(Some(FrameToAppend { topic: topic.id, partition, schema, event_times: None, rows }))
}
