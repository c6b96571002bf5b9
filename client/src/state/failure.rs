//! What went wrong in the words of the server's protocol, and in the authentication.

use std::{error::Error as StdError, fmt, sync::Arc, time::Duration};

/// An error that the server announced in its own protocol. The fields are Stream's
/// (`connection.error`); a decoder for another protocol fills what it has.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct ApiError {
    /// The protocol's own code, such as 40 for an expired token.
    pub code: i64,
    /// The HTTP-like status that goes with it.
    pub status: Option<u16>,
    /// In words.
    pub message: String,
    /// The server says that trying again is pointless.
    pub unrecoverable: bool,
    /// The server says not to try sooner.
    pub retry_after: Option<Duration>,
}

impl ApiError {
    /// Stream's code for an expired token.
    pub const TOKEN_EXPIRED: i64 = 40;

    /// An error with a code and words.
    pub fn new(code: i64, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), ..Self::default() }
    }

    /// With the HTTP-like status.
    #[must_use]
    pub const fn with_status(mut self, status: u16) -> Self {
        self.status = Some(status);
        self
    }

    /// Marked as one after which trying again is pointless.
    #[must_use]
    pub const fn unrecoverable(mut self) -> Self {
        self.unrecoverable = true;
        self
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "API error {}", self.code)?;
        if !self.message.is_empty() {
            write!(f, " {:?}", self.message)?;
        }
        Ok(())
    }
}

impl StdError for ApiError {}

/// Why an authentication failed.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum AuthenticationErrorKind {
    /// The credential provider or `on_connection_established` returned an error.
    Failed,
    /// It panicked.
    Panicked,
    /// The provider took longer than its deadline.
    Timeout,
    /// The server refused the credentials.
    Refused,
    /// The provider returned the very credentials that the server has just refused.
    RefusedTwice,
}

/// A failed authentication.
#[derive(Clone)]
pub struct AuthenticationError {
    kind: AuthenticationErrorKind,
    /// What the server said to the refused credentials.
    pub(crate) api_error: Option<ApiError>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
    /// The hook that returned it; none is the provider.
    hook: Option<&'static str>,
}

impl AuthenticationError {
    /// An error of a kind.
    pub const fn new(kind: AuthenticationErrorKind) -> Self {
        Self { kind, api_error: None, source: None, hook: None }
    }

    /// Credentials could not be produced, or not be presented, for this reason.
    pub fn failed(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self {
            kind: AuthenticationErrorKind::Failed,
            api_error: None,
            source: Some(Arc::from(source.into())),
            hook: None,
        }
    }

    /// The server refused the credentials and said so.
    pub const fn refused(error: ApiError) -> Self {
        Self { kind: AuthenticationErrorKind::Refused, api_error: Some(error), source: None, hook: None }
    }

    /// With what the server said to the refused credentials.
    #[must_use]
    pub fn with_api_error(mut self, error: Option<ApiError>) -> Self {
        self.api_error = error;
        self
    }

    /// As this hook's, which may have failed in something else than the authentication.
    pub(crate) const fn of_hook(mut self, hook: &'static str) -> Self {
        self.hook = Some(hook);
        self
    }

    /// With the words of the hook or the provider, where it was that which failed.
    pub(crate) const fn in_full(&self) -> InFull<'_> {
        InFull(self)
    }

    const fn words(&self) -> &'static str {
        match self.kind {
            AuthenticationErrorKind::Failed => "credentials could not be produced or presented",
            AuthenticationErrorKind::Panicked => "the authentication panicked",
            AuthenticationErrorKind::Timeout => "credentials were not produced in time",
            AuthenticationErrorKind::Refused => "the server refused the credentials",
            AuthenticationErrorKind::RefusedTwice => "the provider returned refused credentials again",
        }
    }

    /// What failed.
    pub const fn kind(&self) -> AuthenticationErrorKind {
        self.kind
    }
}

/// See [`AuthenticationError::in_full`].
pub(crate) struct InFull<'a>(&'a AuthenticationError);

impl fmt::Display for InFull<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)?;
        write_cause(f, self.0)
    }
}

/// What an application's own code said, quoted, since it may be of several lines.
pub(super) fn write_cause(f: &mut fmt::Formatter<'_>, error: &dyn StdError) -> fmt::Result {
    match error.source() {
        Some(cause) => write!(f, ": {:?}", cause.to_string()),
        None => Ok(()),
    }
}

/// An `AuthenticationError` stays what it is; any other error has [`failed`](AuthenticationError::failed).
impl From<Box<dyn StdError + Send + Sync>> for AuthenticationError {
    fn from(error: Box<dyn StdError + Send + Sync>) -> Self {
        error.downcast().map_or_else(Self::failed, |error| *error)
    }
}

impl fmt::Display for AuthenticationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let (AuthenticationErrorKind::Failed, Some(hook)) = (self.kind, self.hook) {
            write!(f, "`{hook}` returned an error")?;
        } else {
            f.write_str(self.words())?;
        }
        match &self.api_error {
            Some(error) => write!(f, " ({error})"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for AuthenticationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthenticationError")
            .field("kind", &self.kind)
            .field("api_error", &self.api_error)
            .field("source", &self.source)
            .field("hook", &self.hook)
            .finish()
    }
}

impl StdError for AuthenticationError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_the_servers_is_told_with_its_code_and_its_words_quoted() {
        let error = ApiError::new(40, "token \"x\" expired").with_status(401);
        assert_eq!(error.to_string(), r#"API error 40 "token \"x\" expired""#);
        assert_eq!((error.status, error.unrecoverable), (Some(401), false));
        let bare = ApiError::new(-7, "").unrecoverable();
        assert_eq!((bare.to_string().as_str(), bare.unrecoverable), ("API error -7", true));
    }

    #[test]
    fn a_failed_authentication_says_what_failed_and_keeps_its_cause_for_whoever_asks() {
        for (kind, words) in [
            (AuthenticationErrorKind::Failed, "credentials could not be produced or presented"),
            (AuthenticationErrorKind::Panicked, "the authentication panicked"),
            (AuthenticationErrorKind::Timeout, "credentials were not produced in time"),
            (AuthenticationErrorKind::Refused, "the server refused the credentials"),
            (AuthenticationErrorKind::RefusedTwice, "the provider returned refused credentials again"),
        ] {
            let error = AuthenticationError::new(kind);
            assert_eq!((error.kind(), error.to_string().as_str()), (kind, words));
            assert!(error.source().is_none());
            let told = error.with_api_error(Some(ApiError::new(40, "")));
            assert_eq!(told.to_string(), format!("{words} (API error 40)"));
        }
        let error = AuthenticationError::failed("the keychain is locked");
        assert_eq!(error.kind(), AuthenticationErrorKind::Failed);
        assert_eq!(error.source().map(ToString::to_string).as_deref(), Some("the keychain is locked"));
        assert!(format!("{error:?}").contains("keychain"));
        // The hook may do more than authenticate.
        let error = error.of_hook("on_connection_established");
        assert_eq!(error.to_string(), "`on_connection_established` returned an error");
    }
}
