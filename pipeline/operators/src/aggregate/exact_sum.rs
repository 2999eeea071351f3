//! Sums of doubles without any rounding until they are read.
//!
//! Every finite double is a whole multiple of 2^−1074, so a sum is an integer of at most some 2,200 bits: a
//! superaccumulator (Kulisch, "Computer Arithmetic and Validity", 2008; Neal, "Fast exact summation using small and large
//! superaccumulators", 2015). Additions therefore commute, a retraction restores exactly what was there before, and the
//! result is rounded once. Only the 64-bit limbs between the smallest and the greatest value seen are kept:
//!
//! ```text
//! add +1e300, +1.0, −1e300     limbs 16 … 33 in use; their value is that of 1.0
//! read                         1.0
//! ```

use crate::state::{NotSavedState, StateReader, put_i64};

const LIMB_BITS: i32 = 64;
/// The bits of a double's significand.
const SIGNIFICAND_BITS: i32 = 53;
/// The greatest biased exponent of a finite double.
const EXPONENT_MAX: i32 = 2046;
/// Bits below 2^−1074 that a mean is computed to, as two limbs. They outweigh any divisor, so that at least 64 significant
/// bits are left to round.
const FRACTION_BITS: i32 = 128;
const FRACTION: [u64; 2] = [0; 2];

/// An exact sum of weighted doubles.
#[derive(Clone, Debug, Default)]
pub(crate) struct ExactSum {
    /// The sum of all weights, so that "no values" is told from 0.
    count: i64,
    /// The limb that `limbs` begins with; limb 0 begins with the bit of 2^−1074.
    low: usize,
    /// Two's complement, least first. The last limb is all sign, so that one addition cannot overflow.
    limbs: Vec<u64>,
    /// Values that are no numbers of the line; rarely there.
    special: Option<Box<Special>>,
}

/// Weights of the values that are kept beside the sum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Special {
    nan: i64,
    infinite: i64,
    minus_infinite: i64,
}

impl ExactSum {
    /// Adds `value` `weight` times.
    pub(crate) fn add(&mut self, value: f64, weight: i64) {
        self.count += weight;
        if value.is_finite() {
            self.add_finite(value, weight);
        } else {
            self.add_special(value, weight);
        }
    }

    /// The sum, rounded to nearest, ties to even; `None` without values.
    pub(crate) fn sum(&self) -> Option<f64> {
        self.read(|magnitude, low, negative| round(magnitude, low, false, negative))
    }

    /// The mean, rounded in the same way, once.
    pub(crate) fn mean(&self) -> Option<f64> {
        self.read(|magnitude, low, negative| {
            let mut quotient = [&FRACTION, magnitude].concat();
            let inexact = divide(&mut quotient, self.count.unsigned_abs());
            round(&quotient, low - FRACTION_BITS, inexact, negative != (self.count < 0))
        })
    }

    /// Appends the sum as it is.
    pub(crate) fn save(&self, out: &mut Vec<u8>) {
        let special = self.special.as_deref().copied().unwrap_or_default();
        for weight in [self.count, special.nan, special.infinite, special.minus_infinite] {
            put_i64(out, weight);
        }
        put_i64(out, self.low as i64);
        put_i64(out, self.limbs.len() as i64);
        self.limbs.iter().for_each(|limb| put_i64(out, limb.cast_signed()));
    }

    /// Reads a sum back.
    pub(crate) fn restore(saved: &mut StateReader<'_>) -> Result<Self, NotSavedState> {
        let count = saved.i64()?;
        let special = Special { nan: saved.i64()?, infinite: saved.i64()?, minus_infinite: saved.i64()? };
        let special = (special != Special::default()).then(|| Box::new(special));
        let low = saved.len()?;
        let limbs = (0..saved.len()?).map(|_| Ok(saved.i64()?.cast_unsigned())).collect::<Result<_, _>>()?;
        Ok(Self { count, low, limbs, special })
    }

