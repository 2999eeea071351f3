//! The way in that clients are given, and what they wait for.

use crate::error::DoorError;
use crate::receipt::Receipt;
use chalk_log::{Appended, Pending};
use futures::channel::oneshot;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Takes events of clients: the door itself, or what brings them to it by way of another place.
pub trait Intake: Send + Sync {
    /// Takes events as JSON, one object a line; `source` says in dead letters who brought them. May block.
    ///
    /// # Errors
    /// When they are not taken. Bad events are no error: they are in the receipt.
    fn submit(&self, source: &str, text: &[u8]) -> Result<Submitted, DoorError>;
}

/// Events on their way into the log; await it for durability.
#[derive(Debug)]
pub struct Submitted(Way);

#[derive(Debug)]
enum Way {
    /// Decided, and in their place in the log's order.
    Here { receipt: Option<Receipt>, pending: Pending },
    /// Somebody else will tell.
    Elsewhere(oneshot::Receiver<Result<Receipt, DoorError>>),
}

impl Submitted {
    pub(crate) fn here(receipt: Receipt, pending: Pending) -> Self {
        Self(Way::Here { receipt: Some(receipt), pending })
    }

    /// Events that are in the log once an answer comes.
    #[must_use]
    pub fn elsewhere(answer: oneshot::Receiver<Result<Receipt, DoorError>>) -> Self {
        Self(Way::Elsewhere(answer))
    }

    /// Waits on the calling thread, which must not be one that runs async tasks.
    ///
    /// # Errors
    /// When the events did not become durable.
    pub fn wait(self) -> Result<Receipt, DoorError> {
        match self.0 {
            Way::Here { receipt, pending } => Ok(complete(receipt, &pending.wait()?)),
            Way::Elsewhere(answer) => futures::executor::block_on(answer).unwrap_or(Err(DoorError::Closed)),
        }
    }
}

impl Future for Submitted {
    type Output = Result<Receipt, DoorError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Way::Here { receipt, pending } => {
                Pin::new(pending).poll(context).map(|appended| Ok(complete(receipt.take(), &appended?)))
            }
            Way::Elsewhere(answer) => {
                Pin::new(answer).poll(context).map(|answer| answer.unwrap_or(Err(DoorError::Closed)))
            }
        }
    }
}

fn complete(receipt: Option<Receipt>, appended: &Appended) -> Receipt {
    Receipt { commit: appended.commit_seq, ..receipt.unwrap_or_default() }
}
