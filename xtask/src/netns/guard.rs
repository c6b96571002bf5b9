//! Who cleans up when this program cannot: a shell that waits for its end, whatever kind of end.

use std::process::{Child, Command, Stdio};

use super::lab;

/// Waits until its input ends, which it does with the process that holds the other end. What is left then is ended
/// and removed by name. The pause lets a command that was under way come to its end.
const SCRIPT: &str = "
trap '' INT TERM HUP QUIT
while read -r line; do :; done
left() { ip netns list | cut -d ' ' -f 1 | grep \"^$1\"; }
[ -n \"$(left \"$1\")\" ] || exit 0
sleep 0.3
for name in $(left \"$1\"); do
    for process in $(ip netns pids \"$name\"); do kill -KILL \"$process\"; done
    ip netns delete \"$name\"
done
rm -f \"$2/$1\"*
";

/// While it lives, nothing that this process makes in namespaces outlives the process.
pub(super) struct Guard(Child);

impl Guard {
    pub(super) fn start() -> Result<Self, String> {
        let mut command = Command::new("sh");
        command.args(["-c", SCRIPT, "guard", &lab::prefix()]).arg(std::env::temp_dir());
        // A group of its own, so that a Ctrl-C at the terminal does not reach it.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().map(Self).map_err(|error| format!("sh does not run: {error}"))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}
