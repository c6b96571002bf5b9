//! Reconnect or not: one pure function of how a connection ended.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use everwire_client::{
    ApiError, AuthenticationErrorKind, CertificateProblem, CloseCode, DisconnectionSource, EngineError,
    EngineErrorKind, ServerReason,
};

use crate::{Cause, StopReason, retry_after};

/// All that is known about the end of a connection or of an attempt.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Evidence<'a> {
    /// Why it ended; holds the close code, the HTTP status and the API error.
    pub source: &'a DisconnectionSource,
    /// How often in a row the server has refused credentials before this time. A stable connection ends the
    /// row.
    pub refusals: u32,
    /// Whether this client has ever been connected.
    pub ever_connected: bool,
    /// The wall clock, for HTTP dates.
    pub wall: SystemTime,
}

impl<'a> Evidence<'a> {
    /// Evidence of a client that was connected before and whose credentials were not refused.
    pub const fn new(source: &'a DisconnectionSource) -> Self {
        Self { source, refusals: 0, ever_connected: true, wall: SystemTime::UNIX_EPOCH }
    }

    /// With the number of refusals in a row before this one.
    #[must_use]
    pub const fn with_refusals(mut self, refusals: u32) -> Self {
        self.refusals = refusals;
        self
    }

    /// With whether the client has ever been connected.
    #[must_use]
    pub const fn with_ever_connected(mut self, ever_connected: bool) -> Self {
        self.ever_connected = ever_connected;
        self
    }

    /// With the wall clock.
    #[must_use]
    pub const fn with_wall(mut self, wall: SystemTime) -> Self {
        self.wall = wall;
        self
    }
}

/// What follows from the evidence.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Verdict {
    /// A retry is pointless or unwanted.
    Stop(StopReason),
    /// Try again.
    Retry {
        /// Decides the first delay.
        cause: Cause,
        /// The server asked not to come sooner.
        not_before: Option<Duration>,
    },
    /// Try again at once: the client asks its provider for new credentials, knowing of the refusal.
    RenewCredentials,
}

impl Verdict {
    /// A retry for a cause, with nothing asked by the server.
    pub const fn retry(cause: Cause) -> Self {
        Self::Retry { cause, not_before: None }
    }
}

/// Decides what follows from the end of a connection. [`DecisionTable`] is the one that is used unless another
/// is given; every `Fn(&Evidence<'_>) -> Verdict` is one too, so an exception is a closure around the table:
///
/// ```
/// use everwire_recovery::{Cause, Decide, DecisionTable, Evidence, Verdict};
///
/// // This server closes dead peers with 4321, and means it.
/// let table = DecisionTable::default();
/// let decide = move |evidence: &Evidence<'_>| match evidence.source.server_reason() {
///     Some(reason) if reason.close_code().get() == 4321 => Verdict::retry(Cause::ServerClosed),
///     _ => table.decide(evidence),
/// };
/// fn needs(_: impl Decide) {}
/// needs(decide);
/// ```
pub trait Decide: Send + 'static {
    /// The verdict. Pure: same evidence, same verdict.
    fn decide(&self, evidence: &Evidence<'_>) -> Verdict;
}