    /// Forgets everything but keeps its memory.
    pub(crate) fn clear(&mut self) {
        (self.count, self.low) = (0, 0);
        self.limbs.clear();
        self.special = None;
    }

    fn add_special(&mut self, value: f64, weight: i64) {
        let mut special = self.special.take().unwrap_or_default();
        match value {
            _ if value.is_nan() => special.nan += weight,
            _ if value > 0.0 => special.infinite += weight,
            _ => special.minus_infinite += weight,
        }
        if *special != Special::default() {
            self.special = Some(special);
        }
    }

    fn add_finite(&mut self, value: f64, weight: i64) {
        let (significand, lowest_bit) = parts(value);
        if significand == 0 || weight == 0 {
            return;
        }
        let (first, shift) = (lowest_bit / 64, lowest_bit % 64);
        // 53 bits by 64 bits, moved by at most 63: three limbs.
        let product = u128::from(significand) * u128::from(weight.unsigned_abs());
        let moved = product << shift;
        let carried_out = if shift == 0 { 0 } else { product >> (128 - shift) };
        let addend = [moved as u64, (moved >> 64) as u64, carried_out as u64];
        self.make_room(first, first + addend.len());
        let limbs = &mut self.limbs[first - self.low..];
        if value.is_sign_negative() == (weight < 0) {
            add_limbs(limbs, addend);
        } else {
            subtract_limbs(limbs, addend);
        }
        self.keep_sign_limb();
    }

    /// Makes the limbs from `first` to `end`, and one more for the sign, part of the kept ones.
    fn make_room(&mut self, first: usize, end: usize) {
        if self.limbs.is_empty() {
            self.low = first;
            self.limbs.resize(end - first + 1, 0);
            return;
        }
        if first < self.low {
            self.limbs.splice(0..0, std::iter::repeat_n(0, self.low - first));
            self.low = first;
        }
        let sign = self.sign_limb();
        if self.limbs.len() < end + 1 - self.low {
            self.limbs.resize(end + 1 - self.low, sign);
        }
    }

    fn sign_limb(&self) -> u64 {
        match self.limbs.last() {
            Some(&last) if last >> 63 == 1 => u64::MAX,
            _ => 0,
        }
    }

    fn keep_sign_limb(&mut self) {
        let sign = self.sign_limb();
        if self.limbs.last() != Some(&sign) {
            self.limbs.push(sign);
        }
    }

    /// What `finite` makes of the sum's limbs without their sign, the place of their lowest bit, and the sign.
    fn read(&self, finite: impl FnOnce(&[u64], i32, bool) -> f64) -> Option<f64> {
        if self.count == 0 {
            return None;
        }
        if let Some(special) = &self.special {
            return Some(match (special.nan, special.infinite, special.minus_infinite) {
                (0, _, 0) => f64::INFINITY,
                (0, 0, _) => f64::NEG_INFINITY,
                _ => f64::NAN,
            });
        }
        let negative = self.sign_limb() != 0;
        let low = i32::try_from(self.low).map_or(i32::MAX, |low| low * LIMB_BITS);
        Some(if negative { finite(&negated(&self.limbs), low, true) } else { finite(&self.limbs, low, false) })
    }
}

/// A finite double as an integer and the place of its lowest bit, counted from 2^−1074.
fn parts(value: f64) -> (u64, usize) {
    let bits = value.to_bits();
    let exponent = (bits >> 52) & 0x7ff;
    let fraction = bits & ((1 << 52) - 1);
    match exponent {
        0 => (fraction, 0),
        _ => (fraction | 1 << 52, exponent as usize - 1),
    }
}

fn add_limbs(limbs: &mut [u64], addend: [u64; 3]) {
    let mut carry = false;
    for (index, limb) in limbs.iter_mut().enumerate() {
        let other = addend.get(index).copied().unwrap_or(0);
        if index >= addend.len() && !carry {
            break;
        }
        (*limb, carry) = limb.carrying_add(other, carry);
    }
}

