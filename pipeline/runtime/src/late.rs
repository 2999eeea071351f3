//! Rows that arrived after their window had closed: kept in `late_rows`, never silent.

use crate::dataflow::Late;
use crate::error::RuntimeError;
use chalk_catalog::SystemTopic;
use chalk_codec::{Cell, RowsBuilder, write_json_row};
use chalk_event::{EventTime, PartitionId};
use chalk_log::FrameToAppend;
use std::borrow::Cow;

/// The frame that keeps them; `None` when there are none.
pub(crate) fn frame(late: &[Late]) -> Result<Option<FrameToAppend>, RuntimeError> {
    if late.is_empty() {
        return Ok(None);
    }
    let topic = SystemTopic::LateRows.definition();
    let mut rows = RowsBuilder::new(topic.schema.clone());
    for Late { row, batch, .. } in late {
        let mut json = String::new();
        write_json_row(&mut json, batch.rows(), row.row, &|_| false)?;
        let cells = [
            Cell::Text(Cow::Borrowed(row.query.as_str())),
            Cell::Time(row.event_time.0),
            Cell::Time(row.watermark.0),
            Cell::Time(row.window_end.0),
            Cell::Text(Cow::Borrowed(json.as_str())),
        ];
        rows.append(&cells, None, 0);
    }
    let times = late.iter().map(|late| late.row.event_time);
    let event_times: Option<(EventTime, EventTime)> = times.clone().min().zip(times.max());
    let rows = rows.finish()?;
    Ok(Some(FrameToAppend { topic: topic.id, partition: PartitionId(0), schema: topic.schema_id, event_times, rows }))
}
