//! The native graders: the plain grading library over Arrow columns. They take texts as views, which plain texts become without
//! being copied.

use arrow::array::{
    Array, ArrayRef, AsArray, ByteView, Int64Array, ListArray, StringBuilder, StringViewBuilder, StructArray,
};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, Fields, Int64Type};
use arrow::error::ArrowError;
use chalk_catalog::FunctionIdentity;
use chalk_grading::score_submission_into;
use chalk_udf_host::{Function, Package, content_hash, native};
use std::sync::{Arc, LazyLock};

/// What the loadable graders are built with.
pub(crate) const UDFS_LOCK: &str = include_str!("../../../udfs/Cargo.lock");

/// All native graders.
#[must_use]
pub fn graders() -> Vec<Function> {
    vec![
        text_function(identity("normalise_answer"), chalk_grading::normalise_answer),
        text_function(identity("normalise_answers"), chalk_grading::normalise_answers),
        score_submission(identity("score_submission")),
        score_marks(identity("score_marks")),
        late_factor(identity("late_factor")),
        item_marks(identity("item_marks")),
    ]
}

/// The crates that make the same graders loadable: function, package, `Cargo.toml`, `src/lib.rs`.
macro_rules! loadable {
    ($($function:literal $package:literal),*) => {
        [$((
            $function,
            $package,
            include_str!(concat!("../../../udfs/", $function, "/Cargo.toml")),
            include_str!(concat!("../../../udfs/", $function, "/src/lib.rs")),
        )),*]
    };
}

/// A grader is who its loadable source is, so that it makes no difference to results which of them made them. One that cannot be
/// loaded (its results are no values of Arroyo's interface) is who the grading library is.
fn identity(name: &str) -> FunctionIdentity {
    static HASHES: LazyLock<Vec<(&str, String)>> = LazyLock::new(|| {
        let library = Package::of("chalk-grading", chalk_grading::SOURCES.iter().copied());
        let loadable = loadable!(
            "normalise_answer" "udf-normalise-answer",
            "normalise_answers" "udf-normalise-answers",
            "score_submission" "udf-score-submission",
            "score_marks" "udf-score-marks",
            "late_factor" "udf-late-factor"
        );
        let hash = |package: &Package| {
            let hash = content_hash(package, std::slice::from_ref(&library), UDFS_LOCK);
            hash.expect("the lock file beside the graders has them: a test compares them")
        };
        let mut hashes = vec![("item_marks", hash(&library))];
        for (function, package, manifest, source) in loadable {
            hashes.push((function, hash(&Package::of(package, [("Cargo.toml", manifest), ("src/lib.rs", source)]))));
        }
        hashes
    });
    let hash = HASHES.iter().find(|(function, _)| *function == name).map(|(_, hash)| hash.clone());
    FunctionIdentity { name: name.to_owned(), content_hash: hash.unwrap_or_default() }
}

/// Text to text; NULL to NULL.
fn text_function(identity: FunctionIdentity, function: fn(&str) -> String) -> Function {
    native(identity, vec![DataType::Utf8View], DataType::Utf8, move |arguments| {
        let texts = arguments[0].as_string_view();
        let mut results = StringBuilder::new();
        for text in texts {
            results.append_option(text.map(function));
        }
        Ok(Arc::new(results.finish()) as ArrayRef)
    })
}

/// `score_submission(answers, key)`: one row per submission; NULL when the key cannot be used. All of them stand in one text.
fn score_submission(identity: FunctionIdentity) -> Function {
    native(identity, vec![DataType::Utf8View, DataType::Utf8View], DataType::Utf8View, |arguments| {
        let (answers, keys) = (arguments[0].as_string_view(), arguments[1].as_string_view());
        let mut text = String::new();
        let mut ends = Vec::with_capacity(answers.len());
        for (answers, key) in answers.iter().zip(keys) {
            let scored = answers.zip(key).is_some_and(|(answers, key)| score_submission_into(answers, key, &mut text));
            ends.push(scored.then_some(text.len()));
        }
        let mut scores = StringViewBuilder::with_capacity(ends.len());
        let block = scores.append_block(Buffer::from(text.into_bytes()));
        let mut start = 0;
        for end in ends {
            match end {
                Some(end) => append_part(&mut scores, block, std::mem::replace(&mut start, end), end)?,
                None => scores.append_null(),
            }
        }
        Ok(Arc::new(scores.finish()) as ArrayRef)
    })
}