impl<F: Fn(&Evidence<'_>) -> Verdict + Send + 'static> Decide for F {
    fn decide(&self, evidence: &Evidence<'_>) -> Verdict {
        self(evidence)
    }
}

/// The table of §3: which end of a connection is followed by a retry. The crate's front page shows it as a
/// table.
#[derive(Clone, Debug)]
pub struct DecisionTable {
    retry_initial: bool,
    retry_normal_close: bool,
    centrifugo: bool,
    retry_after_cap: Duration,
}

impl Default for DecisionTable {
    fn default() -> Self {
        Self {
            retry_initial: true,
            retry_normal_close: false,
            centrifugo: false,
            retry_after_cap: Duration::from_secs(600),
        }
    }
}

/// The table as it is by default, for which nothing is held.
pub(crate) struct Usual;

impl Decide for Usual {
    fn decide(&self, evidence: &Evidence<'_>) -> Verdict {
        DecisionTable::default().decide(evidence)
    }
}

impl DecisionTable {
    /// Whether the first attempt ever is retried when it fails. Default: yes. Switch it off where somebody
    /// waits for the outcome of the first `connect` and would rather see an error.
    pub const fn retry_initial(mut self, retry_initial: bool) -> Self {
        self.retry_initial = retry_initial;
        self
    }

    /// Whether a close with code 1000 by the server is followed by a retry. Default: no, as in Stream's SDKs.
    /// RabbitMQ, for one, closes dead peers with 1000.
    pub const fn retry_normal_close(mut self, retry: bool) -> Self {
        self.retry_normal_close = retry;
        self
    }

    /// Whether close codes 3500–3999 and 4500–4999 stop, by Centrifugo's convention. Default: no, unknown
    /// codes above 3000 are retried.
    pub const fn centrifugo(mut self, centrifugo: bool) -> Self {
        self.centrifugo = centrifugo;
        self
    }

    /// The most that a server's `Retry-After` (or an API error's like) is obeyed. Default: 10 minutes.
    pub const fn retry_after_cap(mut self, cap: Duration) -> Self {
        self.retry_after_cap = cap;
        self
    }

    fn judge(&self, evidence: &Evidence<'_>) -> Verdict {
        match evidence.source {
            DisconnectionSource::UserInitiated => Verdict::Stop(StopReason::UserDisconnected),
            DisconnectionSource::SystemInitiated => Verdict::retry(Cause::SystemInitiated),
            DisconnectionSource::NoPongReceived => Verdict::retry(Cause::NoPongReceived),
            DisconnectionSource::ConnectTimeout { .. } => Verdict::retry(Cause::ConnectTimeout),
            DisconnectionSource::ServerInitiated(reason) => self.judge_server(reason, evidence),
            DisconnectionSource::AuthenticationFailed(error) => match error.kind() {
                AuthenticationErrorKind::RefusedTwice => Verdict::Stop(StopReason::CredentialsRefused),
                AuthenticationErrorKind::Refused => {
                    let judged = evidence.source.api_error();
                    judged
                        .and_then(|error| self.judge_api(error, evidence))
                        .unwrap_or_else(|| renew(evidence))
                }
                // A token endpoint that is down, hangs, or makes its caller's `unwrap` panic is a remote
                // failure like any other, and usually of the same outage: it is asked again, with back-off.
                _ => Verdict::retry(Cause::CredentialsUnavailable),
            },
            // A source of a later version of the client: staying away for ever is the worse mistake.
            _ => Verdict::retry(Cause::ConnectionLost),
        }
    }

    /// The API error knows most, then the HTTP answer, then the close frame: Stream closes with 1000 after
    /// most errors, so the code alone would mislead.
    fn judge_server(&self, reason: &ServerReason, evidence: &Evidence<'_>) -> Verdict {
        if let Some(verdict) = reason.api_error.as_ref().and_then(|error| self.judge_api(error, evidence)) {
            return self.not_sooner_than_told(verdict, reason, evidence);
        }
        let verdict = if let Some(status) = reason.http_status() {
            judge_status(status, evidence)
        } else if let Some(frame) = &reason.close {
            match frame.code {
                CloseCode::NORMAL if reason.api_error.is_some() => Verdict::retry(Cause::ApiError),
                code => self.judge_close(code, evidence),
            }
        } else if let Some(error) = &reason.engine_error {
            judge_engine(error, evidence)
        } else if reason.api_error.is_some() {
            Verdict::retry(Cause::ApiError)
        } else {
            self.judge_close(CloseCode::ABNORMAL, evidence)
        };
        self.not_sooner_than_told(verdict, reason, evidence)
    }

    /// `None` when the error says nothing of the matter.
    fn judge_api(&self, error: &ApiError, evidence: &Evidence<'_>) -> Option<Verdict> {
        let retry = |cause| Verdict::Retry {
            cause,
            not_before: error.retry_after.map(|told| told.min(self.retry_after_cap)),
        };
        let stop = Verdict::Stop(StopReason::ApiError(error.code));
        Some(match (error.code, error.status) {
            _ if error.unrecoverable => stop,
            (ApiError::TOKEN_EXPIRED, _) => renew(evidence),
            (2 | 43, _) => stop,
            // 41 and 42, not valid yet and used before issued: our clock or theirs is off, and time mends it.
            (9 | 41 | 42, _) | (_, Some(408 | 425 | 429)) => retry(Cause::ApiError),
            (_, Some(400..=499)) => stop,
            (_, None) if error.retry_after.is_none() => return None,
            _ => retry(Cause::ApiError),
        })
    }

    fn judge_close(&self, code: CloseCode, evidence: &Evidence<'_>) -> Verdict {
        match code.get() {
            1000 if !self.retry_normal_close => Verdict::Stop(StopReason::ServerClosed(code)),
            // Our own bug, or a limit: the same again would end the same.
            1002 | 1003 | 1007 | 1009 | 1010 => Verdict::Stop(StopReason::ServerClosed(code)),
            1006 => Verdict::retry(Cause::ConnectionLost),
            1008 | 3000 | 4401 | 4403 => renew(evidence),
            1012 => Verdict::retry(Cause::ServerRestarting),
            1013 => Verdict::retry(Cause::ServerOverloaded),
            3500..=3999 | 4500..=4999 if self.centrifugo => Verdict::Stop(StopReason::ServerClosed(code)),
            // 1001, 1005, 1011, 1014, codes reserved for later, and unknown codes of an application.
            _ => Verdict::retry(Cause::ServerClosed),
        }
    }

    fn not_sooner_than_told(
        &self,
        verdict: Verdict,
        reason: &ServerReason,
        evidence: &Evidence<'_>,
    ) -> Verdict {
        let Verdict::Retry { cause, not_before } = verdict else { return verdict };
        let told = reason
            .refusal()
            .and_then(|refusal| refusal.headers.get("retry-after"))
            .and_then(|value| value.to_str().ok())
            .and_then(|value| retry_after::parse(value, evidence.wall, self.retry_after_cap));
        match not_before.max(told) {
            not_before @ Some(_) => Verdict::Retry { cause: Cause::RetryAfter, not_before },
            None => Verdict::retry(cause),
        }
    }
}

impl Decide for DecisionTable {
    fn decide(&self, evidence: &Evidence<'_>) -> Verdict {
        match self.judge(evidence) {
            stop @ Verdict::Stop(_) => stop,
            _ if !self.retry_initial && !evidence.ever_connected => {
                Verdict::Stop(StopReason::InitialAttemptFailed)
            }
            verdict => verdict,
        }
    }
}

impl fmt::Debug for dyn Decide {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Decide")
    }
}

