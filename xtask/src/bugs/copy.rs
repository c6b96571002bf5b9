//! The copy of the workspace that bugs are put into.

use std::{
    collections::BTreeSet,
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use super::patch::Patch;
use crate::cargo::{cargo, root};

/// The copy. It is kept from run to run, so that only what changed is built again.
pub(super) struct Copy {
    folder: PathBuf,
}

impl Copy {
    /// Brings the copy to the state of the workspace, what is not committed yet included.
    pub(super) fn refresh() -> Result<Self, String> {
        let from = root();
        let folder = from.join("target/bugs/workspace");
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
        Ok(Self { folder })
    }

    /// A cargo that works in the copy, with a folder of its own for what it builds: in the workspace's, crates with
    /// and without a bug would have the same names.
    pub(super) fn cargo(&self, arguments: &[&str]) -> Command {
        let mut command = cargo(arguments);
        command.current_dir(&self.folder).env("CARGO_TARGET_DIR", root().join("target/bugs/build"));
        command
    }

    /// Puts the bug in. `false`: the patch does not fit any more.
    pub(super) fn apply(&self, patch: &Patch) -> Result<bool, String> {
        self.git_apply(patch, &[])
    }

    /// Takes the bug out again.
    pub(super) fn take_back(&self, patch: &Patch) -> Result<(), String> {
        if self.git_apply(patch, &["--reverse"])? {
            return Ok(());
        }
        Err(format!("{} could not be taken back; remove {} and run again", patch.name, self.folder.display()))
    }

    fn git_apply(&self, patch: &Patch, arguments: &[&str]) -> Result<bool, String> {
        let mut command = Command::new("git");
        command.arg("apply").args(arguments).arg("-").current_dir(&self.folder);
        // Within a repository git would look for the files in that one.
        command.env("GIT_CEILING_DIRECTORIES", root().join("target/bugs"));
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().map_err(|error| format!("git does not start: {error}"))?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(patch.text.as_bytes()).map_err(|error| format!("{}: {error}", patch.name))?;
        }
        let status = child.wait().map_err(|error| format!("git is lost: {error}"))?;
        Ok(status.success())
    }
}

/// Ends a cargo, and the test that it started: without its parent that would go on.
pub(super) fn end(cargo: &mut Child) {
    let children = Command::new("pgrep").args(["--parent", &cargo.id().to_string()]).output();
    if let Ok(output) = children {
        for child in String::from_utf8_lossy(&output.stdout).split_whitespace() {
            let _ = Command::new("kill").args(["-KILL", child]).status();
        }
    }
    let _ = cargo.kill();
    let _ = cargo.wait();
}

/// Copies a file unless the copy is the same already: one that stays as old as it is needs no building.
fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    let content = fs::read(from)?;
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
