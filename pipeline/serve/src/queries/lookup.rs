//! Lookups: the rows of one view whose columns have given values, without planning anything again.
//!
//! A statement of this shape is planned once, by DataFusion like any other. What the plan says is then done directly: the
//! range of the view's rows is read, and filtered, sorted and cut with Arrow's kernels, which are those that DataFusion
//! would use. All else, and every value whose comparison could need a conversion, is planned as usual.
//!
//! ```text
//! SELECT rank, customer FROM board WHERE class = '3A' ORDER BY rank LIMIT 10
//!
//!   = SELECT rank, customer FROM board WHERE class = $1 ORDER BY rank LIMIT 10     planned once
//!     Limit 10 ▸ Sort rank ▸ Projection ▸ Filter class = $1 ▸ TableScan board
//!   = read board from ('3A') on, as long as class is '3A'; sort; take 10          done each time
//! ```

use crate::error::QueryError;
use crate::queries::session::Planned;
use crate::queries::{bytes_of, rows_limit};
use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, Scalar};
use arrow::compute::kernels::cmp;
use arrow::compute::{
    SortColumn, SortOptions, and, concat_batches, filter_record_batch, lexsort_to_indices, take_record_batch,
};
use arrow::datatypes::{DataType, FieldRef, SchemaRef};
use arrow::error::ArrowError;
use chalk_view::{Cursor, Snapshot, ViewError, ViewRows};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::expr::{Placeholder, Sort as SortExpr};
use datafusion::logical_expr::{BinaryExpr, Expr, FetchType, LogicalPlan, Operator, SkipType};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};
use std::fmt::Write as _;
use std::sync::Arc;

/// So many rows are read at once on the thread that serves others, too.
const HERE_ROWS: usize = 1_024;
/// Rows in a batch.
const BATCH_ROWS: usize = 8_192;

/// A planned lookup.
#[derive(Clone, Debug)]
pub(super) struct Lookup {
    view: String,
    /// The view's columns when this was planned.
    of: SchemaRef,
    equal: Vec<(usize, Operand)>,
    sort: Vec<(usize, SortOptions)>,
    skip: usize,
    fetch: Option<usize>,
    /// The view's columns that are given.
    columns: Vec<usize>,
    schema: SchemaRef,
    parameters: Vec<Option<FieldRef>>,
}

/// What a column is compared with.
#[derive(Clone, Debug)]
enum Operand {
    Value(ScalarValue),
    Parameter(usize),
}

/// Why a lookup has no answer.
pub(super) enum NoAnswer {
    /// The view or a value is not as it was planned for: plan the statement as usual.
    Plan,
    Error(QueryError),
}

impl From<ViewError> for NoAnswer {
    fn from(error: ViewError) -> Self {
        Self::Error(QueryError::internal(error.to_string()))
    }
}

impl From<ArrowError> for NoAnswer {
    fn from(error: ArrowError) -> Self {
        Self::Error(QueryError::internal(error.to_string()))
    }
}

impl Lookup {
    /// The lookup that a plan is, if it is one.
    pub(super) fn of(planned: &Planned, snapshot: &Snapshot) -> Option<Self> {
        let mut lookup = Self::compile(&planned.plan, snapshot)?;
        lookup.parameters.clone_from(&planned.parameters);
        (!lookup.equal.is_empty()).then_some(lookup)
    }

    /// The rows of a view whose columns have these values, and `fetch` of them at most.
    pub(super) fn by_columns(view: &ViewRows, equal: Vec<(usize, ScalarValue)>, fetch: Option<usize>) -> Self {
        let equal = equal.into_iter().map(|(column, value)| (column, Operand::Value(value))).collect();
        Self { equal, fetch, ..Self::all(view) }
    }

    fn all(view: &ViewRows) -> Self {
        Self {
            view: view.name().to_owned(),
            of: Arc::clone(view.schema()),
            equal: Vec::new(),
            sort: Vec::new(),
            skip: 0,
            fetch: None,
            columns: (0..view.schema().fields().len()).collect(),
            schema: Arc::clone(view.schema()),
            parameters: Vec::new(),
        }
    }