/// Once through the credential provider, then stop.
fn renew(evidence: &Evidence<'_>) -> Verdict {
    match evidence.refusals {
        0 => Verdict::RenewCredentials,
        _ => Verdict::Stop(StopReason::CredentialsRefused),
    }
}

fn judge_status(status: u16, evidence: &Evidence<'_>) -> Verdict {
    match status {
        401 | 403 => renew(evidence),
        407 => Verdict::Stop(StopReason::Misconfigured),
        300..=407 | 409..=424 | 426..=428 | 430..=499 => Verdict::Stop(StopReason::UpgradeRefused(status)),
        // 408, 425, 429, 5xx. And 200: a captive portal or a half-started balancer answers it to everything;
        // neither lasts.
        _ => Verdict::retry(Cause::UpgradeRefused),
    }
}

fn judge_engine(error: &EngineError, evidence: &Evidence<'_>) -> Verdict {
    match error.kind() {
        EngineErrorKind::InvalidRequest
        | EngineErrorKind::InvalidConfiguration
        | EngineErrorKind::ProxyAuthentication => Verdict::Stop(StopReason::Misconfigured),
        EngineErrorKind::Certificate(problem) if problem != CertificateProblem::NotYetValid => {
            Verdict::Stop(StopReason::Certificate(problem))
        }
        EngineErrorKind::Refused(status) => judge_status(status, evidence),
        EngineErrorKind::TooLarge { .. } => Verdict::Stop(StopReason::TooLarge),
        EngineErrorKind::Timeout => Verdict::retry(Cause::ConnectTimeout),
        // A request provider that asks a service, or whose pool is empty, is as a token endpoint that is down.
        EngineErrorKind::NoRequest
        | EngineErrorKind::Resolve
        | EngineErrorKind::Connect
        | EngineErrorKind::Proxy
        | EngineErrorKind::Tls
        // A certificate that is not valid yet is as API errors 41 and 42: a clock is off, and time mends it.
        | EngineErrorKind::Certificate(_) => Verdict::retry(Cause::DialFailed),
        EngineErrorKind::Upgrade => Verdict::retry(Cause::UpgradeRefused),
        // Bytes that are no WebSocket are what a proxy that dies in mid-stream leaves behind, so `Protocol`
        // and `InvalidUtf8` are losses too: it is the peer that broke the protocol, not we.
        _ => Verdict::retry(Cause::ConnectionLost),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use everwire_client::{AttemptStage, AuthenticationError, CloseFrame, Refusal, Stage};
    use http::{HeaderMap, StatusCode};

    use super::*;

    fn decide(source: &DisconnectionSource) -> Verdict {
        DecisionTable::default().decide(&Evidence::new(source))
    }

    fn closed(code: u16) -> DisconnectionSource {
        let frame = CloseFrame { code: CloseCode::received(code), reason: everwire_client::Text::default() };
        DisconnectionSource::from(ServerReason::closed(Some(frame)))
    }

    fn engine(kind: EngineErrorKind) -> DisconnectionSource {
        let error = EngineError::new(kind, Stage::Connect);
        DisconnectionSource::from(ServerReason::engine_error(error))
    }

    fn refused(status: u16, retry_after: Option<&str>) -> DisconnectionSource {
        let mut headers = HeaderMap::new();
        if let Some(value) = retry_after {
            headers.insert("retry-after", value.parse().unwrap());
        }
        let refusal = Refusal::new(StatusCode::from_u16(status).unwrap(), headers, Bytes::new());
        DisconnectionSource::from(ServerReason::engine_error(EngineError::refused(refusal)))
    }

    fn api(code: i64, status: Option<u16>) -> ApiError {
        let mut error = ApiError::new(code, "");
        error.status = status;
        error
    }

    /// As Stream's servers do: the error as a frame, then a close with 1000.
    fn announced(error: ApiError) -> DisconnectionSource {
        let frame = CloseFrame { code: CloseCode::NORMAL, reason: everwire_client::Text::default() };
        let mut reason = ServerReason::closed(Some(frame));
        reason.api_error = Some(error);
        reason.into()
    }

    fn told(cause: Cause, seconds: u64) -> Verdict {
        Verdict::Retry { cause, not_before: Some(Duration::from_secs(seconds)) }
    }

    const RENEW: Verdict = Verdict::RenewCredentials;

    fn stop_close(code: u16) -> Verdict {
        Verdict::Stop(StopReason::ServerClosed(CloseCode::received(code)))
    }

    #[test]
    fn rule_3_sources_without_a_server() {
        use DisconnectionSource as S;
        let auth = |kind| S::from(AuthenticationError::new(kind));
        let timeout = |stage| S::ConnectTimeout { stage };
        for (source, verdict) in [
            (S::UserInitiated, Verdict::Stop(StopReason::UserDisconnected)),
            (S::SystemInitiated, Verdict::retry(Cause::SystemInitiated)),
            (S::NoPongReceived, Verdict::retry(Cause::NoPongReceived)),
            (timeout(AttemptStage::Credentials), Verdict::retry(Cause::ConnectTimeout)),
            (timeout(AttemptStage::Authentication), Verdict::retry(Cause::ConnectTimeout)),
            (timeout(AttemptStage::Engine(Stage::Tls)), Verdict::retry(Cause::ConnectTimeout)),
            (auth(AuthenticationErrorKind::Refused), RENEW),
            (auth(AuthenticationErrorKind::RefusedTwice), Verdict::Stop(StopReason::CredentialsRefused)),
            (auth(AuthenticationErrorKind::Failed), Verdict::retry(Cause::CredentialsUnavailable)),
            (auth(AuthenticationErrorKind::Timeout), Verdict::retry(Cause::CredentialsUnavailable)),
            (auth(AuthenticationErrorKind::Panicked), Verdict::retry(Cause::CredentialsUnavailable)),
        ] {
            assert_eq!(decide(&source), verdict, "{source}");
        }
    }

    #[test]
    fn rule_3_close_codes() {
        for (codes, verdict) in [
            (&[1001, 1005, 1011, 1014][..], Verdict::retry(Cause::ServerClosed)),
            (&[1006], Verdict::retry(Cause::ConnectionLost)),
            (&[1012], Verdict::retry(Cause::ServerRestarting)),
            (&[1013], Verdict::retry(Cause::ServerOverloaded)),
            (&[1008, 3000, 4401, 4403], RENEW),
            (&[3001, 3499, 3500, 3999, 4000, 4001, 4321, 4500, 4999], Verdict::retry(Cause::ServerClosed)),
        ] {
            for &code in codes {
                assert_eq!(decide(&closed(code)), verdict, "{code}");
            }
        }
        for code in [1000, 1002, 1003, 1007, 1009, 1010] {
            assert_eq!(decide(&closed(code)), stop_close(code));
        }
        let no_frame = DisconnectionSource::from(ServerReason::closed(None));
        assert_eq!(decide(&no_frame), Verdict::retry(Cause::ConnectionLost), "reads as 1006");
    }

    /// §3: each code has one of three answers, and only the listed ones stop.
    #[test]
    fn rule_3_every_close_code_has_a_defined_answer() {
        let centrifugo = DecisionTable::default().centrifugo(true);
        for code in 1000..=4999 {
            let source = closed(code);
            let stops = matches!(code, 1000 | 1002 | 1003 | 1007 | 1009 | 1010);
            let renews = matches!(code, 1008 | 3000 | 4401 | 4403);
            let verdict = decide(&source);
            assert_eq!(matches!(verdict, Verdict::Stop(_)), stops, "{code}");
            assert_eq!(verdict == RENEW, renews, "{code}");

            let stops = stops || matches!(code, 3500..=3999 | 4500..=4999);
            let verdict = centrifugo.decide(&Evidence::new(&source));
            assert_eq!(matches!(verdict, Verdict::Stop(_)), stops, "{code} by Centrifugo's convention");
        }
    }

    #[test]
    fn rule_3_a_normal_close_is_retried_where_a_policy_says_so() {
        let table = DecisionTable::default().retry_normal_close(true);
        let source = closed(1000);
        assert_eq!(table.decide(&Evidence::new(&source)), Verdict::retry(Cause::ServerClosed));
    }

    #[test]
    fn rule_3_refused_upgrades() {
        for status in 100..=599 {
            let verdict = decide(&refused(status, None));
            let expected = match status {
                401 | 403 => RENEW,
                407 => Verdict::Stop(StopReason::Misconfigured),
                408 | 425 | 429 | 500..=599 | 100..=299 => Verdict::retry(Cause::UpgradeRefused),
                _ => Verdict::Stop(StopReason::UpgradeRefused(status)),
            };
            assert_eq!(verdict, expected, "{status}");
        }
    }

    #[test]
    fn rule_3_retry_after_is_a_capped_lower_bound() {
        for status in [408, 425, 429, 500, 503] {
            assert_eq!(decide(&refused(status, Some("7"))), told(Cause::RetryAfter, 7), "{status}");
        }
        assert_eq!(decide(&refused(503, Some("86400"))), told(Cause::RetryAfter, 600));
        let patient = DecisionTable::default().retry_after_cap(Duration::from_secs(3_600));
        let asked = refused(503, Some("86400"));
        assert_eq!(patient.decide(&Evidence::new(&asked)), told(Cause::RetryAfter, 3_600));
        assert_eq!(decide(&refused(503, Some("soon"))), Verdict::retry(Cause::UpgradeRefused));
        assert_eq!(decide(&refused(404, Some("7"))), Verdict::Stop(StopReason::UpgradeRefused(404)));

        let source = refused(503, Some("Sun, 06 Nov 1994 08:50:37 GMT"));
        let wall = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        let evidence = Evidence::new(&source).with_wall(wall);
        assert_eq!(DecisionTable::default().decide(&evidence), told(Cause::RetryAfter, 60));
    }

    #[test]
    fn rule_3_engine_errors() {
        use CertificateProblem as P;
        use EngineErrorKind as K;
        for kind in [K::NoRequest, K::Resolve, K::Connect, K::Proxy, K::Tls, K::Certificate(P::NotYetValid)] {
            assert_eq!(decide(&engine(kind)), Verdict::retry(Cause::DialFailed), "{kind:?}");
        }
        for kind in [K::Io, K::Closed, K::Protocol, K::InvalidUtf8] {
            assert_eq!(decide(&engine(kind)), Verdict::retry(Cause::ConnectionLost), "{kind:?}");
        }
        assert_eq!(decide(&engine(K::Timeout)), Verdict::retry(Cause::ConnectTimeout));
        assert_eq!(decide(&engine(K::Upgrade)), Verdict::retry(Cause::UpgradeRefused));
        for problem in [P::Expired, P::WrongHost, P::UnknownIssuer, P::Revoked, P::PinMismatch, P::Other] {
            let stop = Verdict::Stop(StopReason::Certificate(problem));
            assert_eq!(decide(&engine(K::Certificate(problem))), stop, "{problem:?}");
        }
        for kind in [K::InvalidRequest, K::InvalidConfiguration, K::ProxyAuthentication] {
            assert_eq!(decide(&engine(kind)), Verdict::Stop(StopReason::Misconfigured), "{kind:?}");
        }
        let large = K::TooLarge { what: everwire_client::Limit::Message, size: 2, max: 1 };
        assert_eq!(decide(&engine(large)), Verdict::Stop(StopReason::TooLarge));
        // An engine that tells the status alone, without the answer.
        assert_eq!(decide(&engine(K::Refused(404))), Verdict::Stop(StopReason::UpgradeRefused(404)));
        assert_eq!(decide(&engine(K::Refused(503))), Verdict::retry(Cause::UpgradeRefused));
    }

    #[test]
    fn rule_3_api_errors() {
        let stop = |code| Verdict::Stop(StopReason::ApiError(code));
        let retry = Verdict::retry(Cause::ApiError);
        for (error, verdict) in [
            (api(40, Some(401)), RENEW),
            (api(41, Some(401)), retry),
            (api(42, None), retry),
            (api(2, None), stop(2)),
            (api(43, Some(401)), stop(43)),
            (api(4, Some(400)), stop(4)),
            (api(5, Some(401)), stop(5)),
            (api(17, Some(403)), stop(17)),
            (api(9, None), retry),
            (api(9, Some(429)), retry),
            (api(77, Some(429)), retry),
            (api(77, Some(503)), retry),
            (api(77, None), retry),
            (api(77, Some(500)).unrecoverable(), stop(77)),
            (api(40, Some(401)).unrecoverable(), stop(40)),
        ] {
            assert_eq!(decide(&announced(error.clone())), verdict, "{error:?}");
        }
    }

    #[test]
    fn rule_3_rate_limits_are_not_retried_sooner_than_told() {
        let mut error = api(9, Some(429));
        error.retry_after = Some(Duration::from_secs(11));
        assert_eq!(decide(&announced(error)), told(Cause::RetryAfter, 11));
    }

    #[test]
    fn rule_3_an_api_error_that_says_when_is_obeyed_though_nothing_else_is_known_of_it() {
        let mut error = api(77, None);
        error.retry_after = Some(Duration::from_secs(11));
        let DisconnectionSource::ServerInitiated(mut reason) = closed(4401) else { unreachable!() };
        reason.api_error = Some(error);
        assert_eq!(decide(&DisconnectionSource::ServerInitiated(reason)), told(Cause::RetryAfter, 11));
    }

    #[test]
    fn an_api_error_that_says_nothing_leaves_the_decision_to_the_close_code() {
        let DisconnectionSource::ServerInitiated(mut reason) = closed(4401) else { unreachable!() };
        reason.api_error = Some(api(77, None));
        assert_eq!(decide(&DisconnectionSource::ServerInitiated(reason)), RENEW);
    }

    #[test]
    fn an_api_error_in_the_body_of_a_refused_upgrade_counts_before_the_status() {
        let DisconnectionSource::ServerInitiated(mut reason) = refused(401, None) else { unreachable!() };
        reason.api_error = Some(api(43, Some(401)));
        assert_eq!(
            decide(&DisconnectionSource::ServerInitiated(reason)),
            Verdict::Stop(StopReason::ApiError(43))
        );
    }

    /// §3: once through the credential provider, then stop.
    #[test]
    fn rule_3_a_second_refusal_in_a_row_stops() {
        let refused_with_40 = AuthenticationError::refused(api(40, Some(401)));
        for source in [
            closed(1008),
            closed(3000),
            closed(4401),
            closed(4403),
            refused(401, None),
            refused(403, None),
            announced(api(40, Some(401))),
            DisconnectionSource::from(refused_with_40),
        ] {
            let table = DecisionTable::default();
            assert_eq!(table.decide(&Evidence::new(&source)), RENEW, "{source}");
            assert_eq!(
                table.decide(&Evidence::new(&source).with_refusals(1)),
                Verdict::Stop(StopReason::CredentialsRefused),
                "{source}"
            );
        }
    }

    #[test]
    fn a_table_of_any_kind_prints_by_its_trait() {
        let table: Box<dyn Decide> = Box::new(DecisionTable::default());
        assert_eq!(format!("{table:?}"), "Decide");
    }

    #[test]
    fn rule_3_retry_initial_off_stops_after_the_first_attempt_ever() {
        let table = DecisionTable::default().retry_initial(false);
        let source = closed(1011);
        let first = Evidence::new(&source).with_ever_connected(false);
        assert_eq!(table.decide(&first), Verdict::Stop(StopReason::InitialAttemptFailed));
        assert_eq!(table.decide(&Evidence::new(&source)), Verdict::retry(Cause::ServerClosed));
        assert_eq!(DecisionTable::default().decide(&first), Verdict::retry(Cause::ServerClosed));
        // What stops anyway keeps its own reason.
        let source = closed(1002);
        let first = Evidence::new(&source).with_ever_connected(false);
        let code = CloseCode::PROTOCOL;
        assert_eq!(table.decide(&first), Verdict::Stop(StopReason::ServerClosed(code)));
    }
}
