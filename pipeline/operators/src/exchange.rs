//! Splits changes by key, so that each shard of a stateful operator has the whole of its keys.
//!
//! A key's shard follows from its row encoding by [`chalk_event::hash_key`] and [`chalk_event::shard_of`], so both sides of a
//! join agree as long as their key columns have the same types.

use crate::row_codec::KeyCodec;
use arrow::array::UInt32Array;
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use chalk_event::{ChangeBatch, hash_key, shard_of};
use std::sync::Arc;

/// The changes of each of `shards` shards, in their earlier order. Without keys all of them go to shard 0.
///
/// # Errors
/// When a key column's type has no row encoding.
///
/// # Panics
/// When there are no shards or `keys` names a column that does not exist: those are the caller's mistakes.
pub fn split(batch: &ChangeBatch, keys: &[usize], shards: usize) -> Result<Vec<ChangeBatch>, ArrowError> {
    assert!(shards > 0, "changes go to at least one shard");
    if shards == 1 {
        return Ok(vec![batch.clone()]);
    }
    if keys.is_empty() || batch.is_empty() {
        let mut split = vec![ChangeBatch::empty(batch.rows().schema()); shards];
        split[0] = batch.clone();
        return Ok(split);
    }
    let schema = batch.rows().schema();
    let types: Vec<&DataType> = schema.fields().iter().map(|field| field.data_type()).collect();
    let encoded = KeyCodec::new(keys, &types)?.encode(batch.rows())?;
    let mut rows_of = vec![Vec::with_capacity(batch.len() / shards + 1); shards];
    for row in 0..batch.len() {
        rows_of[shard_of(hash_key(encoded.row(row)), shards)].push(u32::try_from(row).unwrap_or(u32::MAX));
    }
    rows_of
        .into_iter()
        .map(|rows| match rows.len() {
            0 => Ok(ChangeBatch::empty(Arc::clone(&schema))),
            all if all == batch.len() => Ok(batch.clone()),
            _ => batch.take(&UInt32Array::from(rows)),
        })
        .collect()
}
