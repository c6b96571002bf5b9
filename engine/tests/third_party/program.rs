//! A program of the system that is not ours, run for one test.

use std::{
    net::{Ipv4Addr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    time::Duration,
};

use super::common::TemporaryDirectory;

/// A server that listens on ports of its own, and ends with this.
pub(super) struct Program {
    child: Child,
    pub(super) ports: Vec<u16>,
}

impl Program {
    /// Starts the program on so many free ports. `configure` gets them and the name of a file, and gives what goes
    /// into that file and the arguments of the program. `None`, aloud, where it is not installed.
    pub(super) async fn start(
        name: &str,
        count: usize,
        directory: &TemporaryDirectory,
        configure: impl Fn(&[u16], &str) -> (String, Vec<String>),
    ) -> Option<Self> {
        let Some(path) = find(name) else {
            eprintln!("skipped: needs {name} (cargo xtask setup)");
            return None;
        };
        // A free port may be taken by somebody else before the program gets there: then it ends, and is tried again.
        let mut last_words = String::new();
        for _ in 0..5 {
            let ports = free_ports(count);
            let file = directory.path().join(format!("{name}.conf"));
            let (config, arguments) = configure(&ports, file.to_str().unwrap());
            std::fs::write(&file, config).unwrap();
            let said = directory.path().join(format!("{name}.log"));
            let child = Command::new(&path)
                .args(arguments)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(std::fs::File::create(&said).unwrap())
                .spawn()
                .unwrap();
            let mut program = Self { child, ports };
            if program.listens().await {
                return Some(program);
            }
            last_words = std::fs::read_to_string(&said).unwrap_or_default();
        }
        panic!("{name} does not start: {last_words}");
    }

    /// Whether it comes to listen on all its ports; `false` when it ends instead.
    async fn listens(&mut self) -> bool {
        let mut patience = 400; // 10 s
        while !self.ports.iter().all(|&port| TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()) {
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            patience -= 1;
            assert!(patience > 0, "it neither listens nor ends");
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        true
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Debian keeps servers where the path of a plain user does not lead.
fn find(name: &str) -> Option<std::path::PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/bin".into()]);
    places.map(|place| place.join(name)).find(|program| program.is_file())
}

fn free_ports(count: usize) -> Vec<u16> {
    let listeners: Vec<_> =
        (0..count).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()).collect();
    listeners.iter().map(|listener| listener.local_addr().unwrap().port()).collect()
}
