//! Bytes to rows and back: JSON today.
//!
//! Bad input is data, not failure: decoding one event gives either its cells or a [`BadInput`] that says what is
//! wrong, in which field and at which byte. This crate must not know where the bytes came from.

mod bad_input;
mod cell;
mod json;
mod nested;
mod plain;

pub use bad_input::{BadInput, Reason};
pub use cell::{Cell, RowsBuilder};
pub use json::{EventText, check_json, decode_event, parse_timestamp, split_event, write_json_row};
