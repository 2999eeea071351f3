//! Functions of a project: begun, checked, built, listed, and called in SQL.

use crate::program::{Folder, Ran};
use serde_json::Value;

/// A project whose pipeline calls functions over lines of `rows.json`.
fn project(select: &str, rows: &str) -> Folder {
    let folder = Folder::new();
    folder.write(
        "sql/pipeline.sql",
        format!(
            "CREATE TABLE rows (id BIGINT NOT NULL, a TEXT, n BIGINT, x DOUBLE)\n\
             WITH (connector = 'single_file', path = 'rows.json', format = 'json');\n\
             CREATE MATERIALIZED VIEW answers AS\n{select};\n"
        ),
    );
    folder.write("rows.json", rows);
    folder
}

const ROWS: &str = r#"{"id":1,"a":"ink","n":3,"x":0.5}
{"id":2,"a":null,"n":1,"x":1.5}
{"id":3,"a":"Über","n":null,"x":null}
"#;

/// What the view comes to.
fn answers(folder: &Folder) -> String {
    answers_in(folder, "data")
}

fn answers_in(folder: &Folder, data: &str) -> String {
    let ran = folder.chalk(&["run", "--drain", "--data", data]);
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    let query = "SELECT * FROM answers ORDER BY 1";
    folder.chalk(&["query", "--data", data, "-f", "csv", query]).done()
}

