//! Normal forms of answers.

use chalk_grading::normalise_answer;
use unicode_normalization::UnicodeNormalization;

#[track_caller]
fn check(pairs: &[(&str, &str)]) {
    for (raw, expected) in pairs {
        assert_eq!(normalise_answer(raw), *expected, "{raw:?}");
        assert_eq!(normalise_answer(expected), *expected, "twice: {raw:?}");
    }
}

#[test]
fn width_and_white_space() {
    check(&[
        ("", ""),
        (" \t\u{3000}\u{200b}\n", ""),
        ("B", "B"),
        ("b", "b"),
        ("  a  b ", "a b"),
        ("a\u{3000}b\u{a0}c\nd", "a b c d"),
        ("Ａ，Ｃ", "A,C"),
        ("ｱ", "ア"),
        ("①", "1"),
        ("３．１５", "3.15"),
        ("e\u{200b}\u{301}", "é"),
        ("\u{feff}x\u{7f}y", "xy"),
        ("H₂O", "H2O"),
        ("光合作用。", "光合作用。"),
    ]);
}

#[test]
fn signs() {
    check(&[
        ("−2", "-2"),
        ("－２", "-2"),
        ("1–2", "1-2"),
        ("½", "1/2"),
        ("2½", "2 1/2"),
        ("２½", "2 1/2"),
        ("−½", "-1/2"),
        ("1⁄2", "1/2"),
        ("6÷2", "6/2"),
        ("3×4", "3*4"),
        ("3⋅4", "3*4"),
        ("10²", "10^2"),
        ("10⁻¹²", "10^-12"),
        ("x^²", "x^2"),
        ("3∶2", "3:2"),
        ("don’t “say”", "don't \"say\""),
        ("A→B", "A→B"),
        ("50％", "50%"),
    ]);
}

#[test]
fn ticks_and_crosses() {
    check(&[
        ("✓", "true"),
        (" ✔\u{fe0f} ", "true"),
        ("√", "true"),
        ("对", "true"),
        ("✗", "false"),
        ("✘", "false"),
        ("×", "false"),
        ("错", "false"),
        ("√2", "√2"),
        ("对错", "对错"),
        ("x", "x"),
        ("*", "*"),
    ]);
}

/// The characters that are taken for their own normal form, or for caseless, without a look at Unicode's tables.
#[test]
fn common_chinese_is_plain() {
    for c in '\u{3000}'..='\u{9fff}' {
        assert!(c.to_uppercase().eq([c]) && c.to_lowercase().eq([c]), "U+{:04X}", u32::from(c));
    }
    for c in ('\u{4e00}'..='\u{9fff}').chain(['、', '。']) {
        let between = format!("a{c}\u{301}{c}");
        assert!(between.nfkc().eq(between.chars()), "U+{:04X}", u32::from(c));
    }
}

/// Every character there is, alone and between others that it might combine with.
#[test]
fn normalising_twice_changes_nothing() {
    for c in (0..=u32::from(char::MAX)).filter_map(char::from_u32) {
        for raw in [format!("{c}"), format!("e{c}\u{301}= {c}1")] {
            let once = normalise_answer(&raw);
            assert_eq!(normalise_answer(&once), once, "U+{:04X} in {raw:?}", u32::from(c));
        }
    }
}
