//! Calling a function: linked natively, loaded in process, and in a worker process.

use crate::Wanted;
use crate::loadable::{Loadable, arguments, call, scalar};
use arrow::array::{Array, ArrayRef, Int64Array, StringArray};
use chalk_udf_host::Loaded;
use datafusion::logical_expr::ScalarUDF;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How the workers of this figure are started: see `main`.
pub(crate) const WORKER: &str = "udf-worker";

/// Rows of a batch: about what an epoch under load has.
const ROWS: usize = 8192;
/// All ways take turns, since the machine is not always as fast; medians of so many turns.
const TURNS: usize = 9;
const TURN: Duration = Duration::from_millis(400);
const ITEMS: usize = 40;

pub(crate) fn run(_: &Wanted) {
    let program = std::env::current_exe().unwrap();
    // …/target/release/deps/figures-HASH
    let mut target = program.ancestors().nth(3).unwrap().as_os_str().to_owned();
    target.push("-udfs");
    let loadable = Loadable::build(&PathBuf::from(target));
    let worker: [OsString; 2] = [program.into_os_string(), WORKER.into()];
    let in_process = loadable.load("isolation = 'in_process'\nworkers = 1", &worker);
    let isolated = loadable.load("workers = 1", &worker);
    let pooled = loadable.load("", &worker);
    let native = chalk_cli::graders();

    println!(
        "udf: batches of {ROWS} rows, one after the other; a submission has {ITEMS} items; workers: one for each core"
    );
    println!("{:<18} {:<11} {:>12} {:>10} {:>16}", "function", "runs", "rows/s", "ns/row", "of in process");
    let times: ArrayRef = Arc::new((0..ROWS as i64).map(|row| 1_700_000_000 + row * 97).collect::<Int64Array>());
    let due: ArrayRef = Arc::new((0..ROWS).map(|_| 1_700_400_000_i64).collect::<Int64Array>());
    let (answers, key) = homework();
    let keys: ArrayRef = Arc::new(StringArray::from(vec![key; ROWS]));
    let scorer = &native.iter().find(|function| function.identity.name == "score_submission").unwrap().udf;
    let scores = call(scorer, &arguments(scorer, &[answers.clone(), keys.clone()]));
    for (name, columns) in
        [("late_factor", vec![times, due]), ("score_marks", vec![scores]), ("score_submission", vec![answers, keys])]
    {
        let native = &native.iter().find(|function| function.identity.name == name).unwrap().udf;
        let of = |loaded: &[Loaded]| loaded.iter().position(|loaded| loaded.identity.name == name).unwrap();
        let ways = [
            ("native", &**native),
            ("in process", scalar(&in_process[of(&in_process)])),
            ("worker", scalar(&isolated[of(&isolated)])),
            ("workers", scalar(&pooled[of(&pooled)])),
        ];
        let turns: Vec<[f64; 4]> = (0..TURNS).map(|_| ways.map(|(_, function)| measured(function, &columns))).collect();
        for (index, (way, _)) in ways.iter().enumerate() {
            let per_second = median(turns.iter().map(|turn| turn[index]));
            let ratio = median(turns.iter().map(|turn| turn[index] / turn[1]));
            println!("{name:<18} {way:<11} {per_second:>12.0} {:>10.1} {ratio:>16.2}", 1e9 / per_second);
        }
    }
    crate::udf_cores::run();
    crate::udf_async::run();
}

pub(crate) fn median(numbers: impl Iterator<Item = f64>) -> f64 {
    let mut numbers: Vec<f64> = numbers.collect();
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}

/// Rows per second.
fn measured(function: &ScalarUDF, columns: &[ArrayRef]) -> f64 {
    let arguments = arguments(function, columns);
    // The first call starts a worker.
    call(function, &arguments);
    let (began, mut rows) = (Instant::now(), 0);
    while began.elapsed() < TURN {
        rows += call(function, &arguments).len();
    }
    rows as f64 / began.elapsed().as_secs_f64()
}

/// Submissions of single choices, some of them wrong, and their key.
fn homework() -> (ArrayRef, String) {
    let letter = |number: usize| ["A", "B", "C", "D"][number % 4];
    let items = (0..ITEMS).map(|item| {
        format!(r#"{{"item":"q{item:02}","kind":"single","points":1000,"penalty":250,"answers":["{}"]}}"#, letter(item))
    });
    let key = format!(r#"{{"items":[{}]}}"#, items.collect::<Vec<_>>().join(","));
    let submission = |row: usize| {
        let answers = (0..ITEMS).map(|item| {
            format!(
                r#"{{"item":"q{item:02}","answer":"{}"}}"#,
                letter(item + usize::from((row * 31 + item * 7).is_multiple_of(5)))
            )
        });
        Some(format!("[{}]", answers.collect::<Vec<_>>().join(",")))
    };
    (Arc::new((0..ROWS).map(submission).collect::<StringArray>()), key)
}
