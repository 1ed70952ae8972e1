//! One started program, its lines and its children.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chatlane_tests_e2e::patiently;
use nix::pty::{OpenptyResult, Winsize, openpty};
use tokio::fs::File;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;

/// How often to look at what nobody announces: the end of somebody else's child.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// The lines that a program has printed so far.
pub struct Lines {
    lines: Arc<Mutex<Vec<String>>>,
    /// How many there are; closed when there will be no more.
    count: watch::Receiver<usize>,
}

impl Lines {
    fn of(pipe: impl AsyncRead + Unpin + Send + 'static) -> Self {
        let lines = Arc::new(Mutex::new(vec![]));
        let (counted, count) = watch::channel(0);
        let kept = lines.clone();
        tokio::spawn(async move {
            let mut read = BufReader::new(pipe).lines();
            while let Ok(Some(line)) = read.next_line().await {
                kept.lock().unwrap_or_else(PoisonError::into_inner).push(line);
                counted.send_modify(|count| *count += 1);
            }
        });
        Self { lines, count }
    }

    pub fn all(&self) -> Vec<String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for a line, also among those that are there.
    pub async fn line(&self, what: &str, fits: impl Fn(&str) -> bool) -> String {
        let mut count = self.count.clone();
        let waiting = async {
            loop {
                count.borrow_and_update();
                if let Some(line) = self.all().into_iter().find(|line| fits(line)) {
                    return Some(line);
                }
                if count.changed().await.is_err() {
                    return self.all().into_iter().find(|line| fits(line));
                }
            }
        };
        patiently(what, waiting).await.unwrap_or_else(|| panic!("never printed: {what}; but: {:#?}", self.all()))
    }

    async fn ended(&self) {
        let mut count = self.count.clone();
        patiently("the pipe is closed", async { while count.changed().await.is_ok() {} }).await;
    }
}

pub struct Program {
    child: Child,
    input: Option<Box<dyn AsyncWrite + Send + Unpin>>,
    pub out: Lines,
    pub err: Lines,
}

impl Program {
    pub fn start(program: &Path, arguments: &[&str]) -> Self {
        let mut command = command(program, arguments);
        let mut child = spawn(command.stdin(Stdio::piped()).stdout(Stdio::piped()));
        let input = child.stdin.take().expect("piped");
        let out = Lines::of(child.stdout.take().expect("piped"));
        let err = Lines::of(child.stderr.take().expect("piped"));
        Self { child, input: Some(Box::new(input)), out, err }
    }

    /// The same at a terminal, whose one side is the test's and whose other is the program's. What is typed has no end; the lines of the
    /// output also hold what moves the cursor.
    pub fn start_at(terminal: &OwnedFd, of_program: OwnedFd, program: &Path, arguments: &[&str]) -> Self {
        let clone = |side: &OwnedFd| side.try_clone().expect("a file descriptor");
        let mut child = spawn(command(program, arguments).env("TERM", "xterm").stdin(clone(&of_program)).stdout(of_program));
        let [keyboard, screen] = [clone(terminal), clone(terminal)].map(|side| File::from_std(side.into()));
        let err = Lines::of(child.stderr.take().expect("piped"));
        Self { child, input: Some(Box::new(keyboard)), out: Lines::of(screen), err }
    }

    fn id(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    pub async fn type_line(&mut self, line: &str) {
        self.press(&format!("{line}\n")).await;
    }

    pub async fn press(&mut self, keys: &str) {
        let input = self.input.as_mut().expect("the input is open");
        input.write_all(keys.as_bytes()).await.expect("it reads");
        input.flush().await.expect("it reads");
    }

    pub fn end_input(&mut self) {
        self.input = None;
    }

    /// SIGKILL, and waits until it is gone.
    pub async fn kill(&mut self) {
        self.child.kill().await.expect("it runs");
    }

    /// Sends a signal by its name.
    pub fn signal(&self, name: &str) {
        let sent = std::process::Command::new("kill").args([&format!("-{name}"), &self.id().to_string()]).status();
        assert!(sent.expect("kill runs").success());
    }

    /// Waits until it ends by itself; its exit code (none: by a signal) and what it printed to standard error.
    pub async fn ended(&mut self) -> (Option<i32>, Vec<String>) {
        let status = patiently("the program ends", self.child.wait()).await.expect("its status");
        self.out.ended().await;
        self.err.ended().await;
        (status.code(), self.err.all())
    }

    /// The ids of the processes that it started and that live.
    pub fn children(&self) -> Vec<u32> {
        let processes = std::fs::read_dir("/proc").expect("/proc").filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        processes.filter(|process| parent_and_state(*process).is_some_and(|(parent, state)| parent == self.id() && state != 'Z')).collect()
    }
}

fn command(program: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).env_remove("_HANDLER").env_remove("AWS_LAMBDA_RUNTIME_API").stderr(Stdio::piped()).kill_on_drop(true);
    command
}

fn spawn(command: &mut Command) -> Child {
    command.spawn().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"))
}

/// A terminal of 100 columns: `master` is the test's side, `slave` the program's.
pub fn terminal() -> OpenptyResult {
    openpty(&Winsize { ws_row: 30, ws_col: 100, ws_xpixel: 0, ws_ypixel: 0 }, None).expect("a terminal")
}

/// Waits until none of these processes runs any more.
pub async fn gone(processes: &[u32]) {
    // A zombie has ended; who inherited it may never collect it.
    let runs = |process: &u32| parent_and_state(*process).is_some_and(|(_, state)| !matches!(state, 'Z' | 'X'));
    let waiting = async {
        while processes.iter().any(runs) {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    patiently("the processes end", waiting).await;
}

/// Source: `proc_pid_stat(5)`: `pid (comm) state ppid …`, where comm may hold anything.
fn parent_and_state(process: u32) -> Option<(u32, char)> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((fields.next()?.parse().ok()?, state))
}
