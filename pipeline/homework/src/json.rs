//! JSON by hand, compact: one growing string and no tree, since the generator must outrun what it feeds.

use crate::calendar::write_rfc3339;

/// Appends `value` as a JSON string. Escapes only what JSON demands, as `serde_json` does.
pub(crate) fn write_string(out: &mut String, value: &str) {
    out.push('"');
    if value.bytes().any(|byte| byte < 0x20 || byte == b'"' || byte == b'\\') {
        for letter in value.chars() {
            write_escaped(out, letter);
        }
    } else {
        out.push_str(value);
    }
    out.push('"');
}

fn write_escaped(out: &mut String, letter: char) {
    match letter {
        '"' => out.push_str("\\\""),
        '\\' => out.push_str("\\\\"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\u{8}' => out.push_str("\\b"),
        '\u{c}' => out.push_str("\\f"),
        control if control < ' ' => out.push_str(&format!("\\u{:04x}", control as u32)),
        other => out.push(other),
    }
}

/// Appends a whole number.
pub(crate) fn write_int(out: &mut String, value: i64) {
    if value < 0 {
        out.push('-');
    }
    let mut rest = value.unsigned_abs();
    let mut digits = [0_u8; 20];
    let mut first = digits.len();
    loop {
        first -= 1;
        digits[first] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    for digit in &digits[first..] {
        out.push(char::from(*digit));
    }
}

/// Appends 64 bits as sixteen hexadecimal digits.
pub(crate) fn write_hex(out: &mut String, bits: u64) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    for shift in (0..16).rev() {
        out.push(char::from(HEX[(bits >> (shift * 4)) as usize & 15]));
    }
}

/// One member to be spoilt on the way out: left out, or written as other JSON text.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spoilt<'a> {
    pub(crate) member: &'a str,
    /// `None` leaves the member out.
    pub(crate) instead: Option<&'a str>,
}

/// A JSON object under construction.
#[derive(Debug)]
pub(crate) struct Object<'a> {
    out: String,
    spoilt: Option<Spoilt<'a>>,
}

impl<'a> Object<'a> {
    pub(crate) fn new(capacity_bytes: usize, spoilt: Option<Spoilt<'a>>) -> Self {
        let mut out = String::with_capacity(capacity_bytes);
        out.push('{');
        Self { out, spoilt }
    }

    pub(crate) fn string(&mut self, name: &str, value: &str) {
        self.member(name, |out| write_string(out, value));
    }

    pub(crate) fn int(&mut self, name: &str, value: i64) {
        self.member(name, |out| write_int(out, value));
    }

    pub(crate) fn time(&mut self, name: &str, ns: i64) {
        self.member(name, |out| {
            out.push('"');
            write_rfc3339(out, ns);
            out.push('"');
        });
    }

    /// A member whose value is already JSON text.
    pub(crate) fn json(&mut self, name: &str, text: &str) {
        self.member(name, |out| out.push_str(text));
    }

    /// Whether this member is to be spoilt, and so has to be there.
    pub(crate) fn is_spoilt(&self, name: &str) -> bool {
        self.spoilt.is_some_and(|spoilt| spoilt.member == name)
    }

    pub(crate) fn close(mut self) -> String {
        self.out.push('}');
        self.out
    }

    fn member(&mut self, name: &str, write: impl FnOnce(&mut String)) {
        match self.spoilt {
            Some(Spoilt { member, instead }) if member == name => {
                if let Some(text) = instead {
                    self.name(name);
                    self.out.push_str(text);
                }
            }
            _ => {
                self.name(name);
                write(&mut self.out);
            }
        }
    }

    fn name(&mut self, name: &str) {
        if self.out.len() > 1 {
            self.out.push(',');
        }
        self.out.push('"');
        self.out.push_str(name);
        self.out.push_str("\":");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_escaped_as_serde_json_does() {
        for value in ["", "plain", "Ａ √", "say \"ah\"", "3\\4", "a\tb\nc\r", "\u{1}\u{8}\u{c}\u{1f}\u{7f}", "🙂"]
        {
            let mut out = String::new();
            write_string(&mut out, value);
            assert_eq!(out, serde_json::to_string(value).expect("a string is JSON"));
        }
    }

    #[test]
    fn numbers_are_written_in_decimal() {
        for value in [0, 7, -7, 10, 1_000, i64::MAX, i64::MIN] {
            let mut out = String::new();
            write_int(&mut out, value);
            assert_eq!(out, value.to_string());
        }
    }

    #[test]
    fn bits_are_written_in_hexadecimal() {
        let mut out = String::new();
        write_hex(&mut out, 0x0123_4567_89ab_cdef);
        assert_eq!(out, "0123456789abcdef");
    }

    #[test]
    fn a_spoilt_member_is_left_out_or_replaced() {
        let object = |spoilt| {
            let mut object = Object::new(0, spoilt);
            object.int("a", 1);
            object.string("b", "x");
            object.close()
        };
        assert_eq!(object(None), r#"{"a":1,"b":"x"}"#);
        assert_eq!(object(Some(Spoilt { member: "a", instead: None })), r#"{"b":"x"}"#);
        assert_eq!(object(Some(Spoilt { member: "b", instead: Some("true") })), r#"{"a":1,"b":true}"#);
    }
}
