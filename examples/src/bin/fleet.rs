//! Ten thousand live connections in one process, and a server in another that is killed and started again.
//!
//! `cargo xtask fleet --clients 10000` builds what is needed and runs it.

fn main() -> std::process::ExitCode {
    everwire_examples::fleet::main(std::env::args_os())
}