    fn compile(plan: &LogicalPlan, snapshot: &Snapshot) -> Option<Self> {
        let mut lookup = match plan {
            LogicalPlan::TableScan(scan) => {
                let whole = scan.projection.is_none() && scan.filters.is_empty() && scan.fetch.is_none();
                let view = snapshot.views.get(scan.table_name.table()).filter(|_| whole)?;
                // A topic or a system table may have the name in another schema.
                let same = scan.source.schema() == *view.schema()
                    && scan.table_name.schema().is_none_or(|name| name == crate::tables::SCHEMA);
                return same.then(|| Self::all(view));
            }
            LogicalPlan::SubqueryAlias(alias) => Self::compile(&alias.input, snapshot)?,
            LogicalPlan::Filter(filter) => {
                let mut lookup = Self::compile(&filter.input, snapshot)?;
                let open = lookup.sort.is_empty() && !lookup.is_cut();
                (open && lookup.add_conditions(&filter.predicate, filter.input.schema())).then_some(())?;
                lookup
            }
            LogicalPlan::Projection(projection) => {
                let mut lookup = Self::compile(&projection.input, snapshot)?;
                let column = |expr| lookup.column(expr, projection.input.schema());
                lookup.columns = projection.expr.iter().map(column).collect::<Option<_>>()?;
                lookup
            }
            LogicalPlan::Sort(sort) => {
                let mut lookup = Self::compile(&sort.input, snapshot)?;
                let open = lookup.sort.is_empty() && !lookup.is_cut() && sort.fetch.is_none();
                let key = |SortExpr { expr, asc, nulls_first }: &SortExpr| {
                    let options = SortOptions { descending: !asc, nulls_first: *nulls_first };
                    Some((lookup.column(expr, sort.input.schema())?, options))
                };
                lookup.sort = sort.expr.iter().map(key).collect::<Option<Vec<_>>>().filter(|_| open)?;
                lookup
            }
            LogicalPlan::Limit(limit) => {
                let mut lookup = Self::compile(&limit.input, snapshot)?;
                let (Ok(SkipType::Literal(skip)), Ok(FetchType::Literal(fetch))) =
                    (limit.get_skip_type(), limit.get_fetch_type())
                else {
                    return None;
                };
                (!lookup.is_cut()).then_some(())?;
                (lookup.skip, lookup.fetch) = (skip, fetch);
                lookup
            }
            _ => return None,
        };
        lookup.schema = Arc::new(plan.schema().as_arrow().clone());
        Some(lookup)
    }

    fn is_cut(&self) -> bool {
        self.skip > 0 || self.fetch.is_some()
    }

    /// The view's column that an expression over the plan so far is.
    fn column(&self, expr: &Expr, schema: &DFSchema) -> Option<usize> {
        match expr {
            Expr::Column(column) => self.columns.get(schema.index_of_column(column).ok()?).copied(),
            Expr::Alias(alias) => self.column(&alias.expr, schema),
            _ => None,
        }
    }

    fn add_conditions(&mut self, condition: &Expr, schema: &DFSchema) -> bool {
        let Expr::BinaryExpr(BinaryExpr { left, op, right }) = condition else { return false };
        match op {
            Operator::And => self.add_conditions(left, schema) && self.add_conditions(right, schema),
            Operator::Eq => {
                let operand = |expr: &Expr| match expr {
                    Expr::Literal(value, _) => Some(Operand::Value(value.clone())),
                    Expr::Placeholder(Placeholder { id, .. }) => {
                        Some(Operand::Parameter(id.strip_prefix('$')?.parse::<usize>().ok()?.checked_sub(1)?))
                    }
                    _ => None,
                };
                let (column, operand) = match (operand(left), operand(right)) {
                    (None, Some(operand)) => (self.column(left, schema), operand),
                    (Some(operand), None) => (self.column(right, schema), operand),
                    _ => return false,
                };
                let Some(column) = column.filter(|column| is_indexed(self.of.field(*column).data_type())) else {
                    return false;
                };
                self.equal.push((column, operand));
                true
            }
            _ => false,
        }
    }

    /// The columns of its answers.
    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// `$1`, `$2`, ….
    pub(super) fn parameters(&self) -> &[Option<FieldRef>] {
        &self.parameters
    }

