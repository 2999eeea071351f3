//! Removing from an answer what depends on the keyboard: width, look-alike signs, invisible characters, white space.
//!
//! ```text
//! " Ｂ "        → "B"           full-width forms, white space around
//! "3×10²"      → "3*10^2"      an exponent stays one: NFKC alone would make it 102
//! "−2½"        → "-2 1/2"      likewise, not 21/2
//! "✓" "对"     → "true"        a tick or cross that is the whole answer
//! "√2"         → "√2"          but not inside one
//! ```
//!
//! Letter case is kept, because what a pupil wrote is shown to the teacher; comparing decides about case.
//! Normalising twice is the same as normalising once.

use std::borrow::Cow;

use unicode_normalization::UnicodeNormalization;

/// `raw` in Unicode normal form KC, with one way to write each of minus, fraction bar, multiplication sign, quote and
/// exponent; without invisible characters; white space trimmed and collapsed to single blanks; and an answer that is
/// only a tick or a cross as `true` or `false`.
#[must_use]
pub fn normalise_answer(raw: &str) -> String {
    normalised(raw).into_owned()
}

/// [`normalise_answer`], borrowing where nothing but the ends changes, as for most answers.
pub(crate) fn normalised(raw: &str) -> Cow<'_, str> {
    let ends_off = raw.trim_matches(|c: char| c.is_whitespace() || is_invisible(c));
    if let Some(verdict) = tick_or_cross(ends_off) {
        return Cow::Borrowed(verdict);
    }
    if is_plain(ends_off) {
        return Cow::Borrowed(ends_off);
    }
    let visible = ends_off.chars().filter(|c| !is_invisible(*c));
    Cow::Owned(single_blanks(KeepApart::new(visible).nfkc().map(one_way_to_write)))
}

/// Printable ASCII, the common Chinese characters and their comma and full stop, with no two blanks in a row, are
/// their own normal form: none of them decomposes or composes with another.
fn is_plain(text: &str) -> bool {
    let mut before = '\0';
    text.chars().all(|c| {
        let plain = matches!(c, '!'..='~' | '\u{4e00}'..='\u{9fff}' | '、' | '。') || (c == ' ' && before != ' ');
        before = c;
        plain
    })
}

fn tick_or_cross(answer: &str) -> Option<&'static str> {
    match answer {
        "✓" | "✔" | "√" | "☑" | "✅" | "对" | "對" | "正确" => Some("true"),
        "✗" | "✘" | "✕" | "✖" | "×" | "☒" | "❌" | "❎" | "错" | "錯" | "错误" => Some("false"),
        _ => None,
    }
}

/// Characters that take no room: zero-width, direction marks, variation selectors (as after an emoji tick), controls.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{e0000}'..='\u{e0fff}')
        || (c.is_control() && !c.is_whitespace())
}

fn is_superscript(c: char) -> bool {
    matches!(c, '²' | '³' | '¹' | '\u{2070}'..='\u{207f}')
}

fn is_vulgar_fraction(c: char) -> bool {
    matches!(c, '¼'..='¾' | '\u{2150}'..='\u{215f}' | '\u{2189}')
}

/// Puts `^` before a run of superscripts and a blank between a digit and a vulgar fraction, since NFKC would run both
/// into the digits before them.
struct KeepApart<I> {
    chars: I,
    before: Option<char>,
    held: Option<char>,
}

impl<I: Iterator<Item = char>> KeepApart<I> {
    fn new(chars: I) -> Self {
        KeepApart { chars, before: None, held: None }
    }
}

impl<I: Iterator<Item = char>> Iterator for KeepApart<I> {
    type Item = char;

    fn next(&mut self) -> Option<char> {
        if let Some(held) = self.held.take() {
            return Some(held);
        }
        let c = self.chars.next()?;
        let before = self.before.replace(c);
        let divider = if is_superscript(c) && !before.is_some_and(|b| b == '^' || is_superscript(b)) {
            '^'
        } else if is_vulgar_fraction(c) && before.is_some_and(char::is_numeric) {
            ' '
        } else {
            return Some(c);
        };
        self.held = Some(c);
        Some(divider)
    }
}

/// Signs that look alike and mean the same, as the one that a plain keyboard has. Applied after NFKC, which has
/// already dealt with full-width and small forms.
fn one_way_to_write(c: char) -> char {
    match c {
        '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{2796}' => '-',
        '\u{2044}' | '\u{2215}' | '÷' | '\u{2797}' => '/',
        '×' | '\u{2217}' | '\u{2219}' | '\u{22c5}' | '✕' | '✖' => '*',
        '\u{2236}' => ':',
        '\u{301c}' | '\u{223c}' => '~',
        '\u{2018}'..='\u{201b}' | '\u{2032}' => '\'',
        '\u{201c}'..='\u{201f}' | '\u{2033}' => '"',
        other => other,
    }
}

fn single_blanks(chars: impl Iterator<Item = char>) -> String {
    let mut out = String::new();
    let mut blank_due = false;
    for c in chars {
        if c.is_whitespace() {
            blank_due = !out.is_empty();
        } else {
            if std::mem::take(&mut blank_due) {
                out.push(' ');
            }
            out.push(c);
        }
    }
    out
}
