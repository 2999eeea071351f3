//! Paths into JSON values: `$.a`, `$['a b']`, `$.list[0]`, `$.list[-1]`, `$.list[*].name`, `$.*`.

use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// A path, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct JsonPath(Vec<Step>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Name(String),
    /// From the end when it is negative.
    Index(i64),
    All,
}

impl JsonPath {
    /// Reads a path, or says what is not understood.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut rest = text.strip_prefix('$').ok_or("it begins with $, the whole value")?;
        let mut steps = Vec::new();
        while !rest.is_empty() {
            let step;
            (step, rest) = match rest.strip_prefix('.') {
                Some(name) => Self::name(name)?,
                None => Self::bracket(rest)?,
            };
            steps.push(step);
        }
        Ok(Self(steps))
    }

    fn name(text: &str) -> Result<(Step, &str), String> {
        let (name, rest) = text.split_at(text.find(['.', '[']).unwrap_or(text.len()));
        match name {
            "" => Err("a name follows a point; any depth (..) is not known here".to_owned()),
            "*" => Ok((Step::All, rest)),
            name => Ok((Step::Name(name.to_owned()), rest)),
        }
    }

    fn bracket(text: &str) -> Result<(Step, &str), String> {
        let not_understood = || format!("'{text}' is not understood: a step is .name, ['name'], [0], [-1], [*] or .*");
        let inner = text.strip_prefix('[').ok_or_else(not_understood)?;
        for quote in ['\'', '"'] {
            if let Some(inner) = inner.strip_prefix(quote) {
                let (name, rest) = inner.split_once(quote).ok_or_else(not_understood)?;
                let rest = rest.strip_prefix(']').ok_or_else(not_understood)?;
                return Ok((Step::Name(name.to_owned()), rest));
            }
        }
        let (index, rest) = inner.split_once(']').ok_or_else(not_understood)?;
        match index {
            "*" => Ok((Step::All, rest)),
            index => Ok((Step::Index(index.parse().map_err(|_| not_understood())?), rest)),
        }
    }

    /// The values at the path, as they stand in the text; those of an object in the order of their names. None when it is no JSON.
    pub(crate) fn find(&self, json: &str) -> Vec<String> {
        let Ok(whole) = serde_json::from_str::<&RawValue>(json.trim()) else { return Vec::new() };
        let mut at = vec![whole];
        for step in &self.0 {
            at = at.into_iter().flat_map(|value| step.of(value)).collect();
        }
        at.into_iter().map(|value| value.get().to_owned()).collect()
    }
}

impl Step {
    fn of<'j>(&self, value: &'j RawValue) -> Vec<&'j RawValue> {
        let object = || serde_json::from_str::<BTreeMap<String, &RawValue>>(value.get()).unwrap_or_default();
        let list = || serde_json::from_str::<Vec<&RawValue>>(value.get()).unwrap_or_default();
        match self {
            Self::Name(name) => object().remove(name).into_iter().collect(),
            Self::All if value.get().starts_with('{') => object().into_values().collect(),
            Self::All => list(),
            Self::Index(index) => {
                let list = list();
                let place = if *index < 0 { index + list.len() as i64 } else { *index };
                usize::try_from(place).ok().and_then(|place| list.get(place).copied()).into_iter().collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, json: &str, expected: Result<&[&str], &str>) {
        let found = JsonPath::parse(path).map(|path| path.find(json));
        let expected = expected.map(|values| values.iter().map(|&value| value.to_owned()).collect());
        assert_eq!(found, expected.map_err(str::to_owned), "{path} in {json}");
    }

    #[test]
    fn paths_lead_to_values() {
        let json = r#"{"a": {"b c": [1, {"d": "x"}, null]}, "e": 2.50}"#;
        check("$", " 5 ", Ok(&["5"]));
        check("$.e", json, Ok(&["2.50"]));
        check("$.a['b c'][1].d", json, Ok(&["\"x\""]));
        check("$.a.*[*]", json, Ok(&["1", r#"{"d": "x"}"#, "null"]));
        check("$.a[\"b c\"][-1]", json, Ok(&["null"]));
        check("$.a[0]", json, Ok(&[]));
        check("$.x.y", json, Ok(&[]));
        check("$.x", "{", Ok(&[]));
        check("a", json, Err("it begins with $, the whole value"));
        check("$..a", json, Err("a name follows a point; any depth (..) is not known here"));
        check("$[a]", json, Err("'[a]' is not understood: a step is .name, ['name'], [0], [-1], [*] or .*"));
    }
}
