//! The form in which two answers are compared: case folded, white space gone.
//!
//! Case is folded by going to upper case and back, character by character: that also joins `ß` with `SS` and the two
//! lower-case sigmas, which lower-casing alone would keep apart.

/// The comparable form of a normalised text.
pub(crate) fn folded(text: &str) -> String {
    folded_chars(text).collect()
}

/// Whether a normalised text has the comparable form `form`. Allocates nothing.
pub(crate) fn has_form(text: &str, form: &str) -> bool {
    if text.is_ascii() {
        // The only white space that normalising leaves is the blank.
        text.bytes().filter(|byte| *byte != b' ').map(|byte| byte.to_ascii_lowercase()).eq(form.bytes())
    } else {
        folded_chars(text).eq(form.chars())
    }
}

pub(crate) fn folded_chars(text: &str) -> impl Iterator<Item = char> + '_ {
    text.chars().filter(|c| !c.is_whitespace()).flat_map(fold)
}

/// Most characters of answers need no look at Unicode's tables: ASCII, and from U+3000 to U+9FFF, where Chinese and
/// Japanese are, no character has a case.
fn fold(c: char) -> impl Iterator<Item = char> {
    let plain = match c {
        '\0'..='\x7f' => Some(c.to_ascii_lowercase()),
        '\u{3000}'..='\u{9fff}' => Some(c),
        _ => None,
    };
    let cased = plain.is_none().then(|| c.to_uppercase().flat_map(char::to_lowercase));
    plain.into_iter().chain(cased.into_iter().flatten())
}

/// `text` without white space and the marks of a finished sentence at its end; unless those are all there is, as in
/// the answer to "which mark ends a question?".
pub(crate) fn without_full_stop(text: &str) -> &str {
    or_all(text, text.trim_end_matches(|c: char| c.is_whitespace() || is_stop(c)))
}

/// `text` without brackets around it or stops after it: `(B)`, `B.`, `B、` are all `B`.
pub(crate) fn without_enumeration(text: &str) -> &str {
    let opened = text.trim_start_matches(|c: char| c.is_whitespace() || "([{<【「".contains(c));
    or_all(text, opened.trim_end_matches(|c: char| c.is_whitespace() || is_stop(c) || ")]}>】」".contains(c)))
}

fn is_stop(c: char) -> bool {
    ".,;:!?~。、".contains(c)
}

fn or_all<'a>(all: &'a str, part: &'a str) -> &'a str {
    if part.is_empty() { all } else { part }
}
