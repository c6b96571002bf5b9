//! Why a client cannot be built.

use std::{error::Error as StdError, fmt};

/// Which setting is wrong, and why.
#[derive(Debug)]
pub struct BuildError {
    field: &'static str,
    why: &'static str,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl BuildError {
    pub(super) fn new(
        field: &'static str,
        why: &'static str,
        source: Option<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        Self { field, why, source }
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
