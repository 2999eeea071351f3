//! What a function's source says of it: name, arguments, result, kind. There is nothing of this in a compiled library.
//!
//! The rules are Arroyo's, and what its `#[udf]` would not compile is refused here, where it can be explained.

use crate::value::{Value, ValueType};
use proc_macro2::Span;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;
use syn::spanned::Spanned;
use syn::{
    Attribute, Expr, ExprLit, FnArg, GenericArgument, Item, ItemFn, Lit, Meta, Pat, PathArguments, ReturnType, Type,
};

/// A function as its source declares it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Declaration {
    /// Its name in SQL.
    pub name: String,
    /// What it takes; at least one.
    pub arguments: Vec<Argument>,
    /// What it gives.
    pub returns: Value,
    /// How it is called.
    pub kind: Kind,
}

/// One argument.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Argument {
    /// Its name in the source.
    pub name: String,
    /// What it is; for an aggregate, what the elements of its `Vec` are.
    #[serde(flatten)]
    pub value: Value,
}

/// How a function is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Once per row.
    Scalar,
    /// Once per group, with all its values: every argument is a `Vec`.
    Aggregate,
    /// Once per row, many at a time; its answer depends on more than its arguments.
    Async(AsyncOptions),
}

/// Options of an async function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct AsyncOptions {
    /// Whether results come in the order of the rows.
    pub ordered: bool,
    /// How many rows may be in flight.
    pub allowed_in_flight: u32,
    /// How long one row may take.
    pub timeout: Duration,
}

impl Default for AsyncOptions {
    /// Arroyo's.
    fn default() -> Self {
        Self { ordered: false, allowed_in_flight: 1000, timeout: Duration::from_secs(5) }
    }
}

/// A source that declares no function which can be called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeclarationError {
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl DeclarationError {
    fn at(span: Span, message: impl Into<String>) -> Self {
        let start = span.start();
        Self { line: start.line, column: start.column + 1, message: message.into(), hint: None }
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl From<syn::Error> for DeclarationError {
    fn from(error: syn::Error) -> Self {
        Self::at(error.span(), error.to_string())
    }
}

impl fmt::Display for Declaration {
    /// `name(argument TYPE, …) → TYPE`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let arguments: Vec<String> =
            self.arguments.iter().map(|argument| format!("{} {}", argument.name, argument.value)).collect();
        write!(f, "{}({}) → {}", self.name, arguments.join(", "), self.returns)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scalar => "scalar",
            Self::Aggregate => "aggregate",
            Self::Async(options) if options.ordered => "async, ordered",
            Self::Async(_) => "async",
        })
    }
}

impl Declaration {
    /// Whether SQL that was planned with the one can call the other: types and the kind of call are the same.
    #[must_use]
    pub fn is_called_as(&self, other: &Self) -> bool {
        let types = |declaration: &Self| -> Vec<ValueType> {
            let arguments = declaration.arguments.iter().map(|argument| argument.value.value_type);
            arguments.chain([declaration.returns.value_type]).collect()
        };
        types(self) == types(other) && std::mem::discriminant(&self.kind) == std::mem::discriminant(&other.kind)
    }

    /// Reads it from the text of a source.
    ///
    /// # Errors
    /// When the text is not Rust, does not have exactly one `#[udf]` function, or that function is one which Arroyo's interface
    /// cannot pass on.
    pub fn read(source: &str) -> Result<Self, DeclarationError> {
        let file = syn::parse_file(source)?;
        let mut functions = file.items.iter().filter_map(|item| match item {
            Item::Fn(function) => Some((function, function.attrs.iter().find(|attribute| is_udf(attribute))?)),
            _ => None,
        });
        let (function, attribute) = functions.next().ok_or_else(|| {
            DeclarationError::at(Span::call_site(), "there is no #[udf] function")
                .hint("write `use arroyo_udf_plugin::udf;` and put #[udf] above the function")
        })?;
        if let Some((second, _)) = functions.next() {
            return Err(DeclarationError::at(second.sig.ident.span(), "there is more than one #[udf] function")
                .hint("a library has one: give this one a file of its own"));
        }
        Self::of(function, attribute)
    }

