//! What a builder refuses.

use std::{error::Error as StdError, fmt};

/// A configuration that cannot do what it says; names the field and what would be right.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct InvalidConfig {
    field: &'static str,
    problem: &'static str,
}

impl InvalidConfig {
    /// A refusal of a field, with a problem such as "must be above zero".
    pub const fn new(field: &'static str, problem: &'static str) -> Self {
        Self { field, problem }
    }

    /// Which field.
    pub const fn field(&self) -> &'static str {
        self.field
    }
}

impl fmt::Display for InvalidConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invalid recovery configuration: `{}` {}", self.field, self.problem)
    }
}

impl StdError for InvalidConfig {}
