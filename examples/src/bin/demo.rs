//! A secure video chat that survives six faults; see the module `demo`.
//!
//! `cargo run -p everwire-examples --bin demo -- --seed 7`

fn main() -> std::process::ExitCode {
    everwire_examples::demo::main(std::env::args_os())
}
