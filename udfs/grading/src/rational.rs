//! Exact numbers as pupils write them.
//!
//! A number is a decimal, a fraction or a mixed number, with an optional sign in front and an optional `%` behind:
//!
//! ```text
//! value    = [+-] ( amount | amount "/" amount | digits " " digits "/" digits ) ["%"]
//! amount   = decimal [ exponent ] | "10^" [+-] digits
//! decimal  = whole [ "." [ digits ] ] | "." digits
//! whole    = digits | groups of three digits divided by "," or by " " (the first has one to three, none is led by 0)
//! exponent = ("e" | "E" | "*10^") [+-] digits
//! ```
//!
//! White space around signs and operators does not count. Divided groups come before mixed numbers: `1 000/3` is a
//! third of a thousand. What does not fit 128 bits, divides by zero or has anything else in it (a unit, a comma as the
//! decimal sign) is not a number.

use std::cmp::Ordering;

/// `num / den`, not necessarily in lowest terms; `den` is positive.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rational {
    num: i128,
    den: i128,
}

impl Rational {
    /// Reads a normalised text.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (text, percent) = match text.strip_suffix('%') {
            Some(rest) => (rest.trim_end(), 100),
            None => (text, 1),
        };
        let (text, sign) = signed(text);
        let size = match text.split_once('/') {
            None => amount(text)?,
            Some((left, right)) => quotient(left.trim_end(), right.trim_start())?,
        };
        Some(Rational { num: size.num.checked_mul(sign)?, den: size.den.checked_mul(percent)? })
    }

    pub(crate) fn is_negative(self) -> bool {
        self.num < 0
    }

    pub(crate) fn abs(self) -> Self {
        Rational { num: self.num.abs(), den: self.den }
    }

    pub(crate) fn checked_add(self, other: Self) -> Option<Self> {
        let (a, b) = (self.reduced(), other.reduced());
        let shared = gcd(a.den, b.den);
        let num = a.num.checked_mul(b.den / shared)?.checked_add(b.num.checked_mul(a.den / shared)?)?;
        Some(Rational { num, den: a.den.checked_mul(b.den / shared)? }.reduced())
    }

    pub(crate) fn checked_sub(self, other: Self) -> Option<Self> {
        self.checked_add(Rational { num: -other.num, den: other.den })
    }

    pub(crate) fn checked_mul(self, other: Self) -> Option<Self> {
        let (a, b) = (self.reduced(), other.reduced());
        let (left, right) = (gcd(a.num, b.den), gcd(b.num, a.den));
        Some(Rational {
            num: (a.num / left).checked_mul(b.num / right)?,
            den: (a.den / right).checked_mul(b.den / left)?,
        })
    }

    fn checked_div(self, other: Self) -> Option<Self> {
        let upside_down = Rational { num: other.den.checked_mul(other.num.signum())?, den: other.num.checked_abs()? };
        (upside_down.den != 0).then_some(())?;
        // Digits that fit are not worth reducing: this is the path of every "3/4" that a pupil writes.
        let plain = self.num.checked_mul(upside_down.num).zip(self.den.checked_mul(upside_down.den));
        plain.map(|(num, den)| Rational { num, den }).or_else(|| self.checked_mul(upside_down))
    }

    fn reduced(self) -> Self {
        let shared = gcd(self.num, self.den);
        Rational { num: self.num / shared, den: self.den / shared }
    }
}

impl PartialEq for Rational {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Rational {}

impl PartialOrd for Rational {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Rational {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self.num.checked_mul(other.den), other.num.checked_mul(self.den)) {
            (Some(left), Some(right)) => left.cmp(&right),
            _ => by_continued_fractions(*self, *other),
        }
    }
}

