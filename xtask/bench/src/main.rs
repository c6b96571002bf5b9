//! `cargo xtask bench`; see the library of this package.

use std::process::ExitCode;

fn main() -> ExitCode {
    everwire_bench::main()
}
