//! Rows of tables without envelope: what their lines are, and what becomes of those that cannot be read.

use crate::accept::Draft;
use crate::error::DoorError;
use chalk_catalog::TopicId;
use chalk_codec::LineFormat;

/// Where the rows of some lines belong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rows {
    /// The table's topic.
    pub topic: TopicId,
    /// The number of the first line.
    pub first_line: u64,
    /// What a line is.
    pub format: LineFormat,
    /// What becomes of a line that is not.
    pub bad_data: BadData,
}

impl Rows {
    /// Lines of JSON objects; those that are not are dead letters.
    #[must_use]
    pub fn of(topic: TopicId, first_line: u64) -> Self {
        Self { topic, first_line, format: LineFormat::Json, bad_data: BadData::DeadLetter }
    }
}

/// What becomes of a row that cannot be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BadData {
    /// It is kept in `dead_letters`.
    #[default]
    DeadLetter,
    /// It is counted, and nothing else.
    Drop,
    /// Nothing of what it came with is appended.
    Fail,
}

impl BadData {
    /// Takes out what is dropped; says how many that are.
    pub(crate) fn judge(self, table: &str, drafts: &mut Vec<Draft<'_>>) -> Result<u64, DoorError> {
        match self {
            Self::DeadLetter => Ok(0),
            Self::Drop => {
                let before = drafts.len();
                drafts.retain(|draft| draft.decoded.is_ok());
                Ok((before - drafts.len()) as u64)
            }
            Self::Fail => match drafts.iter().find_map(|draft| Some((draft.line, draft.decoded.as_ref().err()?))) {
                None => Ok(0),
                Some((line, bad)) => {
                    Err(DoorError::BadRow { table: table.to_owned(), line, message: bad.message.clone() })
                }
            },
        }
    }
}
