//! Rows that a function was given up on, in the log: what time, memory or a crash decided once, no later run decides otherwise.
//!
//! A row of the system topic `_verdicts` says who the function is (`name@hash`), a hash of the row's arguments (32 hexadecimal digits), the
//! reason, and after which commit it counts. It stands in the commit of the epoch in which it was found.

use crate::error::RuntimeError;
use arrow::array::{Array, AsArray};
use arrow::datatypes::Int64Type;
use arrow::error::ArrowError;
use chalk_catalog::SystemTopic;
use chalk_codec::{Cell, RowsBuilder};
use chalk_event::{CommitSeq, Offset, PartitionId};
use chalk_log::{EventLog, FrameToAppend};
use chalk_udf_host::Verdict;
use std::borrow::Cow;

const PARTITION: PartitionId = PartitionId(0);
/// So much is read at once.
const READ_BYTES: usize = 1 << 20;

/// The frame that records them; `None` when there are none.
pub(crate) fn frame(verdicts: &[Verdict]) -> Result<Option<FrameToAppend>, RuntimeError> {
    if verdicts.is_empty() {
        return Ok(None);
    }
    let topic = SystemTopic::Verdicts.definition();
    let mut rows = RowsBuilder::new(topic.schema.clone());
    for Verdict { function, arguments, reason, after } in verdicts {
        let arguments = format!("{arguments:032x}");
        let cells = [
            Cell::Text(Cow::Borrowed(function.as_str())),
            Cell::Text(Cow::Borrowed(arguments.as_str())),
            Cell::Text(Cow::Borrowed(reason.as_str())),
            Cell::Integer(i64::try_from(after.0).unwrap_or(i64::MAX)),
        ];
        rows.append(&cells, None, 0);
    }
    let (rows, schema) = (rows.finish()?, topic.schema_id);
    Ok(Some(FrameToAppend { topic: topic.id, partition: PARTITION, schema, event_times: None, rows }))
}

/// All that are in the log.
pub(crate) fn recorded(log: &dyn EventLog) -> Result<Vec<Verdict>, RuntimeError> {
    let topic = SystemTopic::Verdicts.id();
    let (mut from, tail) = (log.first(topic, PARTITION)?, log.tail(topic, PARTITION));
    let mut verdicts = Vec::new();
    while from < tail {
        let frames = log.read_partition(topic, PARTITION, from, READ_BYTES)?;
        if frames.is_empty() {
            break;
        }
        for (_, frame) in &frames {
            let text =
                |column: usize| frame.rows.columns().get(column).and_then(|column| column.as_string_opt::<i32>());
            let after = frame.rows.columns().get(3).and_then(|column| column.as_primitive_opt::<Int64Type>());
            let (Some(functions), Some(arguments), Some(reasons), Some(after)) = (text(0), text(1), text(2), after)
            else {
                return Err(ArrowError::SchemaError("a verdict has other columns".to_owned()).into());
            };
            for row in 0..functions.len() {
                verdicts.push(Verdict {
                    function: functions.value(row).to_owned(),
                    arguments: u128::from_str_radix(arguments.value(row), 16)
                        .map_err(|error| ArrowError::ParseError(format!("a verdict's arguments: {error}")))?,
                    reason: reasons.value(row).to_owned(),
                    after: CommitSeq(after.value(row).cast_unsigned()),
                });
            }
            from = Offset(frame.base_offset.0 + frame.rows.num_rows() as u64);
        }
    }
    Ok(verdicts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_is_a_row() {
        assert!(frame(&[]).expect("no rows").is_none());
        let verdict = Verdict {
            function: "f@00ff".to_owned(),
            arguments: 0xab << 100,
            reason: "it took longer than 10 ms".to_owned(),
            after: CommitSeq(17),
        };
        let frame = frame(&[verdict.clone(), verdict]).expect("rows").expect("a frame");
        assert_eq!(frame.rows.num_rows(), 2);
        assert_eq!(frame.rows.column(1).as_string::<i32>().value(0), format!("{:032x}", 0xab_u128 << 100));
        assert_eq!(frame.rows.column(3).as_primitive::<Int64Type>().value(1), 17);
    }
}