    fn of(function: &ItemFn, attribute: &Attribute) -> Result<Self, DeclarationError> {
        let signature = &function.sig;
        let name = signature.ident.to_string();
        if name.chars().any(char::is_uppercase) {
            return Err(DeclarationError::at(signature.ident.span(), format!("'{name}' has capital letters"))
                .hint("SQL makes names small: name it in small letters"));
        }
        if let Some(generic) = signature.generics.params.first() {
            return Err(DeclarationError::at(generic.span(), format!("'{name}' is generic")).hint("name its types"));
        }
        let is_async = signature.asyncness.is_some();
        let mut arguments = Vec::new();
        let mut lists = 0;
        for input in &signature.inputs {
            let FnArg::Typed(typed) = input else {
                return Err(DeclarationError::at(input.span(), "a UDF has no self"));
            };
            let argument = match &*typed.pat {
                Pat::Ident(ident) => ident.ident.to_string(),
                _ => format!("_{}", arguments.len()),
            };
            let (element, is_list) = match generic_argument(&typed.ty, "Vec") {
                Some(element) => (element, true),
                None => (&*typed.ty, false),
            };
            lists += usize::from(is_list);
            let value = argument_value(element, is_list)?;
            arguments.push(Argument { name: argument, value });
        }
        if arguments.is_empty() {
            return Err(DeclarationError::at(signature.ident.span(), format!("'{name}' takes no arguments"))
                .hint("how many results are wanted is known from an argument's rows: give it one"));
        }
        let ReturnType::Type(_, returned) = &signature.output else {
            return Err(DeclarationError::at(signature.ident.span(), format!("'{name}' returns nothing")));
        };
        let returns = returned_value(returned, is_async)?;
        let kind = match (is_async, lists) {
            (true, 0) => Kind::Async(async_options(attribute)?),
            (true, _) => {
                return Err(DeclarationError::at(signature.ident.span(), "aggregates cannot be async"));
            }
            (false, 0) => Kind::Scalar,
            (false, lists) if lists == arguments.len() => Kind::Aggregate,
            (false, _) => {
                return Err(DeclarationError::at(signature.ident.span(), "some arguments are Vecs and some are not")
                    .hint("of an aggregate every argument is a Vec<T>; of any other function none is"));
            }
        };
        if let (false, Meta::List(list)) = (is_async, &attribute.meta) {
            return Err(DeclarationError::at(list.span(), "#[udf] takes options for async functions alone"));
        }
        Ok(Self { name, arguments, returns, kind })
    }
}

fn is_udf(attribute: &Attribute) -> bool {
    attribute.path().segments.last().is_some_and(|last| last.ident == "udf")
}

/// `T` of `Wrapper<T>`.
fn generic_argument<'t>(of: &'t Type, wrapper: &str) -> Option<&'t Type> {
    let Type::Path(path) = of else { return None };
    let last = path.path.segments.last().filter(|last| last.ident == wrapper)?;
    let PathArguments::AngleBracketed(arguments) = &last.arguments else { return None };
    match arguments.args.first() {
        Some(GenericArgument::Type(inner)) => Some(inner),
        _ => None,
    }
}

/// The name of a type that is one word.
fn word(of: &Type) -> Option<String> {
    match of {
        Type::Path(path) => path.path.get_ident().map(ToString::to_string),
        _ => None,
    }
}

fn is_slice_of_u8(of: &Type) -> bool {
    matches!(of, Type::Slice(slice) if word(&slice.elem).as_deref() == Some("u8"))
}

const TYPES: &str =
    "i8 to i64, u8 to u64, f32, f64, text (&str in, String out), bytes (&[u8] in, Vec<u8> out), and Option of each";

fn argument_value(of: &Type, is_list: bool) -> Result<Value, DeclarationError> {
    let (inner, nullable) = match generic_argument(of, "Option") {
        Some(inner) => (inner, true),
        None => (of, false),
    };
    let value_type = match inner {
        Type::Reference(reference) if word(&reference.elem).as_deref() == Some("str") => Some(ValueType::Text),
        Type::Reference(reference) if is_slice_of_u8(&reference.elem) => Some(ValueType::Bytes),
        other => word(other).and_then(|word| ValueType::number(&word)),
    };
    match value_type {
        Some(ValueType::Text | ValueType::Bytes) if is_list => Err(DeclarationError::at(
            of.span(),
            "an aggregate takes numbers only: Arroyo's #[udf] does not compile others",
        )),
        Some(value_type) => Ok(Value { value_type, nullable }),
        None => Err(unknown(inner, "taken")),
    }
}

