//! Hashes that stand for whole rows.

use crate::row_codec::RowCodec;
use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use chalk_event::hash_row;

/// Longer texts are hashed where they stand.
const SHORT_BYTES: usize = 64;

/// Hashes rows of one schema.
#[derive(Debug)]
pub(crate) struct RowHasher {
    texts: Vec<usize>,
    others: Vec<usize>,
    codec: RowCodec,
}

enum Texts<'a> {
    Plain(&'a arrow::array::StringArray),
    View(&'a arrow::array::StringViewArray),
}

impl Texts<'_> {
    fn get(&self, row: usize) -> Option<&str> {
        match self {
            Self::Plain(texts) => texts.is_valid(row).then(|| texts.value(row)),
            Self::View(texts) => texts.is_valid(row).then(|| texts.value(row)),
        }
    }
}

impl RowHasher {
    /// A hasher of columns of these types.
    pub(crate) fn new(types: &[DataType]) -> Result<Self, ArrowError> {
        let is_text = |column: &usize| matches!(types[*column], DataType::Utf8 | DataType::Utf8View);
        let (texts, others): (Vec<usize>, Vec<usize>) = (0..types.len()).partition(is_text);
        let codec = RowCodec::new(others.iter().map(|&column| &types[column]))?;
        Ok(Self { texts, others, codec })
    }

    /// The hash of each of `count` rows.
    pub(crate) fn hash(&self, columns: &[ArrayRef], count: usize) -> Result<Vec<u128>, ArrowError> {
        let others: Vec<ArrayRef> = self.others.iter().map(|&column| columns[column].clone()).collect();
        let others = self.codec.encode(&others)?;
        let texts = self.texts.iter().map(|&column| match columns[column].as_string_view_opt() {
            Some(texts) => Texts::View(texts),
            None => Texts::Plain(columns[column].as_string()),
        });
        let texts: Vec<Texts<'_>> = texts.collect();
        let mut bytes = Vec::new();
        let hash = |row| {
            bytes.clear();
            bytes.extend_from_slice(others.row(row));
            for text in &texts {
                match text.get(row) {
                    None => bytes.push(0),
                    Some(text) if text.len() <= SHORT_BYTES => {
                        bytes.push(1 + text.len() as u8);
                        bytes.extend_from_slice(text.as_bytes());
                    }
                    Some(text) => {
                        bytes.push(u8::MAX);
                        bytes.extend_from_slice(&hash_row(text.as_bytes()).to_le_bytes());
                    }
                }
            }
            hash_row(&bytes)
        };
        Ok((0..count).map(hash).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Int64Array, StringArray, StringViewArray};
    use std::collections::HashSet;
    use std::sync::Arc;

    #[test]
    fn rows_have_one_hash_exactly_when_they_are_equal() {
        let long = "long ".repeat(20);
        let texts = [Some(""), None, Some("a"), Some("ab"), Some(long.as_str()), Some("b")];
        let (mut numbers, mut first, mut second) = (Vec::new(), Vec::new(), Vec::new());
        for number in [None, Some(0), Some(1)] {
            for left in texts {
                for right in texts {
                    numbers.push(number);
                    first.push(left);
                    second.push(right);
                }
            }
        }
        let hasher = RowHasher::new(&[DataType::Utf8, DataType::Int64, DataType::Utf8View]).expect("types with codes");
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from(first)),
            Arc::new(Int64Array::from(numbers.clone())),
            Arc::new(StringViewArray::from(second)),
        ];
        let hashes = hasher.hash(&columns, numbers.len()).expect("hashes");
        assert_eq!(hashes.iter().collect::<HashSet<_>>().len(), numbers.len());
        assert_eq!(hashes, hasher.hash(&columns, numbers.len()).expect("hashes"));
    }
}