fn subtract_limbs(limbs: &mut [u64], addend: [u64; 3]) {
    let mut borrow = false;
    for (index, limb) in limbs.iter_mut().enumerate() {
        let other = addend.get(index).copied().unwrap_or(0);
        if index >= addend.len() && !borrow {
            break;
        }
        (*limb, borrow) = limb.borrowing_sub(other, borrow);
    }
}

/// The magnitude of a negative number in two's complement.
fn negated(limbs: &[u64]) -> Vec<u64> {
    let mut carry = true;
    limbs
        .iter()
        .map(|&limb| {
            let (sum, carried) = (!limb).overflowing_add(u64::from(carry));
            carry = carried;
            sum
        })
        .collect()
}

/// Divides a magnitude in place; says whether there was a remainder.
fn divide(limbs: &mut [u64], divisor: u64) -> bool {
    let mut remainder = 0_u64;
    for limb in limbs.iter_mut().rev() {
        let dividend = u128::from(remainder) << 64 | u128::from(*limb);
        *limb = (dividend / u128::from(divisor)) as u64;
        remainder = (dividend % u128::from(divisor)) as u64;
    }
    remainder != 0
}

/// The double nearest to a magnitude whose lowest bit stands for 2^(low − 1074); ties go to the even one.
///
/// `inexact` says that the true value is a little greater than the magnitude.
fn round(limbs: &[u64], low: i32, inexact: bool, negative: bool) -> f64 {
    let Some(top) = limbs.iter().rposition(|&limb| limb != 0) else {
        return 0.0;
    };
    let length =
        i32::try_from(top).map_or(i32::MAX, |top| (top + 1) * LIMB_BITS) - limbs[top].leading_zeros().cast_signed();
    // The place, among the doubles' bits, of the last one that the result can hold; subnormal numbers hold fewer.
    let last = (low + length - SIGNIFICAND_BITS).max(0);
    let dropped = last - low;
    let mut significand = bits_from(limbs, dropped);
    let half = dropped > 0 && bit(limbs, dropped - 1);
    let more = inexact || (dropped > 1 && any_below(limbs, dropped - 1));
    if half && (more || significand & 1 == 1) {
        significand += 1;
    }
    // The significand's leading bit adds 1 to the exponent, and so does a carry out of it.
    let magnitude = if last >= EXPONENT_MAX {
        f64::INFINITY
    } else {
        f64::from_bits((u64::from(last.unsigned_abs()) << 52) + significand)
    };
    if negative { -magnitude } else { magnitude }
}

fn bit(limbs: &[u64], place: i32) -> bool {
    let limb = usize::try_from(place / LIMB_BITS).ok().and_then(|index| limbs.get(index));
    limb.is_some_and(|limb| limb >> (place % LIMB_BITS) & 1 == 1)
}

fn any_below(limbs: &[u64], place: i32) -> bool {
    let (whole, rest) = (usize::try_from(place / LIMB_BITS).unwrap_or(0), place % LIMB_BITS);
    limbs.iter().take(whole).any(|&limb| limb != 0)
        || limbs.get(whole).is_some_and(|limb| limb & ((1 << rest) - 1) != 0)
}