fn built(folder: &Folder, path: &str) -> String {
    let ran = folder.building(&["udf", "build", path]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
    ran.out
}

#[test]
fn a_function_is_begun_built_and_called() {
    let folder = project("SELECT id, louder(a) AS loud FROM rows", ROWS);
    let begun = folder.chalk(&["udf", "new", "louder"]).done();
    assert_eq!(begun, "udfs/louder.rs: begun; build it with chalk udf build udfs/louder.rs\n");
    folder.chalk(&["udf", "check"]).check(0, "udfs/louder.rs: louder(text TEXT) → TEXT, scalar\n", "");
    let not_built =
        "error: function 'louder' (udfs/louder.rs) is not built as it is now\n  hint: chalk udf build udfs/louder.rs\n";
    folder.chalk(&["run", "--drain", "--data", "data"]).check(2, "", not_built);

    let out = built(&folder, "udfs");
    let identity = out.strip_prefix("louder(text TEXT) → TEXT  ").expect("a signature").trim().to_owned();
    assert_eq!(answers(&folder), "id,loud\n1,INK\n2,\n3,ÜBER\n", "NULL gives NULL");

    let explained = folder.chalk(&["explain"]).done();
    let loaded = format!("\nloaded functions\n  {identity}  udfs/louder.rs, in a worker process\n");
    assert!(explained.ends_with(&loaded), "{explained}");
    let query = "SELECT udf_version('louder') AS version, louder('quiet') AS loud";
    let asked = folder.chalk(&["query", "--data", "data", "-f", "csv", query]).done();
    assert_eq!(asked, format!("version,loud\n{identity},QUIET\n"));
    let listed: Value =
        serde_json::from_str(&folder.chalk(&["udf", "list", "-f", "json"]).done()).expect("a line of JSON");
    let told = (listed["state"].as_str(), listed["used"][0].as_str());
    assert_eq!(told, (Some("in a worker process"), Some("answers")), "{listed}");

    // Another source is another function: it is built beside the first, which is not lost.
    let first = folder.read("udfs/louder.rs");
    folder.write("udfs/louder.rs", first.replace("text.to_uppercase()", "format!(\"{text}!\")"));
    folder.chalk(&["run", "--drain", "--data", "other"]).check(2, "", not_built);
    let out = built(&folder, "udfs/louder.rs");
    assert!(!out.contains(&identity), "{out}");
    assert_eq!(
        answers(&folder),
        "id,loud\n1,ink!\n2,\n3,Über!\n",
        "the same data, computed by who the function is now"
    );
    folder.write("udfs/louder.rs", first);
    assert_eq!(answers(&folder), "id,loud\n1,INK\n2,\n3,ÜBER\n");

    // Only what was built is loaded.
    let library = format!("udfs/.chalk/builds/{}.so", identity.replace('@', "-"));
    folder.write(&library, "something else");
    let ran = folder.chalk(&["run", "--drain", "--data", "data"]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.err.contains("its bytes are not those that were built"), "{}", ran.err);
}

#[test]
fn every_type_is_taken_and_null_is_seen_where_it_is_wanted() {
    let select = "SELECT id, all_types(arrow_cast(n, 'Int8'), arrow_cast(n, 'Int16'), arrow_cast(n, 'Int32'), n, \
                  arrow_cast(n, 'UInt8'), arrow_cast(n, 'UInt16'), arrow_cast(n, 'UInt32'), arrow_cast(n, 'UInt64'), \
                  arrow_cast(x, 'Float32'), x, a, arrow_cast(a, 'Binary')) AS text FROM rows";
    let folder = project(select, ROWS);
    folder.write(
        "udfs/all_types.rs",
        "/*\n[dependencies]\nunicode-normalization = \"0.1\"\n*/\n\
         use arroyo_udf_plugin::udf;\n\
         use unicode_normalization::UnicodeNormalization;\n\
         #[udf]\n\
         fn all_types(a: i8, b: i16, c: i32, d: i64, e: u8, f: u16, g: u32, h: u64, i: f32, j: Option<f64>, \
         k: Option<&str>, l: Option<&[u8]>) -> Option<String> {\n\
             let sum = a as i64 + b as i64 + c as i64 + d + e as i64 + f as i64 + g as i64 + h as i64;\n\
             let k = k.map(|k| k.nfd().collect::<String>().chars().count());\n\
             Some(format!(\"{sum} {i} {j:?} {k:?} {:?}\", l.map(<[u8]>::len)))\n\
         }\n",
    );
    built(&folder, "udfs/all_types.rs");
    assert!(folder.read("udfs/all_types.lock").contains("name = \"unicode-normalization\""), "its versions are kept");
    let expected = "id,text\n1,24 0.5 Some(0.5) Some(3) Some(3)\n2,8 1.5 Some(1.5) None None\n3,\n";
    assert_eq!(answers(&folder), expected, "the third has NULLs where the function wants none");
    folder.write("udfs/udfs.toml", "[all_types]\nisolation = 'in_process'\n");
    assert_eq!(answers_in(&folder, "trusted"), expected);
}

#[test]
fn an_aggregate_gets_the_values_of_its_group() {
    let select = "SELECT a, middle(n) AS middle, count(*) AS rows FROM rows GROUP BY a";
    let rows = [("x", 5), ("x", 1), ("y", 7), ("x", 9), ("y", 8)];
    let rows: String =
        rows.iter().enumerate().map(|(id, (a, n))| format!("{{\"id\":{id},\"a\":\"{a}\",\"n\":{n}}}\n")).collect();
    let folder = project(select, &format!("{rows}{{\"id\":9,\"a\":\"z\",\"n\":null}}\n"));
    folder.chalk(&["udf", "new", "middle", "--aggregate"]).done();
    built(&folder, "udfs/middle.rs");
    assert_eq!(answers(&folder), "a,middle,rows\nx,5,3\ny,8,2\nz,,1\n");
    // The same over a view that is there, by DataFusion's own aggregation.
    let query = "SELECT middle(rows) AS middle FROM answers";
    assert_eq!(folder.chalk(&["query", "--data", "data", "-f", "csv", query]).done(), "middle\n2\n");
}

#[test]
fn what_does_not_compile_is_said_by_the_compiler() {
    let folder = project("SELECT id, wrong_return(n) AS n FROM rows", ROWS);
    folder.write(
        "udfs/wrong_return.rs",
        "use arroyo_udf_plugin::udf;\n#[udf]\nfn wrong_return(n: i64) -> i64 {\n    \"text\"\n}\n",
    );
    let Ran { code, out, err } = folder.building(&["udf", "build"]);
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(err.contains("error[E0308]: mismatched types"), "{err}");
    assert!(err.contains("udfs/wrong_return.rs:4:5"), "the file where it is: {err}");
    assert!(err.ends_with("error: udfs/wrong_return.rs was not built\n"), "{err}");
}

#[test]
fn mistakes_are_found_without_compiling() {
    let folder = project("SELECT id FROM rows", ROWS);
    folder.write("udfs/truth.rs", "use arroyo_udf_plugin::udf;\n#[udf]\nfn truth(n: i64) -> bool {\n    n > 0\n}\n");
    folder.write("udfs/udfs.toml", "[truth]\nisolation = 'none'\n");
    let said = "error: udfs/truth.rs:3:21: a bool cannot be given: Arroyo's #[udf] does not compile it\n  \
                hint: use u8 with 0 and 1, and compare in SQL\n\
                error: udfs/udfs.toml: [truth] isolation: it is 'process' or 'in_process'\n";
    folder.chalk(&["udf", "check"]).check(1, "", said);
    folder.chalk(&["run", "--drain"]).check(2, "", said.replace("\nerror: ", "\n").as_str());
}

#[test]
fn an_async_function_is_begun_and_called() {
    let folder = project("SELECT id, waiting(a) AS a FROM rows", ROWS);
    folder.chalk(&["udf", "new", "waiting", "--async"]).done();
    folder.chalk(&["udf", "check"]).check(0, "udfs/waiting.rs: waiting(text TEXT) → TEXT, async\n", "");
    built(&folder, "udfs");
    assert_eq!(answers(&folder), "id,a\n1,INK\n2,\n3,ÜBER\n", "NULL gives NULL");
}
