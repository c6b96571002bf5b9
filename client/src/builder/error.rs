//! Why a client cannot be built.

use std::{borrow::Cow, error::Error as StdError, fmt};

/// Which setting is wrong, and why: `Display` says both.
#[derive(Debug)]
pub struct BuildError {
    field: &'static str,
    why: Cow<'static, str>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl BuildError {
    pub(super) fn new(
        field: &'static str,
        why: impl Into<Cow<'static, str>>,
        source: Option<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        Self { field, why: why.into(), source }
    }

    /// What is wrong with it, and where there is a remedy, that.
    pub fn reason(&self) -> &str {
        &self.why
    }

    /// The setter's name; `url` and `runtime` for what comes from elsewhere.
    pub const fn field(&self) -> &'static str {
        self.field
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the client cannot be built: {}: {}", self.field, self.why)
    }
}

impl StdError for BuildError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
