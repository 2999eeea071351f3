//! What all kinds of event have in common: a place in the schemas and a list of fields. Lines, columns, identities and
//! spoilt copies all follow from that list.

use super::Value;

/// One kind of event.
pub(crate) trait Fact {
    /// Where it stands in the schemas.
    fn kind(&self) -> &'static Kind;

    /// Shows its own fields, in the schema's order.
    fn show(&self, see: See<'_>);
}

/// Who looks at fields.
pub(crate) type See<'a> = &'a mut dyn FnMut(Field<'_>);

/// Where a kind of event stands in the schemas.
#[derive(Debug)]
pub(crate) struct Kind {
    pub(crate) topic: &'static str,
    pub(crate) event_type: &'static str,
    /// The fields that tell it from others of its type and tenant.
    pub(crate) key: &'static [&'static str],
}

/// One field of one event.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Field<'a> {
    pub(crate) name: &'static str,
    pub(crate) cell: Cell<'a>,
    pub(crate) rule: Rule,
}

/// What stands in a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cell<'a> {
    Text(&'a str),
    /// One of a few that the schema lists.
    Word(&'static str),
    Int(i64),
    /// Nanoseconds since 1970.
    Time(i64),
    /// JSON text.
    Json(&'a str),
}

/// What a producer may do with a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    Required,
    /// Required, and it must have been seen in another event.
    Reference,
    /// May be left out when it is this, and is spelt out where the spelling has the bit.
    Default {
        value: Cell<'static>,
        spelt_out: u16,
    },
}

impl Field<'_> {
    /// As [`Field`], but for a value that the schema knows to be something else when it is left out.
    pub(crate) fn or(self, value: Cell<'static>, spelt_out: u16) -> Self {
        Self { rule: Rule::Default { value, spelt_out }, ..self }
    }

    pub(crate) fn referring(self) -> Self {
        Self { rule: Rule::Reference, ..self }
    }
}

pub(crate) fn text<'a>(name: &'static str, value: &'a str) -> Field<'a> {
    Field { name, cell: Cell::Text(value), rule: Rule::Required }
}

pub(crate) fn word(name: &'static str, value: &'static str) -> Field<'static> {
    Field { name, cell: Cell::Word(value), rule: Rule::Required }
}

pub(crate) fn int(name: &'static str, value: i64) -> Field<'static> {
    Field { name, cell: Cell::Int(value), rule: Rule::Required }
}

pub(crate) fn time(name: &'static str, value: i64) -> Field<'static> {
    Field { name, cell: Cell::Time(value), rule: Rule::Required }
}

pub(crate) fn json<'a>(name: &'static str, value: &'a str) -> Field<'a> {
    Field { name, cell: Cell::Json(value), rule: Rule::Required }
}

impl From<Cell<'_>> for Value {
    fn from(cell: Cell<'_>) -> Self {
        match cell {
            Cell::Text(text) | Cell::Word(text) | Cell::Json(text) => Self::Text(text.to_owned()),
            Cell::Int(value) => Self::Int(value),
            Cell::Time(time) => Self::Time(time),
        }
    }
}
