//! Where receipts wait for their outcome: a slab of slots that are used again and again.

use std::{
    mem,
    task::{Poll, Waker},
};

use super::SendOutcome;

/// Names a slot. The generation tells a slot's present use from its earlier ones.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct SlotKey {
    index: u32,
    generation: u32,
}

/// Every method that displaces a waker hands it out, to be woken or dropped after the lock is released: the
/// last reference to a task may be in it, and with the task go receipts, which take the lock.
#[derive(Debug, Default)]
pub(super) struct Slots {
    slots: Vec<Slot>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Slot {
    generation: u32,
    state: State,
}

#[derive(Debug)]
enum State {
    Free,
    /// Neither settled nor given up.
    Waiting(Option<Waker>),
    /// The receipt was dropped before the outcome was known.
    GivenUp,
    /// Settled, not yet collected.
    Settled(SendOutcome),
}

impl Slots {
    /// Takes a slot for a message.
    pub(super) fn take(&mut self) -> SlotKey {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { generation: 0, state: State::Free });
            u32::try_from(self.slots.len() - 1).expect("each unread receipt takes memory; 2^32 do not fit")
        });
        let slot = &mut self.slots[index as usize];
        slot.state = State::Waiting(None);
        SlotKey { index, generation: slot.generation }
    }

    /// Settles a slot. The waker, if any, is to be woken.
    pub(super) fn settle(&mut self, key: SlotKey, outcome: SendOutcome) -> Option<Waker> {
        let slot = self.slot(key)?;
        match mem::replace(&mut slot.state, State::Settled(outcome)) {
            State::Waiting(waker) => waker,
            State::GivenUp => {
                self.release(key);
                None
            }
            state @ (State::Free | State::Settled(_)) => {
                debug_assert!(false, "a message was settled twice");
                slot.state = state;
                None
            }
        }
    }

    /// Asks for the outcome, and keeps the waker until it is there. A displaced waker is to be dropped.
    pub(super) fn poll(&mut self, key: SlotKey, waker: &Waker) -> (Poll<SendOutcome>, Option<Waker>) {
        let Some(slot) = self.slot(key) else { return (Poll::Ready(SendOutcome::MaybeSent), None) };
        match &mut slot.state {
            State::Settled(outcome) => {
                let outcome = *outcome;
                self.release(key);
                (Poll::Ready(outcome), None)
            }
            State::Waiting(Some(kept)) if kept.will_wake(waker) => (Poll::Pending, None),
            State::Waiting(kept) => (Poll::Pending, kept.replace(waker.clone())),
            State::Free | State::GivenUp => (Poll::Pending, None),
        }
    }

    /// The receipt is dropped. The waker is to be dropped too.
    pub(super) fn give_up(&mut self, key: SlotKey) -> Option<Waker> {
        let slot = self.slot(key)?;
        match mem::replace(&mut slot.state, State::GivenUp) {
            State::Waiting(waker) => waker,
            State::Free | State::GivenUp => None,
            State::Settled(_) => {
                self.release(key);
                None
            }
        }
    }

    /// How many slots are in use.
    #[cfg(test)]
    pub(super) fn in_use(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// How many slots were ever made.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.slots.len()
    }

    fn slot(&mut self, key: SlotKey) -> Option<&mut Slot> {
        let slot = self.slots.get_mut(key.index as usize).filter(|slot| slot.generation == key.generation);
        debug_assert!(slot.is_some(), "a slot was used after its release");
        slot
    }

    fn release(&mut self, key: SlotKey) {
        let slot = &mut self.slots[key.index as usize];
        slot.generation = slot.generation.wrapping_add(1);
        slot.state = State::Free;
        self.free.push(key.index);
    }
}
