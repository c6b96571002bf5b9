//! Connects to any WebSocket endpoint and shows what a resilient client sees and decides.
//!
//! `cargo run -p everwire-examples --bin watch -- wss://echo.example.org`

fn main() -> std::process::ExitCode {
    everwire_examples::watch::main(std::env::args_os())
}
