//! A terminal in which one line is edited while others are printed above it.
//!
//! The editor blocks a thread of its own until a line is complete, and nothing but the terminal ends that. So the thread is left behind at
//! the end, without the terminal, which gets back the mode in which it was found.

use std::fs::File;
use std::io::{self, ErrorKind, IsTerminal as _, Write};
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::sys::termios::{InputFlags, LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
use nix::unistd::dup2_stdin;
use rustyline::error::{ReadlineError, Signal};
use rustyline::{Config, DefaultEditor, ExternalPrinter};
use tokio::io::{AsyncBufRead, AsyncWriteExt as _, BufReader, DuplexStream, duplex};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// How long the end waits for the last lines to be printed: an editor in which the user searches the history prints nothing.
const LAST_LINES_WAIT: Duration = Duration::from_secs(1);

/// Printed, this changes nothing: one line up and one down again.
const NOTHING: &str = "\x1b[A\n";

/// The end of a bracketed paste's mode, and of the line that is being edited.
const LEAVE: &str = "\x1b[?2004l\r\x1b[J";

/// Where a terminal that edits a line itself cuts it off (`n_tty.c` of Linux: 4,096 bytes with the line end; `MAX_CANON` of macOS).
const CUT_AT: usize = if cfg!(target_os = "macos") { 1_024 } else { 4_095 };

/// A terminal that is being used. Dropping this gives its mode back, after what was printed through it; drop the output first.
#[derive(Debug)]
pub struct Editor {
    terminal: OwnedFd,
    found: Termios,
    /// Disconnected when all is printed.
    ended: mpsc::Receiver<()>,
    left: oneshot::Receiver<()>,
}

impl Editor {
    /// The terminal of this process, its lines and what prints above them. `None` where there is none, or none whose cursor can be moved.
    /// Must be called within a tokio runtime.
    ///
    /// # Errors
    /// The terminal's mode cannot be changed.
    pub fn open() -> io::Result<Option<(Self, impl AsyncBufRead + Unpin, impl Write)>> {
        if !(io::stdin().is_terminal() && io::stdout().is_terminal()) {
            return Ok(None);
        }
        let Ok(mut editor) = DefaultEditor::with_config(Config::builder().auto_add_history(true).build()) else { return Ok(None) };
        let Ok(printer) = editor.create_external_printer() else { return Ok(None) };
        let terminal = io::stdin().as_fd().try_clone_to_owned()?;
        let found = tcgetattr(&terminal)?;
        let mut between_lines = found.clone();
        // Whatever is typed or pasted before the editor reads the next line is left to it as it is: not cut at 4,095 bytes, not shown
        // twice, and Ctrl-C does not end the process before the mode is given back.
        between_lines.local_flags.remove(LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG | LocalFlags::IEXTEN);
        between_lines.input_flags.remove(InputFlags::ICRNL | InputFlags::IXON);
        tcsetattr(&terminal, SetArg::TCSADRAIN, &between_lines)?;

        // No limit: the thread must go on to the next line, where it prints, whether the chat reads or prints.
        let (typed, input) = duplex(usize::MAX);
        let (lines, to_print) = mpsc::channel();
        let (end, ended) = mpsc::channel();
        let (leaving, left) = oneshot::channel();
        let runtime = Handle::current();
        thread::spawn(move || {
            read(&mut editor, typed, &runtime);
            drop(leaving);
        });
        // The editor takes one line at a time, and none while the user searches the history: the chat does not wait for that.
        thread::spawn(move || {
            print(printer, to_print);
            drop(end);
        });
        Ok(Some((Self { terminal, found, ended, left }, BufReader::new(input), Screen { line: vec![], lines })))
    }

    /// The same where there is no editor: at how many bytes the input cuts a line off.
    pub fn cut_at() -> Option<usize> {
        io::stdin().is_terminal().then_some(CUT_AT)
    }

    /// Waits until the user leaves though the chat has not ended: by a second Ctrl-C or Ctrl-D, or because the terminal is gone.
    pub async fn left(&mut self) {
        // What comes is that nothing will come.
        let _gone = (&mut self.left).await;
    }
}

impl Drop for Editor {
    fn drop(&mut self) {
        // A terminal that is gone has no mode, and nobody looks at it.
        let _ended = self.ended.recv_timeout(LAST_LINES_WAIT);
        // The thread that waits for a key has no terminal any more: it takes nothing that is typed from here on, and changes no mode.
        let _taken = File::open("/dev/null").map(dup2_stdin);
        let _restored = tcsetattr(&self.terminal, SetArg::TCSADRAIN, &self.found);
        let mut output = io::stdout();
        let _left = output.write_all(LEAVE.as_bytes()).and_then(|()| output.flush());
    }
}

/// Feeds the chat with lines until the user leaves. A paste of several lines is several.
fn read(editor: &mut DefaultEditor, typed: DuplexStream, runtime: &Handle) {
    let mut typed = Some(typed);
    loop {
        let read = editor.readline("");
        let ends = matches!(read, Err(ReadlineError::Eof | ReadlineError::Interrupted));
        let mut line = match read {
            Ok(line) => line.into_bytes(),
            // The chat says what is wrong with it.
            Err(ReadlineError::Io(error)) if error.kind() == ErrorKind::InvalidData => vec![0xff],
            Err(ReadlineError::Signal(Signal::Resize)) => continue,
            // Ctrl-D: the chat waits for its last words, which come above the next line.
            Err(ReadlineError::Eof) if typed.is_some() => vec![],
            Err(ReadlineError::Interrupted) if typed.is_some() => b"/quit".to_vec(),
            Err(_) => return,
        };
        line.push(b'\n');
        // A chat that has ended reads no more.
        let _written = typed.as_mut().map(|typed| runtime.block_on(typed.write_all(&line)));
        typed = typed.filter(|_| !ends);
    }
}

/// Prints the chat's lines. The editor takes the next one when it has printed the one before: where the second that changes nothing is
/// taken, all of the chat's are on the screen.
fn print(mut printer: impl ExternalPrinter, lines: mpsc::Receiver<String>) {
    for line in lines.into_iter().chain([NOTHING.to_owned(), NOTHING.to_owned()]) {
        if printer.print(line).is_err() {
            return; // the terminal is gone, which the chat learns with its next line
        }
    }
}

/// Where the chat writes its lines.
struct Screen {
    line: Vec<u8>,
    lines: mpsc::Sender<String>,
}

impl Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Write::write(&mut self.line, bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        let line = String::from_utf8(std::mem::take(&mut self.line)).map_err(io::Error::other)?;
        self.lines.send(line).map_err(io::Error::other)
    }
}
