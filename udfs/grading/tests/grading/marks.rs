//! Hand-worked marks, one table per type of question.
//!
//! A line that begins with `key` gives an item without its name; each line under it is
//! `answer | points mark | why`. An answer in double quotes is JSON text, for blanks and controls; `null` is null.

use chalk_grading::Key;

/// Checks every line and reports all that differ at once.
#[track_caller]
fn check(table: &str) {
    let mut key = None;
    let mut wrong = String::new();
    for line in table.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if let Some(item) = line.strip_prefix("key ") {
            let text = format!(r#"{{"floor":-1000000,"items":[{{"item":"q",{item}}}]}}"#);
            key = Some(Key::parse(&text).unwrap_or_else(|error| panic!("{item}: {error}")));
            continue;
        }
        let key = key.as_ref().expect("a table begins with a key");
        let [answer, expected, _why] = columns(line);
        let json = match answer {
            "null" => answer.to_owned(),
            quoted if quoted.starts_with('"') => quoted.to_owned(),
            plain => serde_json::Value::from(plain).to_string(),
        };
        let score = key.score(&format!(r#"[{{"item":"q","answer":{json}}}]"#));
        let mark = score.marks[0];
        let found = format!("{} {}", mark.points, mark.kind.as_str());
        if found != expected || score.points != mark.points {
            wrong += &format!("  {line}\n    but got {found}\n");
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

fn columns(line: &str) -> [&str; 3] {
    let mut parts = line.rsplitn(3, " | ").map(str::trim);
    let (why, expected) = (parts.next(), parts.next());
    let answer = parts.next();
    match (answer, expected, why) {
        (Some(answer), Some(expected), Some(why)) => [answer, expected, why],
        _ => panic!("not `answer | points mark | why`: {line}"),
    }
}

#[test]
fn single() {
    check(
        r#"
        key "kind":"single","points":1000,"penalty":250,"answers":["B"]
        B         | 1000 correct | as in the key
        b         | 1000 correct | case does not count
        Ｂ        | 1000 correct | full width
        ⓑ         | 1000 correct | circled
        (B)       | 1000 correct | brackets do not count
        B.        | 1000 correct | nor a full stop
        " B 、 "  | 1000 correct | nor an enumeration comma and white space
        C         | -250 wrong   | another letter costs the penalty
        AB        | -250 wrong   | two letters are not one
        BB        | -250 wrong   | nor is the right one twice
        В         | -250 wrong   | a Cyrillic Ve is another letter
        .         | -250 wrong   | an answer, though not one that can be right
        null      | 0 blank      | null
        ""        | 0 blank      | empty
        " \u3000\t\u200b" | 0 blank | nothing but white space of all widths

        key "kind":"single","points":500,"answers":["√"]
        ✓         | 500 correct  | ticks are alike
        对        | 500 correct  | and the word
        TRUE      | 500 correct  | case does not count
        ×         | 0 wrong      | a cross, no penalty given
        *         | 0 wrong      | not a cross but a multiplication sign

        key "kind":"single","points":0,"answers":["A"]
        A         | 0 correct    | an item for practice
    "#,
    );
}

#[test]
fn multiple() {
    check(
        r#"
        key "kind":"multiple","points":3000,"penalty":400,"answers":["A","C","D"]
        A,C,D     | 3000 correct | as usual
        acd       | 3000 correct | no dividers
        d c a     | 3000 correct | a set has no order
        A、C、D   | 3000 correct | enumeration commas
        Ａ；Ｃ；Ｄ | 3000 correct | full width
        AACCDD    | 3000 correct | a set has nothing twice
        A,C       | -400 wrong   | without partial credit all or nothing
        A,B,C,D   | -400 wrong   | one too many
        ,         | -400 wrong   | no choice, but not blank
        null      | 0 blank      | nothing

        key "kind":"multiple","points":1000,"penalty":400,"partial":true,"answers":["A","C","D"]
        ACD       | 1000 correct | all
        AC        | 667 partial  | 2/3 of 1000 = 666.67
        A         | 333 partial  | 1/3 of 1000 = 333.33
        ABC       | 333 partial  | (2 right − 1 wrong) / 3
        ACDB      | 667 partial  | (3 − 1) / 3: more than the set is not the set
        AB        | -400 wrong   | 1 − 1 = 0: nothing gained, so it is wrong
        ABBB      | -400 wrong   | a wrong choice counts once
        ABEF      | -400 wrong   | 1 − 3, floored at 0
        ABCDEF    | -400 wrong   | marking everything gains nothing: 3 − 3
        B         | -400 wrong   | none right
        A甲乙乙   | -400 wrong   | 1 − 2, choices need not be ASCII
        " "       | 0 blank      | blank

        key "kind":"multiple","points":1001,"partial":true,"answers":["甲","乙"]
        乙甲      | 1001 correct | all
        甲        | 501 partial  | half of 1001 is 500.5, and half a thousandth rounds up
        甲丙      | 0 wrong      | 1 − 1

        key "kind":"multiple","points":1,"partial":true,"answers":["1","2","3"]
        1         | 0 partial    | a third of a thousandth rounds to nothing and is still partial
        1 2       | 1 partial    | two thirds round up
    "#,
    );
}

#[test]
fn numeric() {
    check(
        r#"
        key "kind":"numeric","points":1500,"penalty":100,"answers":["0.5"]
        0.5       | 1500 correct | as in the key
        .5        | 1500 correct | no leading zero
        0.50000000000000000000000000000000000000000000000 | 1500 correct | zeros at the end do not count
        000000000000000000000000000000000000000000000000.5 | 1500 correct | nor in front
        1/2       | 1500 correct | a fraction
        ½         | 1500 correct | as one sign
        50%       | 1500 correct | per cent
        ５０％     | 1500 correct | full width
        5e-1      | 1500 correct | an exponent
        5×10⁻¹    | 1500 correct | as it is written by hand
        0.25 / .5 | 1500 correct | a fraction of decimals
        0.5000000000000000000001 | -100 wrong | exact means exact
        0.5.      | -100 wrong   | two points
        0,5       | -100 wrong   | a comma divides thousands only
        0.5 cm    | -100 wrong   | a unit
        -0.5      | -100 wrong   | the sign counts
        1/0       | -100 wrong   | not a number
        0/0       | -100 wrong   | not a number
        half      | -100 wrong   | not in figures
        1e99999999999999999999 | -100 wrong | does not fit, and does not crash
        NaN       | -100 wrong   | not a number
        null      | 0 blank      | null

        key "kind":"numeric","points":1000,"answers":["−2"]
        -2        | 1000 correct | the keyboard's minus
        −2        | 1000 correct | the mathematician's
        －２       | 1000 correct | full width
        - 2.0     | 1000 correct | white space after the sign
        -4/2      | 1000 correct | not in lowest terms
        2         | 0 wrong      | the sign counts

        key "kind":"numeric","points":1000,"answers":["1000"]
        1 000     | 1000 correct | blanks between groups of three
        1,000     | 1000 correct | commas
        1，000     | 1000 correct | full width
        1e3       | 1000 correct | an exponent
        1E+3      | 1000 correct | with a sign
        10³       | 1000 correct | a power of ten
        0.01e5    | 1000 correct | both
        10,00     | 0 wrong      | not groups of three
        1,00      | 0 wrong      | not groups of three
        103       | 0 wrong      | not 10³

        key "kind":"numeric","points":1000,"answers":["2 1/2"]
        2½        | 1000 correct | a mixed number
        2 1/2     | 1000 correct | in plain signs
        5/2       | 1000 correct | improper
        2.5       | 1000 correct | a decimal
        21/2      | 0 wrong      | a divider matters

        key "kind":"numeric","points":1000,"answers":["-2 1/2"]
        -2½       | 1000 correct | the sign is the whole number's
        -1.5      | 0 wrong      | not −2 + 1/2

        key "kind":"numeric","points":1000,"answers":["1/3"]
        1/3       | 1000 correct | exact where decimals are not
        2/6       | 1000 correct | the same number
        0.333333333333333333333333333333333333 | 0 wrong | near is not equal
        113427455640312821154458202477256070485/340282366920938463463374607431768211455 | 0 wrong | does not fit 127 bits

        key "kind":"numeric","points":1000,"answers":["0"]
        0         | 1000 correct | nothing
        -0        | 1000 correct | has no sign
        0e99      | 1000 correct | and no size
        0/5       | 1000 correct | nor parts
    "#,
    );
}

#[test]
fn numeric_tolerance() {
    check(
        r#"
        key "kind":"numeric","points":1000,"answers":["3.14"],"tolerance":"0.01"
        3.14      | 1000 correct | the value
        3.13      | 1000 correct | lower boundary
        3.15      | 1000 correct | upper boundary; in binary floating point it is outside
        3.1500000000000000000000000000001 | 0 wrong | just outside, beyond a float's digits
        3.12      | 0 wrong      | outside
        22/7      | 1000 correct | 3.142857…

        key "kind":"numeric","points":1000,"answers":["200"],"tolerance":"1%"
        198       | 1000 correct | lower boundary
        202       | 1000 correct | upper boundary
        197.99    | 0 wrong      | outside
        202.01    | 0 wrong      | outside

        key "kind":"numeric","points":1000,"answers":["-200"],"tolerance":"1％"
        -198      | 1000 correct | of the value's size, whatever its sign
        -202      | 1000 correct | likewise
        -203      | 0 wrong      | outside

        key "kind":"numeric","points":1000,"answers":["1/3"],"tolerance":"1/100"
        103/300   | 1000 correct | 1/3 + 1/100
        97/300    | 1000 correct | 1/3 − 1/100
        0.34333333333333333333333333333333333333 | 1000 correct | products beyond 128 bits, just inside
        0.34333333333333333333333333333333333334 | 0 wrong | and just outside

        key "kind":"numeric","points":1000,"answers":["0"],"tolerance":"10%"
        0         | 1000 correct | a tenth of nothing
        0.0001    | 0 wrong      | is nothing
    "#,
    );
}

#[test]
fn text() {
    check(
        r#"
        key "kind":"text","points":2000,"penalty":1,"answers":["Photosynthesis","光合作用。"]
        photosynthesis    | 2000 correct | case does not count
        Photo synthesis   | 2000 correct | nor white space
        PHOTOSYNTHESIS!!  | 2000 correct | nor punctuation at the end
        光合作用          | 2000 correct | the other wording
        光 合 作 用 ！     | 2000 correct | full-width blanks and marks
        photosynthesis,x  | -1 wrong     | punctuation inside does
        photosynthese     | -1 wrong     | another word
        null              | 0 blank      | null

        key "kind":"text","points":1000,"answers":["?"]
        ？                | 1000 correct | punctuation is all there is
        !                 | 0 wrong      | and then it counts

        key "kind":"text","points":1000,"answers":["don't","Straße","ΟΔΟΣ","H2O","x^2","café"]
        don’t             | 1000 correct | a printer's apostrophe
        STRASSE           | 1000 correct | sharp s in capitals
        οδος              | 1000 correct | a sigma, not final
        οδός              | 0 wrong      | an accent counts
        h₂o               | 1000 correct | subscripts
        X²                | 1000 correct | an exponent
        "cafe\u0301"      | 1000 correct | an accent as a character of its own
        "ca\u200bfé"      | 1000 correct | something invisible inside
        x2                | 0 wrong      | not an exponent
    "#,
    );
}

#[test]
fn ordered() {
    check(
        r#"
        key "kind":"ordered","points":3000,"penalty":500,"answers":["A","C","B"]
        A,C,B     | 3000 correct | as usual
        acb       | 3000 correct | letters need no dividers
        A→C→B     | 3000 correct | arrows
        A -> C -> B | 3000 correct | typed arrows
        A>C>B     | 3000 correct | signs
        A C；B     | 3000 correct | mixed, full width
        (A)(C)(B) | 3000 correct | brackets
        A-C-B     | 3000 correct | strokes
        A,B,C     | -500 wrong   | another order, no partial credit
        A,C       | -500 wrong   | a step is missing
        A,C,B,B   | -500 wrong   | one too many
        →         | -500 wrong   | no step, but not blank
        null      | 0 blank      | null

        key "kind":"ordered","points":1000,"penalty":500,"partial":true,"answers":["1","2","3"]
        123       | 1000 correct | all
        132       | 667 partial  | 1,3 or 1,2: 2 of 3
        321       | 333 partial  | any one
        13        | 667 partial  | two of three, one left out
        2         | 333 partial  | one of three
        1243      | 750 partial  | 1,2,3 in order, but 3 of the 4 given
        123123123 | 333 partial  | repeating everything: 3 of 9
        4         | -500 wrong   | no step in common
        " "       | 0 blank      | blank

        key "kind":"ordered","points":900,"partial":true,"answers":["mix","heat","cool"]
        mix, heat, cool       | 900 correct | as usual
        Mix → Heat → Cool。    | 900 correct | arrows, a full stop
        mix heat cool         | 900 correct | words, since nothing else divides
        mix -> heat => cool   | 900 correct | typed arrows
        mix--> heat ;; cool ; | 900 correct | empty steps do not count
        heat, mix, cool       | 600 partial | 2 of 3
        mixheatcool           | 0 wrong     | not divided
        mix heat, cool        | 300 partial | with a comma, blanks do not divide: cool of 3

        key "kind":"ordered","points":900,"partial":true,"answers":["add water","stir","-5 °C"]
        Add water; stir; −5°C | 900 correct | blanks inside a step do not count
        addwater>stir>-5°C    | 900 correct | nor does leaving them out
        add water stir -5°C   | 0 wrong     | steps with blanks in them need dividers
        stir, add water, -5°C | 600 partial | 2 of 3
    "#,
    );
}
