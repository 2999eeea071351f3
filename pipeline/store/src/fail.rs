//! Named points at which a process can be made to end as if it were killed: for tests of what a crash leaves.
//!
//! `CHALK_FAIL_AT=log.after_write:17` ends the process when it passes `log.after_write` for the 17th time: at once, without destructors,
//! as `SIGKILL` does. Without the variable a point costs a load and a branch, and none is passed more often than a file is written.

use std::io::Write as _;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// The environment variable that names a point, and how often it is passed, counted from 1.
pub const VARIABLE: &str = "CHALK_FAIL_AT";

macro_rules! points {
    ($($(#[doc = $doc:literal])+ $point:ident = $name:literal,)+) => {
        /// Where a process can be made to end.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Point {
            $($(#[doc = $doc])+ $point,)+
        }

        impl Point {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$point,)+];

            /// Its name in the environment variable.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$point => $name,)+
                }
            }
        }
    };
}

points! {
    /// A group commit is laid out, nothing of it is written.
    LogBeforeWrite = "log.before_write",
    /// A group commit is written, but not synced.
    LogAfterWrite = "log.after_write",
    /// A group commit is durable, nobody knows.
    LogAfterSync = "log.after_sync",
    /// A segment is full, its footer is not written.
    LogBeforeFooter = "log.before_footer",
    /// A segment is sealed, the next is not begun.
    LogAfterFooter = "log.after_footer",
    /// A segment's file is there, its name is not durable.
    LogBeforeDirectorySync = "log.before_directory_sync",
    /// The door is about to write ids.
    IdsBeforeRun = "ids.before_run",
    /// Ids are written, no manifest names their run.
    IdsBeforeManifest = "ids.before_manifest",
    /// The manifest names the new run of ids.
    IdsAfterManifest = "ids.after_manifest",
    /// A checkpoint is about to be written.
    CheckpointBeforeRun = "checkpoint.before_run",
    /// A checkpoint's run is written, no manifest names it.
    CheckpointBeforeManifest = "checkpoint.before_manifest",
    /// The manifest names the new run; files that it does not name are still there.
    CheckpointAfterManifest = "checkpoint.after_manifest",
    /// A file that no checkpoint names is removed, others may follow.
    CheckpointAfterRemoval = "checkpoint.after_removal",
    /// A part of a checkpoint's copy is put, its manifest is not.
    CopiesAfterPart = "copies.after_part",
    /// A checkpoint's copy is whole, what it makes needless is still there.
    CopiesAfterManifest = "copies.after_manifest",
    /// A copy is given up, parts that it alone named are still there.
    CopiesAfterRemoval = "copies.after_removal",
    /// An epoch is computed, nothing of it is in the log.
    EpochBeforeJournal = "epoch.before_journal",
    /// An epoch is journalled, views do not show it.
    EpochAfterJournal = "epoch.after_journal",
    /// Views show an epoch, sinks do not have it.
    EpochAfterPublish = "epoch.after_publish",
    /// A sink's rows are prepared, the journal does not say that they are committed.
    SinkAfterPrepare = "sink.after_prepare",
    /// The journal says that a sink's rows are committed, the sink does not know.
    SinkAfterJournal = "sink.after_journal",
    /// A file of a sink's commit has its last name, others of the commit may not have theirs.
    SinkAfterName = "sink.after_name",
    /// A sink's files have their last names, its manifest does not list them.
    SinkBeforeManifest = "sink.before_manifest",
    /// A sink's rows are committed.
    SinkAfterCommit = "sink.after_commit",
}

/// The point that ends the process, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Plan {
    point: Point,
    pass: u64,
}

impl Plan {
    /// `log.after_write:17`; without a number the first pass.
    fn parse(text: &str) -> Option<Self> {
        let (name, pass) = text.split_once(':').unwrap_or((text, "1"));
        let point = Point::ALL.iter().copied().find(|point| point.name() == name)?;
        pass.parse().ok().filter(|pass| *pass > 0).map(|pass| Self { point, pass })
    }

    fn from_environment() -> Option<Self> {
        let text = std::env::var(VARIABLE).ok()?;
        let plan = Self::parse(&text);
        if plan.is_none() {
            let known: Vec<&str> = Point::ALL.iter().map(|point| point.name()).collect();
            end(&format!("{VARIABLE}={text}: a point and a pass, such as log.after_write:17, of {}", known.join(", ")));
        }
        plan
    }
}

/// Ends the process here, if that is what its environment asks for.
#[inline]
pub fn pass(point: Point) {
    static PLAN: OnceLock<Option<Plan>> = OnceLock::new();
    static PASSES: AtomicU64 = AtomicU64::new(0);
    if let Some(plan) = PLAN.get_or_init(Plan::from_environment)
        && plan.point == point
        && PASSES.fetch_add(1, Ordering::Relaxed) + 1 == plan.pass
    {
        end(&format!("{VARIABLE}: {}, pass {}", point.name(), plan.pass));
    }
}

fn end(why: &str) -> ! {
    // It ends whether or not anybody reads why.
    let _ = writeln!(std::io::stderr(), "{why}");
    std::process::abort();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_found_by_their_names() {
        for &point in Point::ALL {
            assert_eq!(Plan::parse(&format!("{}:3", point.name())), Some(Plan { point, pass: 3 }));
            assert_eq!(Plan::parse(point.name()), Some(Plan { point, pass: 1 }));
        }
        for text in ["", "log", "log.after_write:", "log.after_write:0", "log.after_write:x"] {
            assert_eq!(Plan::parse(text), None, "{text}");
        }
    }
}
