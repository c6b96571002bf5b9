//! Running cargo and other programs, and where the workspace is.

use std::{
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

/// The folder of the workspace.
pub(crate) fn root() -> PathBuf {
    // `cargo run` sets the variable; a binary that was started by hand falls back on where it was built.
    let package = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    package.parent().map_or_else(|| package.clone(), Path::to_path_buf)
}

/// The cargo that runs us, in the folder of the workspace, with these arguments.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(root());
    command
}

/// Says what it runs, runs it, and tells whether it succeeded.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    println!("$ {}", shown(command));
    match command.status() {
        Ok(status) => status.success(),
        Err(error) => {
            eprintln!("{}: does not start: {error}", command.get_program().display());
            false
        }
    }
}

/// Whether cargo has this subcommand.
pub(crate) fn has(subcommand: &str) -> bool {
    let mut command = cargo(&[subcommand, "--version"]);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// How a command reads on a terminal, without the path of its program, and without where programs are looked for.
pub(crate) fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let mut line = program.file_name().unwrap_or(program.as_os_str()).display().to_string();
    for (name, value) in command.get_envs() {
        if let Some(value) = value.filter(|_| name != "PATH") {
            line = format!("{}={} {line}", name.display(), value.display());
        }
    }
    for argument in command.get_args() {
        line.push(' ');
        line.push_str(&argument.to_string_lossy());
    }
    line
}

/// Success or failure, as a program tells it.
pub(crate) fn exit(good: bool) -> ExitCode {
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_shown_without_the_paths_of_this_machine() {
        let mut command = Command::new("/opt/bin/cargo-deny");
        command.args(["check", "bans"]).env("PATH", "/opt/bin:/usr/bin").env("RUSTDOCFLAGS", "-Dwarnings");
        assert_eq!(shown(&command), "RUSTDOCFLAGS=-Dwarnings cargo-deny check bans");
    }
}