    /// Does it.
    pub(super) async fn answer(
        &self,
        snapshot: &Snapshot,
        values: &[ScalarValue],
        rows_max: usize,
        bytes_max: usize,
    ) -> Result<Vec<RecordBatch>, NoAnswer> {
        let view = snapshot.views.get(&self.view).filter(|view| *view.schema() == self.of).ok_or(NoAnswer::Plan)?;
        let mut wanted: Vec<(usize, ScalarValue)> = Vec::with_capacity(self.equal.len());
        for (column, operand) in &self.equal {
            let value = match operand {
                Operand::Value(value) => value,
                Operand::Parameter(number) => values.get(*number).ok_or(NoAnswer::Plan)?,
            };
            let value = exact(value, self.of.field(*column).data_type()).ok_or(NoAnswer::Plan)?;
            if value.is_null() {
                return Ok(Vec::new()); // nothing equals NULL
            }
            wanted.push((*column, value));
        }
        // Sorted rows may be cut to few.
        let rows_read_max = if self.sort.is_empty() { rows_max } else { usize::MAX };
        let mut reading = Reading::new(view, wanted, self.enough(), rows_read_max, bytes_max)?;
        // Who reads from disk keeps nobody else waiting.
        if view.is_on_disk() || reading.step(HERE_ROWS)? {
            let aside = tokio::task::spawn_blocking(move || {
                while reading.step(BATCH_ROWS)? {}
                Ok::<_, NoAnswer>(reading)
            });
            let joined = aside.await.map_err(|error| NoAnswer::Error(QueryError::internal(error.to_string())))?;
            reading = joined?;
        }
        self.finish(reading.batches, rows_max)
    }

    /// After so many rows none is needed any more.
    fn enough(&self) -> Option<usize> {
        self.fetch.filter(|_| self.sort.is_empty()).map(|fetch| fetch.saturating_add(self.skip))
    }

    fn finish(&self, mut batches: Vec<RecordBatch>, rows_max: usize) -> Result<Vec<RecordBatch>, NoAnswer> {
        if !self.sort.is_empty() && !batches.is_empty() {
            let all = concat_batches(&self.of, &batches)?;
            let key = |(column, options): &(usize, SortOptions)| SortColumn {
                values: Arc::clone(all.column(*column)),
                options: Some(*options),
            };
            let keys: Vec<SortColumn> = self.sort.iter().map(key).collect();
            let order = lexsort_to_indices(&keys, self.fetch.map(|fetch| fetch.saturating_add(self.skip)))?;
            batches = vec![take_record_batch(&all, &order)?];
        }
        let (mut skip, mut left) = (self.skip, self.fetch.unwrap_or(usize::MAX));
        let mut given = Vec::with_capacity(batches.len());
        let mut count = 0;
        for batch in batches {
            let from = skip.min(batch.num_rows());
            let rows = left.min(batch.num_rows() - from);
            (skip, left, count) = (skip - from, left - rows, count + rows);
            if rows > 0 {
                let columns = self.columns.iter().map(|column| batch.column(*column).slice(from, rows)).collect();
                let options = RecordBatchOptions::new().with_row_count(Some(rows));
                given.push(RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?);
            }
        }
        if count > rows_max { Err(NoAnswer::Error(rows_limit(rows_max))) } else { Ok(given) }
    }
}

/// Types whose encoding is equal just when `=` is true.
pub(crate) fn is_indexed(data_type: &DataType) -> bool {
    match data_type {
        DataType::Boolean | DataType::Utf8 | DataType::Date32 | DataType::Timestamp(..) => true,
        data_type => data_type.is_integer(),
    }
}

/// The value in the column's type, where comparing the two means comparing that.
fn exact(value: &ScalarValue, column: &DataType) -> Option<ScalarValue> {
    let of = value.data_type();
    let converts = of == DataType::Null
        || of.is_integer() && column.is_integer()
        || of == DataType::Utf8 && matches!(column, DataType::Date32 | DataType::Timestamp(..));
    if of == *column {
        return Some(value.clone());
    }
    let converted = value.cast_to(column).ok().filter(|_| converts)?;
    (converted.is_null() == value.is_null()).then_some(converted)
}

/// Rows of a view on their way into an answer.
struct Reading {
    view: ViewRows,
    cursor: Cursor,
    /// What is not the first columns' range.
    rest: Vec<(usize, ArrayRef)>,
    enough: Option<usize>,
    rows_max: usize,
    bytes_max: usize,
    batches: Vec<RecordBatch>,
    rows: usize,
    bytes: usize,
}

