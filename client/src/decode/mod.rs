//! From messages to the application's own events: the traits [`EventDecoder`] and [`WsEvent`], and the
//! decoders that are shipped.

mod error;
#[cfg(feature = "json")]
mod json;

use std::{fmt, time::Duration};

use everwire_engine::Message;

pub use self::error::{DecodeError, DecodeErrorKind, Reject};
#[cfg(feature = "json")]
pub use self::json::JsonDecoder;
#[cfg(feature = "json")]
pub(crate) use self::json::redacted;
use crate::state::{ApiError, HealthCheckInfo};

/// Turns messages into events. Every client has one.
///
/// # Contract
/// - Only [`Message::Text`] and [`Message::Binary`] are given to it, in the order of their arrival. A
///   decoder outlives connections: it sees the messages of all of them.
/// - `Ok(Some(event))` is delivered. `Ok(None)` says that the message is of no interest: an event type that
///   is not known yet, for instance. `Err` is a **reject**: it is counted, traced and shown to who asked for
///   rejects. Neither ends the connection, and neither does a panic in here.
/// - It runs in the task that owns the socket: it must not block, and what it takes is added to the delay
///   of each message.
///
/// A closure will do: see [`decoder_fn`]. Shipped are [`RawDecoder`], and with the feature `json`
/// `JsonDecoder` and `stream::StreamDecoder`.
///
/// ```
/// use everwire_client::{DecodeError, DecodeErrorKind, EventDecoder, HealthCheckInfo, Message, WsEvent};
///
/// #[derive(Clone)]
/// enum Line { Welcome, Said(String) }
///
/// impl WsEvent for Line {
///     fn health_check_info(&self) -> Option<HealthCheckInfo> {
///         matches!(self, Self::Welcome).then(HealthCheckInfo::default)
///     }
/// }
///
/// struct Lines;
///
/// impl EventDecoder for Lines {
///     type Event = Line;
///
///     fn decode(&mut self, message: &Message) -> Result<Option<Line>, DecodeError> {
///         match message.as_text() {
///             Some("welcome") => Ok(Some(Line::Welcome)),
///             Some(line) => Ok(Some(Line::Said(line.to_owned()))),
///             None => Err(DecodeErrorKind::Unsupported.into()),
///         }
///     }
/// }
/// ```
pub trait EventDecoder: Send + 'static {
    /// What it makes of a message. Cloned once for each subscriber but the last.
    type Event: WsEvent + Clone + Send + 'static;

    /// Decodes one text or binary message; `None` skips it.
    ///
    /// # Errors
    /// A message that cannot be decoded. The connection goes on.
    fn decode(&mut self, message: &Message) -> Result<Option<Self::Event>, DecodeError>;

    /// The same for a message that nobody else needs any more, which is how the client decodes. A decoder whose events
    /// keep the payload overrides it to move the payload there, where [`decode`](Self::decode) has to clone it
    /// (default: calls `decode`).
    ///
    /// # Errors
    /// As for [`decode`](Self::decode), and the two must agree on what they make of a message.
    #[inline]
    fn decode_owned(&mut self, message: Message) -> Result<Option<Self::Event>, DecodeError> {
        self.decode(&message)
    }

    /// Whether any of its events may be a [health check](WsEvent::health_check_info). A client whose decoder says no
    /// is not built to wait for one. By default yes.
    fn knows_health_checks(&self) -> bool {
        true
    }
}

/// What the client itself must know of an event. Each method may stay as it is.
pub trait WsEvent {
    /// This event is a health check. The first of a connection ends its authentication, each later one is
    /// a pong.
    fn health_check_info(&self) -> Option<HealthCheckInfo> {
        None
    }

    /// This event says that the server has failed or refuses to go on. It is delivered, what was received
    /// already is delivered too, and then the client closes the connection with this error as its reason.
    fn error(&self) -> Option<ApiError> {
        None
    }

    /// This event announces that the server is about to end the connection, in so much time (zero if it does
    /// not say). The connection goes on; subscribers are told that a reconnect is suggested.
    fn going_away(&self) -> Option<Duration> {
        None
    }
}