/// `score_marks(score)`: the array of marks in a score, which is not copied; NULL when it is no score.
fn score_marks(identity: FunctionIdentity) -> Function {
    native(identity, vec![DataType::Utf8View], DataType::Utf8View, |arguments| {
        let scores = arguments[0].as_string_view();
        let mut marks = StringViewBuilder::with_capacity(scores.len());
        let blocks: Vec<u32> = scores.data_buffers().iter().map(|block| marks.append_block(block.clone())).collect();
        for (score, view) in scores.iter().zip(scores.views()) {
            let part = score.and_then(|score| {
                let part = chalk_grading::score_marks(score)?;
                Some((part.as_ptr() as usize - score.as_ptr() as usize, part.len()))
            });
            // No score is so short that it stands in its view.
            let view = ByteView::from(*view);
            match (part, blocks.get(view.buffer_index as usize)) {
                (Some((from, length)), Some(&block)) => {
                    let start = view.offset as usize + from;
                    append_part(&mut marks, block, start, start + length)?;
                }
                _ => marks.append_null(),
            }
        }
        Ok(Arc::new(marks.finish()) as ArrayRef)
    })
}

/// Appends bytes of a block that the builder has.
fn append_part(texts: &mut StringViewBuilder, block: u32, start: usize, end: usize) -> Result<(), ArrowError> {
    let part = |place: usize| u32::try_from(place).map_err(|_| ArrowError::OffsetOverflowError(place));
    texts.try_append_view(block, part(start)?, part(end - start)?)
}

/// `late_factor(received_s, due_s)`: permille.
fn late_factor(identity: FunctionIdentity) -> Function {
    native(identity, vec![DataType::Int64, DataType::Int64], DataType::Int64, |arguments| {
        let (received, due) = (arguments[0].as_primitive::<Int64Type>(), arguments[1].as_primitive::<Int64Type>());
        let factors = received.iter().zip(due).map(|(received, due)| Some(chalk_grading::late_factor(received?, due?)));
        Ok(Arc::new(factors.collect::<Int64Array>()) as ArrayRef)
    })
}

/// `item_marks(marks)`: a list of structs `item`, `mark`, `points` and `max`; NULL when they are no marks. Each is read once,
/// which functions on JSON would do for every field of every item.
fn item_marks(identity: FunctionIdentity) -> Function {
    let fields = Fields::from(vec![
        Field::new("item", DataType::Utf8, false),
        Field::new("mark", DataType::Utf8, false),
        Field::new("points", DataType::Int64, false),
        Field::new("max", DataType::Int64, false),
    ]);
    let element = Arc::new(Field::new_list_field(DataType::Struct(fields.clone()), false));
    let returns = DataType::List(Arc::clone(&element));
    native(identity, vec![DataType::Utf8View], returns, move |arguments| {
        let texts = arguments[0].as_string_view();
        let (mut items, mut kinds) = (StringBuilder::new(), StringBuilder::new());
        let (mut points, mut max) = (Vec::new(), Vec::new());
        let (mut lengths, mut valid) = (Vec::with_capacity(texts.len()), Vec::with_capacity(texts.len()));
        for text in texts {
            let before = points.len();
            let read = text.is_some_and(|text| {
                chalk_grading::for_each_mark(text, |mark| {
                    items.append_value(&mark.item);
                    kinds.append_value(&mark.mark);
                    points.push(mark.points);
                    max.push(mark.max);
                })
            });
            // Values below a NULL are allowed, and nobody sees them.
            lengths.push(points.len() - before);
            valid.push(read);
        }
        let columns: Vec<ArrayRef> = vec![
            Arc::new(items.finish()),
            Arc::new(kinds.finish()),
            Arc::new(Int64Array::from(points)),
            Arc::new(Int64Array::from(max)),
        ];
        let marks = StructArray::try_new(fields.clone(), columns, None)?;
        let lengths = OffsetBuffer::from_lengths(lengths);
        let lists = ListArray::try_new(Arc::clone(&element), lengths, Arc::new(marks), Some(NullBuffer::from(valid)))?;
        Ok(Arc::new(lists) as ArrayRef)
    })
}
