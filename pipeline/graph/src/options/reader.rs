//! Reading options out of `WITH (…)`: each by name, and none left over.

use super::{Given, OptionError};
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

/// Options of one table, and those that were asked for so far.
pub(super) struct Reader<'a> {
    given: &'a Given,
    pub(super) known: Vec<&'static str>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(given: &'a Given) -> Self {
        Self { given, known: Vec::new() }
    }

    /// What is given, whether it is known or not.
    pub(super) fn given(&self, name: &str) -> Option<&str> {
        self.given.get(name).map(String::as_str)
    }

    pub(super) fn optional(&mut self, name: &'static str) -> Option<String> {
        if !self.known.contains(&name) {
            self.known.push(name);
        }
        self.given.get(name).cloned()
    }

    pub(super) fn required(&mut self, name: &'static str) -> Result<String, OptionError> {
        self.optional(name).ok_or_else(|| refused(name, format!("option '{name}' is missing")))
    }

    /// One of a few words; `None` when nothing is said.
    pub(super) fn one_of<T: Copy>(
        &mut self,
        name: &'static str,
        allowed: &[(&str, T)],
    ) -> Result<Option<T>, OptionError> {
        let Some(value) = self.optional(name) else { return Ok(None) };
        match allowed.iter().find(|(word, _)| *word == value) {
            Some((_, found)) => Ok(Some(*found)),
            None => {
                let words: Vec<&str> = allowed.iter().map(|(word, _)| *word).collect();
                let message = format!("option {name} = '{value}': this build knows {}", words.join(", "));
                Err(refused(name, message).meant(&value, words.into_iter()))
            }
        }
    }

    /// One of a few words; the first when nothing is said.
    pub(super) fn word<T: Copy, const N: usize>(
        &mut self,
        name: &'static str,
        words: [(&str, T); N],
    ) -> Result<T, OptionError> {
        Ok(self.one_of(name, &words)?.unwrap_or(words[0].1))
    }

    /// A number of a range.
    pub(super) fn number<T>(&mut self, name: &'static str, range: RangeInclusive<T>, usual: T) -> Result<T, OptionError>
    where
        T: Copy + PartialOrd + FromStr + Display,
    {
        let Some(text) = self.optional(name) else { return Ok(usual) };
        text.parse().ok().filter(|number| range.contains(number)).ok_or_else(|| {
            refused(name, format!("option {name} = '{text}': a number from {} to {}", range.start(), range.end()))
        })
    }

    pub(super) fn boolean(&mut self, name: &'static str) -> Result<Option<bool>, OptionError> {
        self.one_of(name, &[("true", true), ("false", false)])
    }

    pub(super) fn interval(&mut self, name: &'static str) -> Result<Option<Duration>, OptionError> {
        let Some(text) = self.optional(name) else { return Ok(None) };
        let wrong = || {
            refused(name, format!("option {name} = '{text}': an interval is a number and a unit, such as '10 minutes'"))
        };
        super::parse_interval(&text).map(Some).ok_or_else(wrong)
    }

    /// A positive number; with a fraction, if it likes.
    pub(super) fn rate(&mut self, name: &'static str) -> Result<Option<f64>, OptionError> {
        let Some(text) = self.optional(name) else { return Ok(None) };
        let number = text.parse::<f64>().ok().filter(|number| number.is_finite() && *number > 0.0);
        let wrong = || refused(name, format!("option {name} = '{text}': a number above 0, such as '10'"));
        number.map(Some).ok_or_else(wrong)
    }

    pub(super) fn whole(&mut self, name: &'static str) -> Result<Option<u64>, OptionError> {
        let Some(text) = self.optional(name) else { return Ok(None) };
        let wrong = || refused(name, format!("option {name} = '{text}': a whole number, such as '1000'"));
        text.parse().map(Some).map_err(|_| wrong())
    }

    pub(super) fn finish(self, connector: &str) -> Result<(), OptionError> {
        match self.given.keys().find(|name| !self.known.contains(&name.as_str())) {
            Some(unknown) => {
                let known = self.known.join(", ");
                let message = format!("connector '{connector}' has no option '{unknown}': it knows {known}");
                Err(refused(unknown, message).meant(unknown, self.known.into_iter()))
            }
            None => Ok(()),
        }
    }
}

pub(super) fn refused(option: &str, message: String) -> OptionError {
    OptionError { option: option.to_owned(), message, hint: None }
}
