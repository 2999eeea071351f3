//! Bytes to rows and back: JSON today.
//!
//! Bad input is data, not failure: decoding one event gives either its cells or a [`BadInput`] that says what is
//! wrong, in which field and at which byte. This crate must not know where the bytes came from.

mod bad_input;
mod cell;
mod json;
mod line;
mod nested;
mod plain;
mod typed;

pub use bad_input::{BadInput, Reason};
pub use cell::{Cell, RowsBuilder};
pub use json::{
    EventText, JsonStyle, check_json, decode_event, json_texts, parse_timestamp, split_event, write_json_row,
    write_json_value, write_styled_row,
};
pub use line::LineFormat;
pub use typed::{check_typed, typed_column};
