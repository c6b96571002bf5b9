//! A copy of the workspace that is changed in place of it.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command},
};

use crate::cargo::{cargo, root};

/// The copy. It is kept from run to run, so that only what changed is built again.
pub(crate) struct Copy {
    folder: PathBuf,
    /// What is built of it, apart from the workspace's own, where crates with and without a change would have the
    /// same names.
    build: PathBuf,
}

impl Copy {
    /// Brings the copy under `target/NAME` to the state of the workspace, what is not committed yet included.
    pub(crate) fn refresh(name: &str) -> Result<Self, String> {
        let from = root();
        let home = from.join("target").join(name);
        let folder = home.join("workspace");
        let mut git = Command::new("git");
        git.args(["ls-files", "--cached", "--others", "--exclude-standard", "-z"]).current_dir(&from);
        let output = git.output().map_err(|error| format!("git does not start: {error}"))?;
        if !output.status.success() {
            return Err("git does not list the files of the workspace".to_owned());
        }
        let listed = String::from_utf8_lossy(&output.stdout);
        let files: BTreeSet<&str> = listed.split('\0').filter(|name| from.join(name).is_file()).collect();
        for name in &files {
            copy(&from.join(name), &folder.join(name)).map_err(|error| format!("{name}: {error}"))?;
        }
        remove_others(&folder, &folder, &files).map_err(|error| format!("{}: {error}", folder.display()))?;
        Ok(Self { folder, build: home.join("build") })
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// A cargo that works in the copy.
    pub(crate) fn cargo(&self, arguments: &[&str]) -> Command {
        let mut command = cargo(arguments);
        command.current_dir(&self.folder).env("CARGO_TARGET_DIR", &self.build);
        command
    }

    /// Gives a file this content, and leaves one alone that has it.
    pub(crate) fn write(&self, name: &str, content: &str) -> Result<(), String> {
        write(&self.folder.join(name), content.as_bytes()).map_err(|error| format!("{name}: {error}"))
    }
}

/// Ends a cargo, and the test that it started: without its parent that would go on.
pub(crate) fn end(cargo: &mut Child) {
    let children = Command::new("pgrep").args(["--parent", &cargo.id().to_string()]).output();
    if let Ok(output) = children {
        for child in String::from_utf8_lossy(&output.stdout).split_whitespace() {
            let _ = Command::new("kill").args(["-KILL", child]).status();
        }
    }
    let _ = cargo.kill();
    let _ = cargo.wait();
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    write(to, &fs::read(from)?)
}

/// Writes a file unless it is the same already: one that stays as old as it is needs no building.
fn write(to: &Path, content: &[u8]) -> std::io::Result<()> {
    if fs::read(to).is_ok_and(|old| old == content) {
        return Ok(());
    }
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(to, content)
}

/// Removes what is no longer part of the workspace.
fn remove_others(root: &Path, folder: &Path, files: &BTreeSet<&str>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            remove_others(root, &path, files)?;
        } else {
            let name = path.strip_prefix(root).unwrap_or(&path).display().to_string().replace('\\', "/");
            if !files.contains(name.as_str()) {
                fs::remove_file(&path)?;
            }
        }
    }
    Ok(())
}
