//! Homework is set, and its key corrected.

use super::School;
use crate::agenda::{Assignment, Planned, RevisionKind, RevisionPlan};
use crate::calendar::{DAY_MS, HOUR_MS, SECOND_MS, SchoolDay, nanos};
use crate::event::{AnswerKeyRevised, AssignmentPublished, Attempts, Event, Record, Revision, RubricRevised};
use crate::key::AnswerKey;
use crate::key_revision::{revise_answers, revise_points};
use crate::paper::Paper;
use crate::population::{class_id, teacher_id};
use crate::rates::REVISED_AGAIN_PER_10K;
use std::sync::Arc;

impl School {
    pub(super) fn publish(&mut self, received_ms: i64, class: u32, subject: &'static str, day: SchoolDay) -> Event {
        let paper = Paper::set(self.items, subject, &mut self.chance);
        let (key, points_max) = (Arc::new(paper.key.clone()), paper.key.points_max());
        let key_json = self.spell_key(&key);
        let class_id: Arc<str> = class_id(class).into();
        let SchoolDay { week, weekday, midnight_ms } = day;
        let due_ms = midnight_ms + DAY_MS + 20 * HOUR_MS;
        let assignment = Arc::new(Assignment {
            assignment_id: format!("{class_id}-w{week:02}-{subject}-{weekday}").into(),
            class_id,
            class,
            subject,
            week,
            due_ms,
            points_max,
            seed: self.chance.bits(),
            paper,
        });
        let pupils = self.roster.members(class);
        for &pupil in &pupils {
            self.plan_submissions(&assignment, pupil, midnight_ms);
        }
        self.plan_first_revision(&assignment);
        let occurred_ms = received_ms - self.chance.between(50, 2_000);
        let record = Record::AssignmentPublished(AssignmentPublished {
            assignment_id: assignment.assignment_id.clone(),
            class_id: assignment.class_id.clone(),
            subject,
            due_at: nanos(due_ms),
            pupils: pupils.len() as i64,
            key_version: 1,
            rubric_version: 1,
            attempts: self.attempts(),
            key,
            key_json,
        });
        self.event(occurred_ms, received_ms, None, record)
    }

    /// One class spells out every absent value, another leaves most out.
    fn spell_key(&mut self, key: &AnswerKey) -> Arc<str> {
        let spelt_out_per_10k = *self.chance.pick(&[0, 2_000, 10_000]);
        key.to_json(|| self.chance.per_10k(spelt_out_per_10k)).into()
    }

    fn attempts(&mut self) -> Attempts {
        let (last, first) = (self.rates.last_attempt_counts_per_10k, self.rates.first_attempt_counts_per_10k);
        match self.chance.below(10_000) as u32 {
            roll if roll < last => Attempts::Last,
            roll if roll < last + first => Attempts::First,
            _ => Attempts::Best,
        }
    }

    fn plan_first_revision(&mut self, assignment: &Arc<Assignment>) {
        let answers = self.chance.per_10k(self.rates.key_revised_per_10k);
        let points = self.chance.per_10k(self.rates.rubric_revised_per_10k);
        if !answers && !points {
            return;
        }
        let plan = RevisionPlan {
            assignment: Arc::clone(assignment),
            key: assignment.paper.key.clone(),
            key_version: 1,
            rubric_version: 1,
            kind: if answers { RevisionKind::Answers } else { RevisionKind::Points },
            both: answers && points,
        };
        let received_ms = assignment.due_ms + self.chance.between(DAY_MS, 3 * DAY_MS);
        self.agenda.plan(received_ms, Planned::Revise(Box::new(plan)));
    }

    pub(super) fn revise(&mut self, received_ms: i64, mut plan: RevisionPlan) -> Event {
        let reason = match plan.kind {
            RevisionKind::Answers => {
                plan.key_version += 1;
                revise_answers(&mut plan.key, &mut self.chance)
            }
            RevisionKind::Points => {
                plan.rubric_version += 1;
                revise_points(&mut plan.key, &mut self.chance)
            }
        };
        let assignment = &plan.assignment;
        let revision = Revision {
            assignment_id: assignment.assignment_id.clone(),
            class_id: assignment.class_id.clone(),
            key_version: plan.key_version,
            rubric_version: plan.rubric_version,
            key: Arc::new(plan.key.clone()),
            key_json: self.spell_key(&plan.key),
            teacher_id: teacher_id(assignment.class, assignment.subject),
            reason,
        };
        let record = match plan.kind {
            RevisionKind::Answers => Record::AnswerKeyRevised(AnswerKeyRevised { revision }),
            RevisionKind::Points => Record::RubricRevised(RubricRevised { revision }),
        };
        self.plan_next_revision(received_ms, plan);
        let made_ms = received_ms - self.chance.between(50, 4 * SECOND_MS);
        let occurred_ms = self.by_device_clock(made_ms);
        self.event(occurred_ms, received_ms, None, record)
    }

    fn plan_next_revision(&mut self, received_ms: i64, mut plan: RevisionPlan) {
        if plan.both {
            (plan.kind, plan.both) = (RevisionKind::Points, false);
        } else if self.chance.per_10k(REVISED_AGAIN_PER_10K) {
            plan.kind = *self.chance.pick(&[RevisionKind::Answers, RevisionKind::Points]);
        } else {
            return;
        }
        let after_ms = self.chance.between(HOUR_MS, DAY_MS);
        self.agenda.plan(received_ms + after_ms, Planned::Revise(Box::new(plan)));
    }
}
