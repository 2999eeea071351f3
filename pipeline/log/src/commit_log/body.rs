//! Frame bodies: one Arrow IPC record batch message with LZ4 buffers, without its schema.

use crate::contract::LogError;
use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow::datatypes::SchemaRef;
use arrow_ipc::reader::read_record_batch;
use arrow_ipc::writer::{DictionaryTracker, IpcDataGenerator, IpcWriteContext, IpcWriteOptions};
use arrow_ipc::{CompressionType, MetadataVersion, root_as_message};
use std::collections::HashMap;

/// Batches smaller than this are not worth compressing.
const COMPRESS_ROWS_MIN: usize = 16;

/// Buffers begin at multiples of this many bytes. With the 64 that Arrow recommends for memory, a frame of one row would be
/// padding for the most part; whoever decodes copies a body to aligned memory anyway.
const ALIGNMENT: usize = 8;

pub(super) fn encode(rows: &RecordBatch) -> Result<Vec<u8>, LogError> {
    let fail = |error: arrow::error::ArrowError| LogError::Batch { operation: "encode", message: error.to_string() };
    let compression = (rows.num_rows() >= COMPRESS_ROWS_MIN).then_some(CompressionType::LZ4_FRAME);
    let options = IpcWriteOptions::try_new(ALIGNMENT, false, MetadataVersion::V5).map_err(fail)?;
    let options = options.try_with_compression(compression).map_err(fail)?;
    let mut context = IpcWriteContext::default();
    let mut dictionaries = DictionaryTracker::new(true);
    let (_, encoded) = IpcDataGenerator {}.encode(rows, &mut dictionaries, &options, &mut context).map_err(fail)?;
    let mut bytes = Vec::with_capacity(4 + encoded.ipc_message.len() + encoded.arrow_data.len());
    bytes.extend((encoded.ipc_message.len() as u32).to_le_bytes());
    bytes.extend(&encoded.ipc_message);
    bytes.extend(&encoded.arrow_data);
    Ok(bytes)
}

pub(super) fn decode(bytes: &[u8], schema: &SchemaRef) -> Result<RecordBatch, LogError> {
    let fail = |message: String| LogError::Batch { operation: "decode", message };
    let short = || fail("the body is too short".to_owned());
    let (length, rest) = bytes.split_first_chunk::<4>().ok_or_else(short)?;
    let (message, data) = rest.split_at_checked(u32::from_le_bytes(*length) as usize).ok_or_else(short)?;
    let message = root_as_message(message).map_err(|error| fail(error.to_string()))?;
    let batch = message.header_as_record_batch().ok_or_else(|| fail("not a record batch".to_owned()))?;
    read_record_batch(&Buffer::from(data), batch, schema.clone(), &HashMap::new(), None, &message.version())
        .map_err(|error| fail(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, Int64Array, StringArray};
    use std::sync::Arc;

    #[test]
    fn batches_come_back() {
        for rows in [0, 1, 5000] {
            let text: ArrayRef =
                Arc::new(StringArray::from_iter((0..rows).map(|i| (i % 3 > 0).then(|| format!("r{i}")))));
            let number: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows));
            let batch = RecordBatch::try_from_iter_with_nullable([("t", text, true), ("n", number, false)])
                .expect("columns of one length");
            let bytes = encode(&batch).expect("encodes");
            assert_eq!(decode(&bytes, batch.schema_ref()).expect("decodes"), batch);
        }
    }
}
