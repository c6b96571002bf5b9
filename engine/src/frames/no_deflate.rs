//! In the place of the module `deflate` where its feature is off: types that have no values, so that all that is done
//! with them is nothing, and costs nothing.

#![expect(
    clippy::trivially_copy_pass_by_ref,
    clippy::needless_pass_by_ref_mut,
    reason = "the signatures are those of the other form"
)]

use std::{convert::Infallible, fmt};

use bytes::Bytes;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Deflate(Infallible);

impl Deflate {
    pub(crate) const fn offer(&self) -> String {
        match self.0 {}
    }

    pub(crate) const fn accept(&self, _answer: &str) -> Result<Agreement, String> {
        match self.0 {}
    }

    pub(crate) const fn check(&self) -> Result<(), String> {
        match self.0 {}
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Agreement(Infallible);

pub(crate) struct Codec(Infallible);

impl Codec {
    pub(crate) const fn new(agreement: Agreement, _max: usize) -> Self {
        match agreement.0 {}
    }

    pub(crate) const fn compresses(&self, _len: usize) -> bool {
        match self.0 {}
    }

    pub(crate) const fn deflate(&mut self, _message: &[u8]) -> Bytes {
        match self.0 {}
    }

    pub(crate) const fn inflate(&mut self, _payload: &[u8]) -> Result<Bytes, InflateError> {
        match self.0 {}
    }
}

#[derive(Debug)]
#[expect(dead_code, reason = "the other form makes them")]
pub(crate) enum InflateError {
    TooLarge { compressed: usize },
    Corrupt,
}

impl fmt::Display for InflateError {
    fn fmt(&self, _f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Ok(())
    }
}
