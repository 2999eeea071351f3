//! What would become of events, were they submitted now: for those that first go elsewhere, and come back to be submitted.

use crate::accept::{Draft, Outbox, Verdict, judge};
use crate::door::{Door, SUBMIT_BYTES_MAX, lines};
use crate::error::DoorError;
use crate::identity::Scratch;
use crate::receipt::{Receipt, Refused};
use chalk_codec::{BadInput, Reason};
use chalk_log::{Append, Pending};

/// What would become of the events of one text.
#[derive(Debug, Default)]
pub struct Preview<'t> {
    /// As the door would say it, with no commit.
    pub receipt: Receipt,
    /// The events that would be accepted, in their order.
    pub events: Vec<Previewed<'t>>,
    refused: Vec<Line<'t>>,
}

/// An event that would be accepted.
#[derive(Debug, PartialEq, Eq)]
pub struct Previewed<'t> {
    /// Its text.
    pub text: &'t [u8],
    /// The tenant, if it has one: events of one tenant may refer to each other, and stay in order.
    pub tenant: Option<String>,
}

/// An event that was refused.
#[derive(Debug)]
struct Line<'t> {
    number: u64,
    text: &'t [u8],
    event_type: Option<String>,
    bad: BadInput,
}

impl Door {
    /// Decides about the events of several texts, each after the ones before it, and forgets that. Events of more than `bytes_max`
    /// are refused.
    ///
    /// # Errors
    /// As for [`Door::submit`].
    pub fn preview<'t>(&self, texts: &[&'t [u8]], bytes_max: usize) -> Result<Vec<Preview<'t>>, DoorError> {
        let (rules, now, scratch) = (self.rules(), self.now(), &mut Scratch::default());
        let mut drafts = Vec::with_capacity(texts.len());
        for text in texts {
            let bytes = text.len();
            if bytes > SUBMIT_BYTES_MAX {
                return Err(DoorError::TooMuch { bytes, limit: SUBMIT_BYTES_MAX });
            }
            let of_text =
                lines(1, text).map(|(line, text)| (text, Draft::read(line, text, &rules, None, now, scratch)));
            drafts.push(of_text.collect::<Vec<_>>());
        }
        let mut memory = self.room()?;
        if !rules.are_of(&self.log().topics()) {
            drop(memory);
            return self.preview(texts, bytes_max);
        }
        self.follow(&mut memory, &rules)?;
        let mut previews = Vec::with_capacity(texts.len());
        let decided = drafts.into_iter().try_for_each(|drafts| {
            let mut preview = Preview::default();
            for (text, Draft { line, event_type, decoded, .. }) in drafts {
                let verdict = match decoded {
                    Ok(_) if text.len() > bytes_max => {
                        let message = format!("an event of {} bytes is larger than {bytes_max}: send less", text.len());
                        Verdict::Refused(BadInput::whole(Reason::TooLarge, message))
                    }
                    Ok(event) => judge(event, &mut memory)?,
                    Err(bad) => Verdict::Refused(bad),
                };
                match verdict {
                    Verdict::Accepted(event) => {
                        *preview.receipt.accepted.entry(event.event_type().to_owned()).or_default() += 1;
                        let tenant = event.tenant().map(str::to_owned);
                        preview.events.push(Previewed { text, tenant });
                    }
                    Verdict::Duplicate => preview.receipt.duplicates += 1,
                    Verdict::Refused(bad) => {
                        preview.receipt.refused.push(Refused { line, bad: bad.clone() });
                        let event_type = event_type.map(|event_type| event_type.into_owned());
                        preview.refused.push(Line { number: line, text, event_type, bad });
                    }
                }
            }
            previews.push(preview);
            Ok::<(), DoorError>(())
        });
        memory.forget_unsettled();
        decided.map(|()| previews)
    }

    /// Keeps what a preview refused in `dead_letters`; `None` when it refused nothing.
    ///
    /// # Errors
    /// When the log does not take it.
    pub fn keep_refused(&self, source: &str, preview: &Preview<'_>) -> Result<Option<Pending>, DoorError> {
        if preview.refused.is_empty() {
            return Ok(None);
        }
        let mut outbox = Outbox::new(source, self.now());
        for Line { number, text, event_type, bad } in &preview.refused {
            outbox.refuse(*number, &String::from_utf8_lossy(text), event_type.as_deref(), bad.clone());
        }
        let (_, append) = outbox.finish()?;
        Ok(Some(self.log().append(append)?))
    }

    /// As [`Door::submit`], for lines with numbers of their own; `with` is appended in the same commit.
    ///
    /// # Errors
    /// As for [`Door::submit`].
    pub fn submit_from(
        &self,
        source: &str,
        first_line: u64,
        text: &[u8],
        with: &Append,
    ) -> Result<crate::Submitted, DoorError> {
        self.submit_with(source, first_line, text, None, with)
    }
}
