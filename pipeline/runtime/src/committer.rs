//! The committer thread: derived events, views' changes and the journal record in one commit, then the views.

use crate::changelog::{Changelogs, EpochChanges};
use crate::checkpoint::{EngineState, Saving, ViewChange};
use crate::cold::{ColdViews, Held};
use crate::delivery::Delivery;
use crate::encode;
use crate::engine::{Computed, EpochOutput};
use crate::error::RuntimeError;
use crate::journal::ViewJournal;
use crate::late;
use crate::refused;
use crate::stats::Stats;
use crate::switch::Made;
use crate::verdicts;
use chalk_catalog::{ControlEvent, EpochViews, TopicDef};
use chalk_connect::Lines;
use chalk_event::{ChangeBatch, CommitSeq, Epoch};
use chalk_graph::{Encoding, NodeId};
use chalk_ingest::Door;
use chalk_log::{Append, FrameToAppend};
use chalk_store::fail::{Point, pass};
use chalk_view::{Publisher, Snapshot, ViewRows};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender};

/// A view as of the last checkpoint has so many times the bytes of what has changed since for itself.
const SAVED_TIMES: usize = 3;

/// Where the rows of a sink node go.
pub(crate) enum Target {
    View(String),
    Topic(TopicDef),
    /// Lines; with weights when the query retracts and its format has no word for that.
    Lines {
        lines: Lines,
        weights: bool,
        encoding: Encoding,
    },
    /// A place outside the log that has each row once.
    Outside {
        delivery: Delivery,
        encoding: Encoding,
    },
    Nowhere,
}

impl Target {
    /// Up to where an earlier run has given a sink outside the log all rows.
    pub(crate) fn committed(&self) -> Option<CommitSeq> {
        match self {
            Self::Outside { delivery, .. } => delivery.committed(),
            _ => None,
        }
    }

    /// Whether it is to have all rows from the beginning of the log on.
    pub(crate) fn begins_anew(&self) -> bool {
        matches!(self, Self::Outside { delivery, .. } if delivery.committed().is_none())
    }
}

/// What a checkpoint is made of: state of the engine and of views, as of one epoch.
pub(crate) struct CheckpointParts {
    pub(crate) engine: EngineState,
    pub(crate) views: BTreeMap<NodeId, ViewChange>,
    /// Counts them, when there is a limit to state.
    pub(crate) held: Option<Held>,
}

pub(crate) struct Committer {
    // configuration
    pub(crate) pipeline: String,
    pub(crate) door: Arc<Door>,
    pub(crate) targets: HashMap<NodeId, Target>,
    /// Output up to here was committed by an earlier run: it is not given again.
    pub(crate) committed: Option<CommitSeq>,
    pub(crate) publisher: Publisher,
    /// Who writes checkpoints, if anybody does.
    pub(crate) saver: Option<(SyncSender<CheckpointParts>, Arc<Saving>)>,
    // state
    pub(crate) journal: ViewJournal,
    pub(crate) changelogs: Changelogs,
    /// Views as of the last checkpoint, by name; those whose rows have left memory since, as of then.
    pub(crate) saved_views: BTreeMap<String, ViewRows>,
    /// Counts what has changed since, which is kept twice.
    pub(crate) held: Option<Held>,
    /// Rows that have left memory, when there is a limit.
    pub(crate) cold: Option<ColdViews>,
    pub(crate) snapshot: Snapshot,
    /// Commits of derived events that the views do not show yet: the last input before their epoch, and the commit.
    pub(crate) unsettled: VecDeque<(CommitSeq, CommitSeq)>,
    // metrics
    pub(crate) stats: Arc<Stats>,
}