/// The (at most 53) bits from a place on; a place before the first bit moves them up.
fn bits_from(limbs: &[u64], place: i32) -> u64 {
    let limb = |index: usize| limbs.get(index).copied().unwrap_or(0);
    let Ok(place) = usize::try_from(place) else {
        return limb(0) << place.unsigned_abs();
    };
    let (index, rest) = (place / 64, place % 64);
    if rest == 0 { limb(index) } else { limb(index) >> rest | limb(index + 1) << (64 - rest) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum_of(values: &[(f64, i64)]) -> ExactSum {
        let mut sum = ExactSum::default();
        for &(value, weight) in values {
            sum.add(value, weight);
        }
        sum
    }

    #[test]
    fn sums_are_exact() {
        for (values, expected) in [
            (vec![], None),
            (vec![1.5], Some(1.5)),
            (vec![0.1, 0.2], Some(0.3_f64.next_up())),
            (vec![1e300, 1.0, -1e300], Some(1.0)),
            (vec![1.0, 1e-300, -1.0], Some(1e-300)),
            (vec![-1.0, 1.0], Some(0.0)),
            (vec![f64::MAX, f64::MAX], Some(f64::INFINITY)),
            (vec![f64::MAX, f64::MAX, -f64::MAX], Some(f64::MAX)),
            (vec![-f64::MAX, -f64::MAX], Some(f64::NEG_INFINITY)),
            (vec![5e-324, 5e-324], Some(1e-323)),
            (vec![f64::MIN_POSITIVE, -5e-324], Some(f64::MIN_POSITIVE.next_down())),
            (vec![f64::INFINITY, 1.0], Some(f64::INFINITY)),
            (vec![f64::NEG_INFINITY, 1.0], Some(f64::NEG_INFINITY)),
            // Halfway between 1 and its successor: to the even one, unless anything at all lies above it.
            (vec![1.0, f64::EPSILON / 2.0], Some(1.0)),
            (vec![1.0, f64::EPSILON / 2.0, 5e-324], Some(1.0 + f64::EPSILON)),
            (vec![1.0 + f64::EPSILON, f64::EPSILON / 2.0], Some(1.0 + 2.0 * f64::EPSILON)),
        ] {
            let weighted: Vec<(f64, i64)> = values.iter().map(|&value| (value, 1)).collect();
            assert_eq!(sum_of(&weighted).sum(), expected, "{values:?}");
        }
        assert!(sum_of(&[(f64::INFINITY, 1), (f64::NEG_INFINITY, 1)]).sum().is_some_and(f64::is_nan));
        assert!(sum_of(&[(f64::NAN, 1), (1.0, 1)]).mean().is_some_and(f64::is_nan));
    }

    #[test]
    fn retraction_restores_the_earlier_sum() {
        assert_eq!(sum_of(&[(0.1, 1), (f64::NAN, 1), (f64::NAN, -1)]).sum(), Some(0.1));
        assert_eq!(sum_of(&[(0.1, 1), (f64::INFINITY, 2), (f64::INFINITY, -2)]).sum(), Some(0.1));
        assert_eq!(sum_of(&[(0.1, 3), (7e200, 5), (7e200, -5), (0.1, -2)]).sum(), Some(0.1));
        assert_eq!(sum_of(&[(0.1, 1), (0.1, -1)]).sum(), None);
    }

    #[test]
    fn means_are_rounded_once() {
        for (values, expected) in [
            (vec![(1.0, 1), (2.0, 1)], 1.5),
            (vec![(1.0, 1), (0.0, 2)], 1.0 / 3.0),
            (vec![(-1.0, 1), (0.0, 2)], -1.0 / 3.0),
            (vec![(0.1, 3)], 0.1),
            (vec![(f64::MAX, 4)], f64::MAX),
            (vec![(5e-324, 1), (0.0, 1)], 0.0),
            (vec![(5e-324, 3), (0.0, 1)], 5e-324),
            (vec![(1.0, 1), (0.0, 9_999_999_999)], 1e-10),
        ] {
            assert_eq!(sum_of(&values).mean(), Some(expected), "{values:?}");
        }
    }

    #[test]
    fn the_order_does_not_matter() {
        let mut state = 7_u64;
        let mut values: Vec<f64> = (0..200)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                f64::from_bits(state)
            })
            .filter(|value| value.is_finite())
            .collect();
        let weighted = |values: &[f64]| values.iter().map(|&value| (value, 1)).collect::<Vec<_>>();
        let forwards = sum_of(&weighted(&values)).sum();
        values.sort_by(f64::total_cmp);
        assert_eq!(sum_of(&weighted(&values)).sum(), forwards);
        let mut back = sum_of(&weighted(&values));
        for &value in &values[1..] {
            back.add(value, -1);
        }
        assert_eq!(back.sum(), Some(values[0]));
    }
}