impl Reading {
    fn new(
        view: &ViewRows,
        mut wanted: Vec<(usize, ScalarValue)>,
        enough: Option<usize>,
        rows_max: usize,
        bytes_max: usize,
    ) -> Result<Self, NoAnswer> {
        let array = |value: &ScalarValue| {
            value.to_array().map_err(|error| NoAnswer::Error(QueryError::internal(error.to_string())))
        };
        let mut prefix = Vec::new();
        let is_next = |(column, value): &(usize, ScalarValue), prefix: &[ArrayRef]| {
            *column == prefix.len() && is_indexed(&value.data_type())
        };
        while let Some(next) = wanted.iter().position(|condition| is_next(condition, &prefix)) {
            prefix.push(array(&wanted.swap_remove(next).1)?);
        }
        let rest =
            wanted.iter().map(|(column, value)| Ok((*column, array(value)?))).collect::<Result<_, NoAnswer>>()?;
        let cursor = view.cursor(&prefix)?;
        let view = view.clone();
        Ok(Self { view, cursor, rest, enough, rows_max, bytes_max, batches: Vec::new(), rows: 0, bytes: 0 })
    }

    /// Reads on; whether there may be more.
    fn step(&mut self, rows: usize) -> Result<bool, NoAnswer> {
        let wanted = self.enough.map_or(usize::MAX, |enough| enough.saturating_sub(self.rows));
        let rows = if self.rest.is_empty() { rows.min(wanted) } else { rows };
        if wanted == 0 {
            return Ok(false);
        }
        let Some(mut batch) = self.view.read(&mut self.cursor, rows)? else { return Ok(false) };
        let last = batch.num_rows() < rows;
        if !self.rest.is_empty() {
            let mut keep: Option<BooleanArray> = None;
            for (column, value) in &self.rest {
                let equal = cmp::eq(batch.column(*column), &Scalar::new(value))?;
                keep = Some(match keep {
                    Some(keep) => and(&keep, &equal)?,
                    None => equal,
                });
            }
            if let Some(keep) = keep {
                batch = filter_record_batch(&batch, &keep)?;
            }
        }
        self.rows += batch.num_rows();
        self.bytes += bytes_of(&batch);
        if self.rows > self.rows_max && self.enough.is_none() {
            return Err(NoAnswer::Error(rows_limit(self.rows_max)));
        }
        if self.bytes > self.bytes_max {
            return Err(NoAnswer::Error(QueryError::memory()));
        }
        if batch.num_rows() > 0 {
            self.batches.push(batch);
        }
        Ok(!last && self.enough.is_none_or(|enough| self.rows < enough))
    }
}

/// A statement's text with `$1`, `$2`, … for the values that it compares with, and these values: statements that differ in
/// nothing else are planned once. `None` when it does not look like a lookup.
pub(super) fn template(tokens: &[TokenWithSpan]) -> Option<(String, Vec<ScalarValue>)> {
    let (mut text, mut values) = (String::new(), Vec::new());
    let (mut selects, mut compares, mut after_equals, mut numbered, mut ended) = (0, false, false, false, false);
    for TokenWithSpan { token, .. } in tokens {
        let is_value = after_equals && !numbered;
        let value = match token {
            Token::Whitespace(_) | Token::EOF => continue,
            _ if ended => return None,
            Token::SemiColon => {
                ended = true;
                continue;
            }
            Token::Word(word) => match word.keyword {
                // A quotation mark within quotation marks would have to be written twice again.
                _ if word.value.contains(['"', '`', ']']) => return None,
                Keyword::SELECT => {
                    selects += 1;
                    None
                }
                Keyword::WITH | Keyword::JOIN | Keyword::UNION | Keyword::GROUP | Keyword::DISTINCT => return None,
                _ => None,
            },
            Token::Placeholder(_) => {
                numbered = true;
                None
            }
            Token::SingleQuotedString(text) if is_value => Some(ScalarValue::from(text.as_str())),
            Token::SingleQuotedString(text) if text.contains('\'') => return None,
            Token::Number(digits, false) if is_value => Some(ScalarValue::from(digits.parse::<i64>().ok()?)),
            Token::Number(_, false) | Token::SingleQuotedString(_) => None,
            Token::Eq | Token::Comma | Token::Period | Token::Mul => None,
            _ => return None,
        };
        if !text.is_empty() {
            text.push(' ');
        }
        match value {
            Some(value) => {
                values.push(value);
                write!(text, "${}", values.len())
            }
            None => write!(text, "{token}"),
        }
        .ok()?;
        after_equals = *token == Token::Eq;
        compares |= after_equals;
    }
    // Numbers for some values and literals for others would not go together.
    (selects == 1 && compares && (!numbered || values.is_empty())).then_some((text, values))
}
