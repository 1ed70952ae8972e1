//! How an environment's process is started, and how it ends when its parent does.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{Child, ChildStdin, Command};

use super::{FunctionSettings, LambdaSettings, LineSink};

/// The region that every local resource is in.
const REGION: &str = "us-east-1";

/// What `AWS_LAMBDA_FUNCTION_MEMORY_SIZE` says, in MB, as in the template. Nothing enforces it here.
const MEMORY_MB: &str = "512";

/// The ARN of a local function.
pub(super) fn function_arn(function: &str) -> String {
    format!("arn:aws:lambda:{REGION}:000000000000:function:{function}")
}

/// Starts the process of an environment. It sees only its function's variables and the ones that AWS defines. It sees none of its parent's,
/// since a developer's `AWS_PROFILE` must not reach it.
///
/// Variables: <https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html>, "Defined runtime environment variables".
pub(super) fn start(
    settings: &LambdaSettings,
    function: &FunctionSettings,
    caller: &str,
    lines: &LineSink,
) -> std::io::Result<(Child, Lifeline)> {
    let mut command = Command::new(&settings.program);
    command
        .env_clear()
        .envs(&function.environment)
        .env("_HANDLER", &function.name)
        // AWS gives `host:port`. The Rust runtime takes a base path too, but reads one only behind a scheme.
        .env("AWS_LAMBDA_RUNTIME_API", format!("http://{}/{caller}", settings.runtime_api))
        .env("AWS_LAMBDA_FUNCTION_NAME", &function.name)
        .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
        .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", MEMORY_MB)
        .env("AWS_LAMBDA_LOG_GROUP_NAME", format!("/aws/lambda/{}", function.name))
        .env("AWS_LAMBDA_LOG_STREAM_NAME", caller)
        .env("AWS_REGION", REGION)
        .env("AWS_DEFAULT_REGION", REGION)
        // The embedded endpoints distinguish the processes by the access key id that the SDK signs with.
        .env("AWS_ACCESS_KEY_ID", caller)
        .env("AWS_SECRET_ACCESS_KEY", "local")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    // A Ctrl-C in the terminal reaches the parent alone, which then stops its children in order.
    #[cfg(unix)]
    command.process_group(0);
    let mut child = command.spawn()?;
    // Taken out of the handle, because `Child::wait` closes it there.
    let lifeline = Lifeline { _input: child.stdin.take() };
    forward_lines(child.stdout.take(), caller, lines);
    forward_lines(child.stderr.take(), caller, lines);
    Ok((child, lifeline))
}

/// The parent's end of a process's standard input. Nothing is written to it; [`die_with_parent`] waits until it is closed.
pub(super) struct Lifeline {
    _input: Option<ChildStdin>,
}

fn forward_lines(pipe: Option<impl AsyncRead + Unpin + Send + 'static>, caller: &str, lines: &LineSink) {
    let Some(pipe) = pipe else { return };
    let (caller, lines) = (caller.to_owned(), LineSink::clone(lines));
    tokio::spawn(async move {
        let mut written = BufReader::new(pipe).split(b'\n');
        // An error ends the lines like a closed pipe.
        while let Ok(Some(line)) = written.next_segment().await {
            lines(&caller, String::from_utf8_lossy(&line).trim_end_matches('\r'));
        }
    });
}

/// For the child: ends this process as soon as the parent that holds its standard input is gone, however the parent died.
///
/// Call it once, before anything else, and only in a process that [`super::Lambda`] started: elsewhere standard input may already be at its
/// end.
pub fn die_with_parent() {
    std::thread::spawn(|| {
        // An error ends the wait like the end of the input, since without the pipe the parent's death could not be noticed.
        let _ended = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        std::process::exit(0);
    });
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::die_with_parent;

    const ROLE: &str = "CHATLANE_TEST_CHILD";

    /// This test starts itself again as the child.
    #[test]
    fn a_child_ends_when_its_standard_input_does() {
        if std::env::var_os(ROLE).is_some() {
            die_with_parent();
            loop {
                std::thread::park();
            }
        }
        let mut child = Command::new(std::env::current_exe().expect("the test's own path"))
            .args(["--exact", "lambda::process::tests::a_child_ends_when_its_standard_input_does", "--nocapture"])
            .env(ROLE, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("the test starts itself");
        assert_eq!(child.try_wait().expect("a state"), None, "it must live while its input is open");

        drop(child.stdin.take());

        let status = child.wait().expect("a status");
        assert!(status.success(), "ended by itself, not by a signal: {status}");
    }
}