fn returned_value(of: &Type, is_async: bool) -> Result<Value, DeclarationError> {
    let (inner, nullable) = match generic_argument(of, "Option") {
        Some(inner) => (inner, true),
        None => (of, false),
    };
    let value_type = match (word(inner).as_deref(), generic_argument(inner, "Vec")) {
        (Some("String"), _) => Some(ValueType::Text),
        (Some(number), _) => ValueType::number(number),
        (None, Some(element)) if word(element).as_deref() == Some("u8") => Some(ValueType::Bytes),
        _ => None,
    };
    let small = [ValueType::I8, ValueType::I16, ValueType::U8, ValueType::U16];
    match value_type {
        Some(small_one) if is_async && small.contains(&small_one) => Err(DeclarationError::at(
            of.span(),
            "an async function cannot give so small a number: Arroyo's #[udf] does not compile it",
        )
        .hint("give i32, i64, u32 or u64")),
        Some(value_type) => Ok(Value { value_type, nullable }),
        None => Err(unknown(inner, "given")),
    }
}

fn unknown(of: &Type, what: &str) -> DeclarationError {
    if word(of).as_deref() == Some("bool") {
        let message = format!("a bool cannot be {what}: Arroyo's #[udf] does not compile it");
        return DeclarationError::at(of.span(), message).hint("use u8 with 0 and 1, and compare in SQL");
    }
    DeclarationError::at(of.span(), format!("this type cannot be {what}")).hint(format!("types are {TYPES}"))
}

fn async_options(attribute: &Attribute) -> Result<AsyncOptions, DeclarationError> {
    let mut options = AsyncOptions::default();
    if matches!(attribute.meta, Meta::Path(_)) {
        return Ok(options);
    }
    attribute.parse_nested_meta(|meta| {
        let value = |what: &str| -> syn::Result<Lit> {
            match meta.value()?.parse()? {
                Expr::Lit(ExprLit { lit, .. }) => Ok(lit),
                _ => Err(meta.error(format!("{what} is not written out"))),
            }
        };
        if meta.path.is_ident("ordered") {
            options.ordered = true;
        } else if meta.path.is_ident("unordered") {
            options.ordered = false;
        } else if meta.path.is_ident("allowed_in_flight") {
            let Lit::Int(number) = value("allowed_in_flight")? else {
                return Err(meta.error("allowed_in_flight is a whole number"));
            };
            options.allowed_in_flight = number.base10_parse()?;
            if options.allowed_in_flight == 0 {
                return Err(meta.error("allowed_in_flight is at least 1: with none, nothing would ever be called"));
            }
        } else if meta.path.is_ident("timeout") {
            let text = value("timeout")?;
            let parsed = match &text {
                Lit::Str(text) => duration(&text.value()),
                _ => None,
            };
            options.timeout =
                parsed.ok_or_else(|| meta.error("timeout is a text such as \"500ms\", \"5s\" or \"1m\""))?;
        } else {
            return Err(meta.error("options are ordered, unordered, allowed_in_flight = 1000 and timeout = \"5s\""));
        }
        Ok(())
    })?;
    Ok(options)
}