impl Committer {
    pub(crate) fn run(&mut self, computed: &Receiver<Computed>) -> Result<(), RuntimeError> {
        self.outside().try_for_each(Delivery::start)?;
        while let Ok(computed) = computed.recv() {
            match computed {
                Computed::Epoch(output) => self.commit(output)?,
                Computed::State(state) => self.checkpoint(*state),
                Computed::Switch(made) => self.switch(*made)?,
            }
        }
        // Each is closed, whatever becomes of another.
        let closed: Vec<_> = self.outside().map(Delivery::close).collect();
        closed.into_iter().collect()
    }

    fn outside(&mut self) -> impl Iterator<Item = &mut Delivery> {
        self.targets.values_mut().filter_map(|target| match target {
            Target::Outside { delivery, .. } => Some(delivery),
            _ => None,
        })
    }

    fn commit(&mut self, mut output: EpochOutput) -> Result<(), RuntimeError> {
        let (epoch, upto, lasting) = (output.epoch, output.upto, output.lasting);
        let (sinks, late) = (std::mem::take(&mut output.sinks), std::mem::take(&mut output.late));
        let refused = std::mem::take(&mut output.refused);
        let given_up = verdicts::frame(&output.verdicts)?;
        if self.saver.as_ref().is_some_and(|(_, saving)| saving.has_failed()) {
            self.saver = None;
            self.saved_views.clear();
            self.held = None;
        }
        let given_before = self.committed.is_some_and(|committed| upto <= committed);
        // Epochs that an earlier run committed are recorded; where it stopped, views may differ by what their queries are now.
        let behind = self.committed.is_some_and(|committed| upto < committed);
        let is_told = !behind && lasting;
        let (mut events, mut outside, mut shown) = (Vec::new(), Vec::new(), false);
        let mut changed = EpochChanges::new();
        for (node, changes) in sinks {
            self.stats.rows_out.fetch_add(changes.len() as u64, Ordering::Relaxed);
            match self.targets.get_mut(&node) {
                Some(Target::View(name)) => {
                    if let Some(view) = self.snapshot.views.get_mut(name) {
                        let changes = view.apply(&changes)?;
                        if let Some(cold) = &mut self.cold {
                            let saved = self.saved_views.get_mut(name);
                            if saved.is_some() {
                                let held = self.held.get_or_insert_with(|| Held::new(cold.memory()));
                                held.add(SAVED_TIMES * changes.rows().get_array_memory_size());
                                cold.memory().set_unsaved_views(held.bytes());
                            }
                            cold.shrink(view, saved)?;
                        }
                        if is_told && !changes.is_empty() {
                            changed.entry(name.clone()).or_default().push(changes);
                        }
                    }
                }
                Some(Target::Topic(topic)) if !given_before => events.push((topic.clone(), changes)),
                Some(Target::Lines { lines, weights, encoding }) if !given_before => {
                    lines.write(&encode::lines(&changes, encoding, *weights)?)?;
                    shown |= !changes.is_empty();
                }
                Some(Target::Outside { delivery, encoding }) if delivery.wants(&output) => {
                    outside.push((node, encode::lines(&changes, encoding, false)?));
                }
                _ => {}
            }
        }
        self.stats.late.fetch_add(late.len() as u64, Ordering::Relaxed);
        self.stats.refused.fetch_add(refused.len() as u64, Ordering::Relaxed);
        let set_aside = !late.is_empty() || !refused.is_empty() || given_up.is_some();
        let leaves = !given_before && (shown || !events.is_empty() || set_aside);
        let mut record = is_told.then(|| self.journal.next(&self.snapshot.views));
        if leaves || record.as_ref().is_some_and(|record| record.worth_it) {
            let mut frames = match &mut record {
                Some(record) => self.changelogs.record(epoch, record, &self.snapshot.views, &changed)?,
                None => Vec::new(),
            };
            if leaves {
                frames.extend(late::frame(&late)?);
                frames.extend(refused::frame(&refused, output.time)?);
            }
            frames.extend(given_up);
            let views = record.map(|record| record.views);
            let derived = self.append(epoch, upto, views.clone(), &events, frames)?;
            self.journal.recorded(views);
            if leaves {
                self.unsettled.push_back((self.snapshot.upto, derived));
            }
        } else if let Some(given_up) = given_up {
            // The epoch itself was recorded by an earlier run, for which the function did better.
            self.door.log().append(Append { frames: vec![given_up] })?.wait()?;
        }
        if !lasting {
            self.changelogs.lose();
        } else if is_told {
            self.changelogs.follow();
        }
        self.publish(epoch, upto);
        pass(Point::EpochAfterPublish);
        for (node, lines) in outside {
            if let Some(Target::Outside { delivery, .. }) = self.targets.get(&node) {
                delivery.give(&output, &lines);
            }
        }
        Ok(())
    }