/// A decoder from a closure.
///
/// ```
/// use everwire_client::{decoder_fn, EventDecoder, Message, WsEvent};
///
/// #[derive(Clone, Debug, PartialEq)]
/// struct Length(usize);
/// impl WsEvent for Length {}
///
/// let mut decoder = decoder_fn(|message: &Message| Ok(Some(Length(message.len()))));
/// assert_eq!(decoder.decode(&"four".into())?, Some(Length(4)));
/// # Ok::<(), everwire_client::DecodeError>(())
/// ```
pub const fn decoder_fn<F, E>(decode: F) -> DecoderFn<F>
where
    F: FnMut(&Message) -> Result<Option<E>, DecodeError> + Send + 'static,
    E: WsEvent + Clone + Send + 'static,
{
    DecoderFn(decode)
}

/// See [`decoder_fn`].
#[derive(Clone, Copy)]
pub struct DecoderFn<F>(F);

impl<F, E> EventDecoder for DecoderFn<F>
where
    F: FnMut(&Message) -> Result<Option<E>, DecodeError> + Send + 'static,
    E: WsEvent + Clone + Send + 'static,
{
    type Event = E;

    fn decode(&mut self, message: &Message) -> Result<Option<E>, DecodeError> {
        (self.0)(message)
    }
}

impl<F> fmt::Debug for DecoderFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DecoderFn").finish_non_exhaustive()
    }
}

/// Delivers messages as they are, for who decodes elsewhere or not at all. No message is a health check to
/// it, so it goes with a client that is connected on open and has [protocol pings](crate::ClientBuilder::protocol_pings);
/// any other is refused when it is built.
#[derive(Clone, Copy, Debug, Default)]
pub struct RawDecoder;

impl EventDecoder for RawDecoder {
    type Event = RawEvent;

    #[inline]
    fn decode(&mut self, message: &Message) -> Result<Option<RawEvent>, DecodeError> {
        Ok(Some(RawEvent(message.clone())))
    }

    #[inline]
    fn decode_owned(&mut self, message: Message) -> Result<Option<RawEvent>, DecodeError> {
        Ok(Some(RawEvent(message)))
    }

    fn knows_health_checks(&self) -> bool {
        false
    }
}

/// A message that was not decoded. It shares the buffer it was read into: copy what is kept for long.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "it is the message, and nothing will be added")]
pub struct RawEvent(pub Message);

impl WsEvent for RawEvent {}

impl From<RawEvent> for Message {
    fn from(event: RawEvent) -> Self {
        event.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_raw_decoder_delivers_the_message_itself_without_a_copy() {
        let message = Message::binary(vec![1, 2, 3]);
        let event = RawDecoder.decode(&message).unwrap().unwrap();
        let (Message::Binary(before), Message::Binary(after)) = (&message, &event.0) else { panic!() };
        assert_eq!(before.as_ptr(), after.as_ptr());
        let (decoded, owned) = (Message::from(event), RawDecoder.decode_owned(message.clone()));
        assert_eq!((&decoded, owned), (&message, Ok(Some(RawEvent(message.clone())))));
    }

    #[test]
    fn a_closure_decodes_and_may_keep_a_state() {
        #[derive(Clone, Debug, PartialEq)]
        struct Nth(u32);
        impl WsEvent for Nth {}
        let mut n = 0;
        let mut decoder = decoder_fn(move |message: &Message| {
            n += 1;
            if message.is_empty() { Ok(None) } else { Ok(Some(Nth(n))) }
        });
        assert_eq!(format!("{decoder:?}"), "DecoderFn { .. }");
        assert_eq!(decoder.decode(&"a".into()), Ok(Some(Nth(1))));
        assert_eq!(decoder.decode(&"".into()), Ok(None));
        assert_eq!(decoder.decode(&"c".into()), Ok(Some(Nth(3))));
    }

    #[test]
    fn an_event_means_nothing_to_the_client_unless_it_says_so() {
        let event = RawEvent("x".into());
        assert_eq!(event.health_check_info(), None);
        assert_eq!(event.error(), None);
        assert_eq!(event.going_away(), None);
    }
}