/// Compares whole parts, then the reciprocals of what is left, and so on; no intermediate outgrows its input.
fn by_continued_fractions(mut a: Rational, mut b: Rational) -> Ordering {
    loop {
        let whole = a.num.div_euclid(a.den).cmp(&b.num.div_euclid(b.den));
        if whole.is_ne() {
            return whole;
        }
        let (a_left, b_left) = (a.num.rem_euclid(a.den), b.num.rem_euclid(b.den));
        if a_left == 0 || b_left == 0 {
            return a_left.cmp(&b_left);
        }
        // a_left / a.den < b_left / b.den exactly when b.den / b_left < a.den / a_left.
        (a, b) = (Rational { num: b.den, den: b_left }, Rational { num: a.den, den: a_left });
    }
}

/// Never 0 as long as one of them is not.
fn gcd(a: i128, b: i128) -> i128 {
    let (mut a, mut b) = (a.abs(), b.abs());
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

fn signed(text: &str) -> (&str, i128) {
    match text.as_bytes().first() {
        Some(b'-') => (text[1..].trim_start(), -1),
        Some(b'+') => (text[1..].trim_start(), 1),
        _ => (text, 1),
    }
}

fn quotient(left: &str, right: &str) -> Option<Rational> {
    let below = amount(right)?;
    if let Some(above) = amount(left) {
        return above.checked_div(below);
    }
    let (whole, above) = left.rsplit_once(' ')?;
    let plain = [whole, above, right].iter().all(|part| is_digits(part));
    plain.then_some(())?;
    amount(whole)?.checked_add(amount(above)?.checked_div(below)?)
}

fn amount(text: &str) -> Option<Rational> {
    if let Some(exponent) = text.strip_prefix("10^") {
        return scaled(1, power(exponent)?);
    }
    let (decimal, exponent) = match text.split_once('*') {
        Some((decimal, ten)) => (decimal.trim_end(), power(ten.trim_start().strip_prefix("10^")?)?),
        None => match text.split_once(['e', 'E']) {
            Some((decimal, exponent)) => (decimal, power(exponent)?),
            None => (text, 0),
        },
    };
    let (mantissa, scale) = mantissa(decimal)?;
    scaled(mantissa, exponent.checked_add(scale)?)
}

fn power(text: &str) -> Option<i64> {
    let (digits, sign) = signed(text);
    // More than nine digits cannot fit whatever comes before them.
    let small = is_digits(digits) && digits.len() <= 9;
    small.then(|| digits.parse::<i64>().ok()).flatten().map(|size| size * sign as i64)
}

/// A decimal as an integer that does not end in 0 and the power of ten that it is to be multiplied by.
fn mantissa(decimal: &str) -> Option<(i128, i64)> {
    let (whole, part) = decimal.split_once('.').unwrap_or((decimal, ""));
    let digits_only = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let some_digit = !(whole.is_empty() && part.is_empty());
    if !some_digit || !digits_only(part) || !(digits_only(whole) || is_grouped(whole)) {
        return None;
    }
    let mut value: i128 = 0;
    // Zeros are held back until a digit follows, so that 1.50000… fits however long it is.
    let mut zeros = 0;
    for byte in whole.bytes().chain(part.bytes()).filter(u8::is_ascii_digit) {
        zeros += 1;
        if byte != b'0' {
            if value != 0 {
                value = value.checked_mul(10_i128.checked_pow(zeros)?)?;
            }
            value = value.checked_add(i128::from(byte - b'0'))?;
            zeros = 0;
        }
    }
    Some((value, i64::from(zeros) - i64::try_from(part.len()).ok()?))
}

fn scaled(value: i128, exponent: i64) -> Option<Rational> {
    if value == 0 {
        return Some(Rational { num: 0, den: 1 });
    }
    let ten = 10_i128.checked_pow(u32::try_from(exponent.unsigned_abs()).ok()?)?;
    if exponent < 0 {
        Some(Rational { num: value, den: ten })
    } else {
        Some(Rational { num: value.checked_mul(ten)?, den: 1 })
    }
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_grouped(whole: &str) -> bool {
    let divider = if whole.contains(',') { ',' } else { ' ' };
    let mut groups = whole.split(divider);
    let first = groups.next().unwrap_or_default();
    let led = is_digits(first) && first.len() <= 3 && !first.starts_with('0');
    led && groups.all(|group| is_digits(group) && group.len() == 3)
}
