//! The hot path: what the socket has, decoded and handed out.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    pin::Pin,
    task::{Context, Poll},
};

use everwire_engine::{CloseCode, CloseFrame, Engine, EngineError, Message, Text};
use futures_core::Stream as _;
use futures_sink::Sink as _;

use super::{Driver, READ_BATCH, attempt::words, now};
use crate::{
    DisconnectionSource, ServerReason,
    core::Input,
    decode::{DecodeError, DecodeErrorKind, EventDecoder, Reject, WsEvent as _},
    delivery::{ClientEvent, Item},
};

/// What a look at the socket has brought.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Read {
    Nothing,
    /// Something, and the task will be woken for what comes next.
    Some,
    /// A whole batch, and there may be more.
    More,
}

/// What is to be known of a message that the decoder panics at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Decoding {
    generation: u64,
    is_text: bool,
    len: usize,
}

impl Decoding {
    #[inline]
    fn of(generation: u64, message: &Message) -> Self {
        Self { generation, is_text: matches!(message, Message::Text(_)), len: message.len() }
    }

    const fn reject(self, error: DecodeError) -> Reject {
        Reject { is_text: self.is_text, len: self.len, error }
    }
}

impl<E: Engine, D: EventDecoder> Driver<E, D> {
    /// Reads at most a batch.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>) -> Read {
        loop {
            // Around the batch, since around each message it would cost as much as the rest of the driver.
            match catch_unwind(AssertUnwindSafe(|| self.read_batch(cx))) {
                Ok(read) => return read,
                Err(panic) => self.decoder_panicked(panic),
            }
        }
    }

    fn read_batch(&mut self, cx: &mut Context<'_>) -> Read {
        let mut read = Read::Nothing;
        // So many messages have room with each subscriber. One that comes meanwhile is owed the same as all: a batch.
        let mut room = 0;
        for _ in 0..READ_BATCH {
            if room == 0 {
                if self.is_paused(cx) {
                    return read;
                }
                room = self.hub.room();
            }
            room -= 1;
            let Some(connection) = &mut self.connection else { return read };
            match Pin::new(&mut connection.socket).poll_next(cx) {
                Poll::Pending => {
                    connection.read_dry = true;
                    if self.drained() {
                        read = Read::Some;
                    }
                    return read;
                }
                Poll::Ready(item) => {
                    connection.read_dry = false;
                    read = Read::Some;
                    match item {
                        Some(Ok(message)) => self.received(cx, message),
                        Some(Err(error)) => self.ended(None, Some(error)),
                        None => self.ended(None, None),
                    }
                }
            }
        }
        Read::More
    }

    /// The message is rejected, and reading goes on. What else panics is no business of ours.
    #[cold]
    pub(super) fn decoder_panicked(&mut self, panic: Box<dyn Any + Send>) {
        let Some(decoding) = self.decoding.take() else { resume_unwind(panic) };
        tracing::error!(panic = words(&*panic), "the event decoder panicked");
        let error = DecodeError::new(DecodeErrorKind::Panicked);
        self.rejected(decoding.generation, decoding.reject(error));
    }

    /// Whether reading waits for the application. While it does, the pong deadline does not run: a pong that
    /// has arrived cannot be seen.
    fn is_paused(&mut self, cx: &Context<'_>) -> bool {
        let Some(connection) = &mut self.connection else { return false };
        let paused = self.hub.has_subscribers() && self.hub.poll_room(cx).is_pending();
        if paused != connection.paused {
            connection.paused = paused;
            if paused {
                // What is buffered here must leave, or the consumer will never make room.
                self.hub.flush();
                self.ping.reading_paused(now());
            } else {
                self.ping.reading_resumed(now());
            }
        }
        paused
    }

    /// Everything that had arrived is read.
    fn drained(&mut self) -> bool {
        let Some(connection) = &mut self.connection else { return false };
        let generation = connection.generation;
        if let Some(error) = connection.write_error.take() {
            self.ended(None, Some(error));
            return true;
        }
        if self.core.awaits_drain() {
            let source = DisconnectionSource::from(ServerReason::default());
            let frame = self.settings.close_frame(&source);
            self.tell(Input::Drained { generation, frame });
            return true;
        }
        false
    }

    fn ended(&mut self, close: Option<CloseFrame>, error: Option<EngineError>) {
        let Some(connection) = &self.connection else { return };
        let generation = connection.generation;
        self.tell(Input::Ended { generation, close, error });
    }

    #[inline]
    fn received(&mut self, cx: &mut Context<'_>, message: Message) {
        self.recorder.received(1, message.len() as u64);
        self.ping.inbound_received();
        match message {
            Message::Text(_) | Message::Binary(_) => self.decode(message),
            // The engine answers pings by itself.
            Message::Ping(_) => {}
            Message::Pong(_) => self.pong(),
            Message::Close(frame) => {
                // The answer to the close frame leaves with this flush, if it can leave at all; the peer is
                // going away and is owed no more.
                if let Some(connection) = &mut self.connection {
                    let _ = Pin::new(&mut connection.socket).poll_flush(cx);
                }
                let no_status = || CloseFrame { code: CloseCode::NO_STATUS, reason: Text::default() };
                self.ended(Some(frame.unwrap_or_else(no_status)), None);
            }
        }
    }

    #[inline]
    fn decode(&mut self, message: Message) {
        let Some(connection) = &self.connection else { return };
        let generation = connection.generation;
        connection.show_hook(&message);
        if let Some(renewing) = &connection.renewing {
            renewing.deliver(&message);
        }
        if self.settings.handler.is_none() && self.hub.has_one() {
            self.decode_in_place(generation, message);
        } else if let Some(event) = self.decode_event(generation, message) {
            self.decoded(generation, event);
        }
    }

    /// Nearly all events mean nothing to the client, and one subscriber is what there is. Each step between decoder and
    /// subscriber would be a move, and events may be large.
    #[inline]
    fn decode_in_place(&mut self, generation: u64, message: Message) {
        let decoding = Decoding::of(generation, &message);
        self.decoding = Some(decoding);
        let (decoder, mut message, mut refused) = (&mut self.decoder, Some(message), None);
        let item = self.hub.push_made(|| {
            let Some(message) = message.take() else { return Item::Gap(0) };
            match decoder.decode_owned(message) {
                Ok(Some(event)) => Item::Event { generation, event },
                Ok(None) => Item::Gap(0),
                Err(error) => {
                    refused = Some(error);
                    Item::Gap(0)
                }
            }
        });
        self.decoding = None;
        if let Some(Item::Event { event, .. }) = item
            && event.health_check_info().is_none()
            && event.error().is_none()
            && event.going_away().is_none()
        {
            return;
        }
        // Taken back, for others come before it.
        if let Some(Item::Event { event, .. }) = self.hub.pop() {
            self.decoded(generation, event);
        } else if let Some(error) = refused {
            self.rejected(generation, decoding.reject(error));
        }
    }

    #[inline]
    fn decoded(&mut self, generation: u64, event: D::Event) {
        // Connected is announced before the event that made it so is delivered.
        if let Some(info) = event.health_check_info() {
            self.tell(Input::HealthCheck { generation, info });
        }
        self.deliver_event(generation, event);
    }

    /// What the decoder makes of a message, if it makes anything of it. A panic of the decoder goes on to the caller, who
    /// follows it with [`decoder_panicked`](Self::decoder_panicked).
    #[inline]
    pub(super) fn decode_event(&mut self, generation: u64, message: Message) -> Option<D::Event> {
        let decoding = Decoding::of(generation, &message);
        self.decoding = Some(decoding);
        let decoded = self.decoder.decode_owned(message);
        self.decoding = None;
        decoded.unwrap_or_else(|error| {
            self.rejected(generation, decoding.reject(error));
            None
        })
    }

    /// Delivers an event, and tells the core what else it means.
    #[inline]
    pub(super) fn deliver_event(&mut self, generation: u64, event: D::Event) {
        let error = event.error();
        let going_away = event.going_away();
        self.deliver(generation, event);
        if let Some(notice) = going_away {
            self.tell(Input::GoingAway { generation, notice });
            self.hub.push(ClientEvent::ReconnectSuggested);
        }
        if let Some(error) = error {
            self.tell(Input::ErrorAnnounced { generation, error });
        }
    }

    #[inline]
    fn deliver(&mut self, generation: u64, event: D::Event) {
        if let Some(handler) = &mut self.settings.handler
            && let Err(panic) = catch_unwind(AssertUnwindSafe(|| handler(&event)))
        {
            self.recorder.handler_panicked();
            tracing::error!(panic = words(&*panic), "the event handler panicked; the connection stays");
        }
        if self.hub.has_subscribers() {
            self.hub.push(Item::Event { generation, event });
        }
    }

    #[cold]
    fn rejected(&mut self, generation: u64, reject: Reject) {
        self.recorder.rejected();
        let Reject { len, error, .. } = &reject;
        tracing::debug!(generation, len, %error, "a message was rejected; the connection stays");
        self.hub.push(ClientEvent::Rejected { generation, reject });
    }
}
