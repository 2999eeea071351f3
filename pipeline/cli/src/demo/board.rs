//! A live class leaderboard in the terminal.

use crate::demo::feed::Progress;
use chalk_serve::{Format, Queries, write};
use indicatif::{ProgressBar, ProgressStyle};
use std::cell::Cell;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// The board is asked for no more often than this.
const EVERY: Duration = Duration::from_millis(200);

/// A progress bar with a board below it.
pub(super) struct Board<'a> {
    bar: ProgressBar,
    queries: &'a Queries,
    runtime: &'a tokio::runtime::Runtime,
    shown: Cell<Instant>,
}

fn answer(queries: &Queries, runtime: &tokio::runtime::Runtime, limit: usize) -> Option<String> {
    let newest = "SELECT class_id, week_of FROM class_leaderboard ORDER BY week_of DESC, class_id LIMIT 1";
    let sql = format!(
        "SELECT b.class_id, b.week_of, b.rank, b.student_id, b.score / 1000.0 AS points, b.graded \
         FROM class_leaderboard b JOIN ({newest}) n ON b.class_id = n.class_id AND b.week_of = n.week_of \
         ORDER BY b.rank, b.student_id LIMIT {limit}"
    );
    let result = runtime.block_on(queries.run(&sql)).ok()?;
    write(&result, Format::Table).ok()
}

impl<'a> Board<'a> {
    pub(super) fn new(events: u64, queries: &'a Queries, runtime: &'a tokio::runtime::Runtime) -> Self {
        let bar = if std::io::stderr().is_terminal() { ProgressBar::new(events) } else { ProgressBar::hidden() };
        let style = ProgressStyle::with_template("{bar:40} {pos}/{len} events, {per_sec}\n{msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self { bar, queries, runtime, shown: Cell::new(Instant::now()) }
    }

    pub(super) fn show(&self, progress: Progress) {
        self.bar.set_position(progress.events);
        if self.bar.is_hidden() || self.shown.get().elapsed() < EVERY {
            return;
        }
        self.shown.set(Instant::now());
        if let Some(board) = answer(self.queries, self.runtime, 8) {
            self.bar.set_message(board);
        }
    }
}

impl Drop for Board<'_> {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// Shows the newest leaderboard, once.
pub(super) fn show_answer(queries: &Queries, runtime: &tokio::runtime::Runtime) {
    if let Some(board) = answer(queries, runtime, 5) {
        println!("\nthe newest week's leaderboard of a class, asked in SQL:\n{board}");
    }
}
