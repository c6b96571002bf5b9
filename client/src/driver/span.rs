//! The span of an attempt: all that happens from its first moment to its `Disconnected` is told inside it.

use tracing::{Span, field::Empty};

use crate::{Attempt, DisconnectionSource};

/// How far an attempt is, as the span's field `stage` has it.
#[derive(Clone, Copy, Debug)]
pub(super) enum SpanStage {
    Credentials,
    Request,
    Engine,
    Authentication,
    Connected,
}

/// Opens it. Fields: the generation; the cause, which is `connect` or recovery's word; after which end of the last
/// attempt; the stage; and, once it is over, the end.
pub(super) fn attempt_span(attempt: &Attempt) -> Span {
    tracing::info_span!(
        "attempt",
        generation = attempt.generation,
        cause = attempt.cause,
        after = attempt.previous.as_ref().map(DisconnectionSource::name),
        stage = Empty,
        end = Empty,
    )
}

pub(super) fn record_stage(span: &Span, stage: SpanStage) {
    span.record(
        "stage",
        match stage {
            SpanStage::Credentials => "credentials",
            SpanStage::Request => "request",
            SpanStage::Engine => "engine",
            SpanStage::Authentication => "authentication",
            SpanStage::Connected => "connected",
        },
    );
}

pub(super) fn record_end(span: &Span, source: &DisconnectionSource) {
    span.record("end", source.name());
}