/// A whole number and a unit, as Arroyo writes them.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let digits = text.find(|letter: char| !letter.is_ascii_digit())?;
    let number: u64 = text[..digits].parse().ok()?;
    let seconds = |each: u64| number.checked_mul(each).map(Duration::from_secs);
    match text[digits..].trim_start() {
        "ns" | "nanos" => Some(Duration::from_nanos(number)),
        "µs" | "micros" => Some(Duration::from_micros(number)),
        "ms" | "millis" => Some(Duration::from_millis(number)),
        "s" | "secs" | "seconds" => seconds(1),
        "m" | "mins" | "minutes" => seconds(60),
        "h" | "hrs" | "hours" => seconds(3600),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(source: &str) -> String {
        match Declaration::read(source) {
            Ok(declaration) => {
                let wants: String = declaration
                    .arguments
                    .iter()
                    .map(|argument| if argument.value.nullable { '?' } else { '!' })
                    .collect();
                let gives = if declaration.returns.nullable { '?' } else { '!' };
                format!("{declaration} {wants}{gives} {}", declaration.kind)
            }
            Err(error) => format!("{}:{}: {}", error.line, error.column, error.message),
        }
    }

    #[test]
    fn functions_of_each_kind_are_read() {
        assert_eq!(
            shown("#[udf]\nfn f(a: &str, b: Option<&[u8]>, c: Option<u16>) -> Option<Vec<u8>> { None }"),
            "f(a TEXT, b BYTEA, c SMALLINT UNSIGNED) → BYTEA !??? scalar"
        );
        assert_eq!(
            shown("#[arroyo_udf_plugin::udf]\npub fn f(a: Vec<f64>, b: Vec<Option<u8>>) -> String { x() }"),
            "f(a DOUBLE, b TINYINT UNSIGNED) → TEXT !?! aggregate"
        );
        assert_eq!(shown("#[udf(ordered)] async fn f(a: i8) -> i64 { 1 }"), "f(a TINYINT) → BIGINT !! async, ordered");
    }

    #[test]
    fn numbers_of_each_size_are_read() {
        for name in ["i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64", "f32", "f64"] {
            let declaration =
                Declaration::read(&format!("#[udf] fn f(a: {name}) -> {name} {{ a }}")).expect("a function");
            assert_eq!(Some(declaration.returns.value_type), ValueType::number(name));
            assert_eq!(declaration.arguments[0].value, declaration.returns);
        }
    }

    #[test]
    fn options_of_async_functions_are_read() {
        let kind = |options: &str| {
            let source = format!("#[udf{options}]\nasync fn f(a: i64) -> i64 {{ a }}");
            Declaration::read(&source).map(|declaration| declaration.kind).map_err(|error| error.message)
        };
        assert_eq!(kind(""), Ok(Kind::Async(AsyncOptions::default())));
        let options = AsyncOptions { ordered: true, allowed_in_flight: 7, timeout: Duration::from_millis(20) };
        assert_eq!(kind("(ordered, allowed_in_flight = 7, timeout = \"20ms\")"), Ok(Kind::Async(options)));
        assert!(kind("(timeout = \"5 years\")").is_err_and(|message| message.contains("such as")));
        assert!(kind("(allowed_in_flight = 0)").is_err_and(|message| message.contains("at least 1")));
        assert!(kind("(quick)").is_err_and(|message| message.contains("options are")));
    }

    #[test]
    fn what_does_not_compile_is_explained_and_found() {
        let cases = [
            ("fn f(a: i64) -> i64 { a }", "1:1: there is no #[udf] function"),
            (
                "#[udf] fn f(a: i64) -> i64 { a }\n#[udf] fn g(a: i64) -> i64 { a }",
                "2:11: there is more than one #[udf] function",
            ),
            ("#[udf] fn f() -> i64 { 1 }", "1:11: 'f' takes no arguments"),
            ("#[udf] fn f(a: bool) -> i64 { 1 }", "1:16: a bool cannot be taken: Arroyo's #[udf] does not compile it"),
            (
                "#[udf] fn f(a: i64) -> bool { true }",
                "1:24: a bool cannot be given: Arroyo's #[udf] does not compile it",
            ),
            ("#[udf] fn f(a: String) -> i64 { 1 }", "1:16: this type cannot be taken"),
            ("#[udf] fn f(a: i64) -> &'static str { \"\" }", "1:24: this type cannot be given"),
            (
                "#[udf] fn f(a: Vec<&str>) -> i64 { 1 }",
                "1:20: an aggregate takes numbers only: Arroyo's #[udf] does not compile others",
            ),
            ("#[udf] fn f(a: Vec<i64>, b: i64) -> i64 { 1 }", "1:11: some arguments are Vecs and some are not"),
            (
                "#[udf] async fn f(a: i64) -> i8 { 1 }",
                "1:30: an async function cannot give so small a number: Arroyo's #[udf] does not compile it",
            ),
            ("#[udf] async fn f(a: Vec<i64>) -> i64 { 1 }", "1:17: aggregates cannot be async"),
            ("#[udf] fn Loud(a: i64) -> i64 { 1 }", "1:11: 'Loud' has capital letters"),
            ("#[udf(ordered)] fn f(a: i64) -> i64 { 1 }", "1:3: #[udf] takes options for async functions alone"),
            ("#[udf] fn f<T>(a: i64) -> i64 { 1 }", "1:13: 'f' is generic"),
            ("#[udf] fn f(a: i64) { }", "1:11: 'f' returns nothing"),
        ];
        for (source, error) in cases {
            assert_eq!(shown(source), error, "{source}");
        }
    }

    #[test]
    fn text_that_is_no_rust_is_found() {
        assert!(shown("#[udf]\nfn f(a: i64) -> i64 {").starts_with("2:"), "{}", shown("#[udf]\nfn f(a: i64) -> i64 {"));
    }
}