    /// Makes an epoch's output and its record durable; gives their commit.
    fn append(
        &self,
        epoch: Epoch,
        upto: CommitSeq,
        views: Option<EpochViews>,
        events: &[(TopicDef, ChangeBatch)],
        mut frames: Vec<FrameToAppend>,
    ) -> Result<CommitSeq, RuntimeError> {
        let committed = ControlEvent::EpochCommitted { pipeline: self.pipeline.clone(), epoch, upto, views };
        frames.push(self.door.log().control_frame(&committed)?);
        pass(Point::EpochBeforeJournal);
        let (receipt, pending) = self.door.derive(&self.pipeline, events, Append { frames })?;
        self.stats.derived(&receipt);
        let appended = pending.wait()?;
        pass(Point::EpochAfterJournal);
        Ok(appended.commit_seq)
    }

    /// Records a switch, behind all that the epochs before it led to.
    fn switch(&self, Made { record, switched, answer }: Made) -> Result<(), RuntimeError> {
        let log = self.door.log();
        let frames = vec![log.control_frame(&record)?];
        log.append(Append { frames })?.wait()?;
        // Whoever has asked may be gone.
        let _ = answer.send(switched);
        Ok(())
    }

    /// All that the epochs so far led to is durable, what sinks were given too: they are waited for.
    fn checkpoint(&mut self, engine: EngineState) {
        let flushed: Vec<_> = self.outside().map(|delivery| delivery.flush()).collect();
        if let Err(error) = flushed.into_iter().collect::<Result<(), RuntimeError>>() {
            // The next start is to begin before what a sink has not got.
            self.stats.checkpoint_failed(&error);
            if let Some((_, saving)) = self.saver.take() {
                saving.done(false);
            }
            self.saved_views.clear();
            self.held = None;
            return;
        }
        let mut views = BTreeMap::new();
        for (&node, target) in &self.targets {
            let Target::View(name) = target else { continue };
            let (Some(saved), Some(now)) = (self.saved_views.get_mut(name), self.snapshot.views.get(name)) else {
                continue;
            };
            let left = self.cold.as_mut().map(|cold| cold.save(name)).unwrap_or_default();
            if !left.is_empty() || (saved.len(), saved.hash()) != (now.len(), now.hash()) {
                let before = std::mem::replace(saved, now.clone());
                views.insert(node, ViewChange { left, before, now: now.clone() });
            }
        }
        let parts = CheckpointParts { engine, views, held: self.held.take() };
        if let Some(cold) = &self.cold {
            cold.memory().set_unsaved_views(0);
        }
        if let Some((saver, _)) = &self.saver
            && saver.send(parts).is_err()
        {
            self.saver = None; // it has failed, which is told elsewhere
        }
    }

    fn publish(&mut self, epoch: Epoch, upto: CommitSeq) {
        while self.unsettled.pop_front_if(|(_, derived)| *derived <= upto).is_some() {}
        self.snapshot.epoch = epoch;
        self.snapshot.upto = upto;
        self.snapshot.settled = self.unsettled.front().map_or(upto, |&(before, _)| before);
        self.stats.epochs.fetch_add(1, Ordering::Relaxed);
        self.publisher.publish(self.snapshot.clone());
    }
}
