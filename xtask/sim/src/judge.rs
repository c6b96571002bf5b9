//! What recovery decided: in words, and whether it had a reason to stop.

use everwire_recovery::{Decision, RecoveryStatus, StopReason};

use crate::hall::Said;

/// A decision on one line.
pub(crate) fn words(decision: &Decision) -> String {
    let cause = match decision {
        Decision::Stop { reason, .. } => reason.to_string(),
        other => other.cause().map(|cause| cause.to_string()).unwrap_or_default(),
    };
    let delay = decision.delay().map(|delay| format!(" in {delay:?}")).unwrap_or_default();
    format!("recovery: {}{delay}, {cause}", decision.name())
}

/// What recovery is doing, without a moment of this machine's clock.
pub(crate) const fn status(status: RecoveryStatus) -> &'static str {
    match status {
        RecoveryStatus::Idle => "idle",
        RecoveryStatus::Waiting { .. } => "waiting",
        RecoveryStatus::Connecting { .. } => "connecting",
        RecoveryStatus::Stopped { .. } => "stopped",
        _ => "doing something else",
    }
}

/// Recovery may stop only for what the client was told.
pub(crate) fn stop(reason: StopReason, said: &Said) -> Result<(), String> {
    let code = |code: u16| said.codes.contains(&code);
    let has_reason = match reason {
        StopReason::UserDisconnected | StopReason::ClientGone => true,
        StopReason::ServerClosed(closed) => code(closed.get()),
        StopReason::UpgradeRefused(status) => said.statuses.contains(&status),
        StopReason::ApiError(error) => said.errors.contains(&error),
        StopReason::CredentialsRefused => {
            said.errors.contains(&40)
                || [401, 403].iter().any(|status| said.statuses.contains(status))
                || [1008, 3000, 4401, 4403].into_iter().any(code)
        }
        _ => false,
    };
    // A spoilt close frame says anything.
    if has_reason || said.spoilt {
        return Ok(());
    }
    Err(format!("recovery stopped without a reason: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_needs_a_reason_that_the_server_gave() {
        let said = Said { errors: [2].into(), statuses: [404].into(), ..Said::default() };
        assert!(stop(StopReason::ApiError(2), &said).is_ok());
        assert!(stop(StopReason::UpgradeRefused(404), &said).is_ok());
        assert!(stop(StopReason::UserDisconnected, &Said::default()).is_ok());
        for reason in [StopReason::ApiError(3), StopReason::CredentialsRefused, StopReason::TimeExhausted] {
            assert!(stop(reason, &said).unwrap_err().contains("without a reason"), "{reason:?}");
        }
    }
}
