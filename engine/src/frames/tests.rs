//! Frames over a transport in memory, in pieces of any size, to an application that keeps its messages or does not.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use futures_core::Stream as _;
use proptest::prelude::*;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{FrameConfig, TungsteniteConnection};
use crate::{
    Handshake, Message,
    pipeline::{AnyTransport, Stream},
};

/// Says these bytes, never more at once than up to the next cut, and counts how often it was asked.
struct Script {
    bytes: Vec<u8>,
    cuts: Vec<usize>,
    at: usize,
    reads: Arc<AtomicUsize>,
    /// Has nothing at every other question.
    hesitates: bool,
}

impl AsyncRead for Script {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let nth = this.reads.fetch_add(1, Ordering::Relaxed);
        if this.hesitates && nth.is_multiple_of(2) {
            return Poll::Pending;
        }
        let cut = this.cuts.iter().copied().find(|cut| *cut > this.at).unwrap_or(this.bytes.len());
        let len = (cut.min(this.bytes.len()) - this.at).min(into.remaining());
        into.put_slice(&this.bytes[this.at..this.at + len]);
        this.at += len;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Script {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(from.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// What comes of it, and after how many reads.
fn received(bytes: &[u8], cuts: &[usize], hesitates: bool, keeps: bool) -> (Vec<Message>, usize) {
    let reads = Arc::new(AtomicUsize::new(0));
    // What came behind the answer to the upgrade is the first of it.
    let (prefix, rest) = bytes.split_at(cuts.first().copied().unwrap_or(0).min(bytes.len() / 2));
    let cuts = cuts.iter().map(|cut| cut.saturating_sub(prefix.len())).collect();
    let script = Script { bytes: rest.to_vec(), cuts, at: 0, reads: Arc::clone(&reads), hesitates };
    let config = FrameConfig {
        small_read_buffer: 2 << 10,
        read_buffer: 16 << 10,
        flood_read_buffer: 16 << 10,
        write_buffer: 16 << 10,
        max_frame: 16 << 20,
        max_message: 64 << 20,
    };
    let mut connection = TungsteniteConnection::new(
        Stream::Any(AnyTransport::new(script)),
        Bytes::copy_from_slice(prefix),
        Handshake::default(),
        config,
        None,
    );
    let (mut messages, mut cx) = (Vec::new(), Context::from_waker(Waker::noop()));
    loop {
        match Pin::new(&mut connection).poll_next(&mut cx) {
            Poll::Ready(Some(Ok(message))) if keeps => messages.push(message),
            Poll::Ready(Some(Ok(Message::Text(text)))) => messages.push(Message::from(text.to_string())),
            Poll::Ready(Some(Ok(Message::Binary(payload)))) => messages.push(payload.to_vec().into()),
            Poll::Ready(Some(Ok(Message::Ping(payload)))) => {
                messages.push(Message::Ping(payload.to_vec().into()));
            }
            Poll::Ready(Some(Ok(other))) => panic!("{other:?} was not sent"),
            // It ends without a close frame.
            Poll::Ready(Some(Err(_)) | None) => break,
            Poll::Pending => assert!(hesitates, "there is more"),
        }
    }
    (messages, reads.load(Ordering::Relaxed))
}

fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let len = payload.len();
    let mut bytes = vec![first];
    match len {
        0..126 => bytes.push(len as u8),
        126..65_536 => bytes.extend([&[126], &(len as u16).to_be_bytes()[..]].concat()),
        _ => bytes.extend([&[127], &(len as u64).to_be_bytes()[..]].concat()),
    }
    bytes.extend_from_slice(payload);
    bytes
}

fn sizes() -> impl Strategy<Value = usize> {
    prop_oneof![4 => 0..200_usize, 2 => 1000..20_000_usize, 1 => 65_530..65_545_usize, 2 => 70_000..300_000_usize]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Small and large, whole and in fragments, with pings between them, kept or not: what is received is what was sent.
    #[test]
    fn in_whatever_pieces_the_bytes_come_the_messages_are_those_that_were_sent(
        sent in prop::collection::vec((any::<bool>(), 0..3_usize, sizes(), sizes()), 1..20),
        cuts in prop::collection::vec(0..400_000_usize, 0..20),
        hesitates in any::<bool>(),
        keeps in any::<bool>(),
    ) {
        let (mut bytes, mut expected) = (Vec::new(), Vec::new());
        for (nth, (is_text, sort, one, other)) in sent.into_iter().enumerate() {
            let (opcode, byte) = (if is_text { 1 } else { 2 }, b'a' + nth as u8);
            let message = |len| {
                let payload = vec![byte; len];
                if is_text { String::from_utf8(payload).expect("letters").into() } else { Message::from(payload) }
            };
            let ping = Message::Ping(vec![byte; 3].into());
            match sort {
                0 => {
                    bytes.extend(frame(0x80 | opcode, &vec![byte; one]));
                    expected.push(message(one));
                }
                1 => {
                    bytes.extend([frame(0x89, &[byte; 3]), frame(0x80 | opcode, &vec![byte; one])].concat());
                    expected.extend([ping, message(one)]);
                }
                _ => {
                    bytes.extend([frame(opcode, &vec![byte; one]), frame(0x89, &[byte; 3])].concat());
                    bytes.extend(frame(0x80, &vec![byte; other]));
                    expected.extend([ping, message(one + other)]);
                }
            }
        }
        let mut cuts = cuts;
        cuts.sort_unstable();
        let (messages, _) = received(&bytes, &cuts, hesitates, keeps);
        prop_assert!(messages == expected);
    }
}

#[test]
fn large_frames_are_read_in_large_pieces() {
    const COUNT: usize = 8;
    let bytes = frame(0x82, &vec![7; 1 << 20]).repeat(COUNT);
    for keeps in [false, true] {
        let (messages, reads) = received(&bytes, &[], false, keeps);
        assert!(messages.len() == COUNT && messages.iter().all(|message| message.len() == 1 << 20));
        assert!(reads <= 10 * COUNT, "{reads} reads for {COUNT} MiB");
    }
}

#[test]
fn messages_that_are_kept_are_read_in_pieces_larger_than_the_buffer() {
    const COUNT: usize = 4096;
    let bytes = frame(0x82, &[7; 1024]).repeat(COUNT);
    let (messages, reads) = received(&bytes, &[], false, true);
    assert_eq!(messages.len(), COUNT);
    assert!(reads <= COUNT / 20, "{reads} reads for {COUNT} KiB");
}
