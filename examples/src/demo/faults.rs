//! The six faults, one after another, and what is expected of each.

use std::time::{Duration, Instant};

use everwire_client::{ApiError, DisconnectionSource};
use everwire_netmon::NetworkStatus;

use super::{
    Problem,
    participant::{Participant, Seen},
    row,
    timeline::{Row, Timeline},
};
use crate::{
    clock,
    proxy::{Mode, Proxy},
    server::Server,
};

/// Between two faults: longer than a connection takes to count as stable.
const CALM: Duration = Duration::from_millis(500);

/// Lets them all happen.
pub(super) async fn all(
    server: &Server,
    ann_path: &Proxy,
    [ann, ben]: [&Participant; 2],
    timeline: &Timeline,
) -> Result<Vec<Row>, Problem> {
    let no_pong = |source: &DisconnectionSource| matches!(source, DisconnectionSource::NoPongReceived);
    let mut rows = Vec::new();

    let fault =
        Fault::begin("server", "the server stops answering health checks", &[ann, ben], timeline).await;
    server.faults(|faults| faults.answer_health_checks = false);
    fault.noticed(no_pong).await?;
    fault.repaired("the server answers health checks again");
    server.faults(|faults| faults.answer_health_checks = true);
    rows.push(fault.back().await?);

    let fault = Fault::begin("server", "the server closes with 1012", &[ann, ben], timeline).await;
    server.close_all(1012, "restart");
    fault.noticed(|s| s.server_reason().is_some_and(|r| r.close_code().get() == 1012)).await?;
    rows.push(fault.back().await?);

    let fault = Fault::begin("path", "the TCP connection is reset", &[ann], timeline).await;
    ann_path.set_all(Mode::Reset)?;
    fault.noticed(|s| s.server_reason().is_some_and(|r| r.close.is_none())).await?;
    rows.push(fault.back().await?);

    let fault = Fault::begin("path", "the path goes silent, the socket stays open", &[ann], timeline).await;
    ann_path.set_all(Mode::Blackhole)?;
    fault.noticed(no_pong).await?;
    fault.repaired("the path carries again");
    ann_path.set_all(Mode::Pass)?;
    rows.push(fault.back().await?);

    let fault = Fault::begin("server", "the token expires (API error 40)", &[ann, ben], timeline).await;
    server.expire_tokens();
    fault.noticed(|s| s.api_error().is_some_and(|e| e.code == ApiError::TOKEN_EXPIRED)).await?;
    rows.push(fault.back().await?);

    let fault = Fault::begin("path", "the monitor reports offline, then online", &[ann], timeline).await;
    let closed = ann.seen().closed;
    ann_path.set_all(Mode::Blackhole)?;
    ann.monitor.set(NetworkStatus::offline());
    fault.noticed(no_pong).await?;
    // Only after the end of the close handshake could anybody dial at all.
    let attempts = ann.until("the end of its connection", |seen| seen.closed > closed).await?.attempts;
    tokio::time::sleep(CALM).await;
    timeline.expect(ann.seen().attempts == attempts, "nobody dials while the monitor reports offline");
    timeline.expect(ann.seen().viable == Some(false), "the application learned that the path is not viable");
    ann_path.set_all(Mode::Pass)?;
    fault.repaired("the path carries again, and the monitor reports online");
    ann.monitor.set(NetworkStatus::online());
    rows.push(fault.back().await?);
    Ok(rows)
}

/// A fault under way.
struct Fault<'a> {
    place: &'static str,
    name: &'static str,
    concerned: Vec<(&'a Participant, Seen)>,
    began: Instant,
    timeline: &'a Timeline,
}

impl<'a> Fault<'a> {
    async fn begin(
        place: &'static str,
        name: &'static str,
        concerned: &[&'a Participant],
        timeline: &'a Timeline,
    ) -> Self {
        tokio::time::sleep(CALM).await;
        let concerned = concerned.iter().map(|&who| (who, who.seen())).collect();
        timeline.note(place, "FAULT", name, None);
        Self { place, name, concerned, began: clock::now(), timeline }
    }

    /// Waits until all concerned know, for the reason expected.
    async fn noticed(&self, expected: impl Fn(&DisconnectionSource) -> bool) -> Result<(), Problem> {
        for (who, before) in &self.concerned {
            let seen = who.until(self.name, |seen| seen.drops > before.drops).await?;
            let source = seen.last_source.as_ref();
            self.timeline.expect(
                source.is_some_and(&expected),
                &format!("{}: {} knew the reason (it took {source:?})", self.name, who.name),
            );
        }
        Ok(())
    }

    /// Says that it is about to be over.
    fn repaired(&self, what: &str) {
        self.timeline.note(self.place, "REPAIR", what, None);
    }

    /// Waits until all concerned are back in the room.
    async fn back(self) -> Result<Row, Problem> {
        let (mut noticed, mut back) = (Duration::ZERO, Duration::ZERO);
        for (who, before) in &self.concerned {
            let what = format!("being back after: {}", self.name);
            let seen =
                who.until(&what, |seen| seen.backs > before.backs && seen.drops > before.drops).await?;
            let (dropped_at, back_at) =
                (seen.dropped_at.unwrap_or(self.began), seen.back_at.unwrap_or(self.began));
            noticed = noticed.max(dropped_at.saturating_duration_since(self.began));
            back = back.max(back_at.saturating_duration_since(dropped_at));
        }
        Ok(row(self.name, noticed, back))
    }
}
