//! Two terminals, and what is pulled from under them.

use chatlane_tests_e2e::{Folder, program};
use nix::pty::OpenptyResult;
use nix::sys::termios::{LocalFlags, tcgetattr};

use super::Runner;
use super::program::{Program, terminal};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_typed_survives_kill_9_of_the_chat_and_of_the_stack_and_arrives_once() {
    let data = Folder::new();
    let mut runner = Runner::start(&data, &[]).await;
    let port = runner.port.clone();
    let chat = |name: &str| Program::start(&program(), &["chat", name, "--port", &port, "--data", data.as_str()]);
    let bob = chat("bob");
    bob.out.line("bob is there", |line| line.starts_with("· online")).await;
    let mut alice = chat("alice");
    alice.type_line("one").await;
    bob.out.line("one", |line| line == "alice: one  #2").await;
    alice.out.line("one is read", |line| line == "  ✓✓ #2 read by bob").await;

    runner.program.kill().await;
    alice.out.line("alice is alone", |line| line.starts_with("· offline")).await;
    alice.type_line("two").await;
    alice.out.line("two is kept", |line| line == "  ○ two").await;
    alice.kill().await;

    let alice = chat("alice");
    alice.out.line("one is still there", |line| line == "alice: one  #2 ✓✓").await;
    alice.out.line("two still waits", |line| line == "  ○ two").await;

    let again = Program::start(&program(), &["--port", &port, "--data", data.as_str()]);
    again.out.line("the stack is back", |line| line.starts_with("Ctrl-C ")).await;
    alice.out.line("two is stored", |line| line == "  ✓ #3 two").await;
    bob.out.line("two", |line| line == "alice: two  #3").await;
    bob.out.line("bob has noticed", |line| line.starts_with("· back")).await;
    alice.out.line("two is read", |line| line == "  ✓✓ #3 read by bob").await;
    assert_eq!(bob.out.all().iter().filter(|line| line.contains("alice: ")).count(), 2, "{:#?}", bob.out.all());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_to_somebody_new_that_was_typed_offline_survives_kill_9_and_is_sent() {
    let data = Folder::new();
    let mut runner = Runner::start(&data, &[]).await;
    let port = runner.port.clone();
    let chat = || Program::start(&program(), &["chat", "alice", "--port", &port, "--data", data.as_str()]);
    let mut alice = chat();
    alice.out.line("alice is there", |line| line.starts_with("· online")).await;
    runner.program.kill().await;
    alice.out.line("alice is alone", |line| line.starts_with("· offline")).await;
    alice.type_line("/with newcomer").await;
    alice.type_line("welcome").await;
    alice.out.line("it is kept", |line| line == "  ○ welcome").await;
    alice.kill().await;

    let _again = Program::start(&program(), &["--port", &port, "--data", data.as_str()]);
    let alice = chat();
    alice.out.line("it is sent", |line| line.starts_with("  ✓ #2 ") && line.ends_with("welcome")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_chats_of_one_user_are_two_devices() {
    let data = Folder::new();
    let runner = Runner::start(&data, &[]).await;
    let chat = |name: &str| Program::start(&program(), &["chat", name, "--port", &runner.port, "--data", data.as_str()]);
    let (phone, mut laptop) = (chat("alice"), chat("alice"));
    for device in [&phone, &laptop] {
        device.out.line("online", |line| line.starts_with("· online")).await;
        device.out.line("the conversation", |line| line == "· talking to bob").await;
    }
    laptop.type_line("from here").await;
    phone.out.line("it is there, too", |line| line == "alice: from here  #2").await;
    laptop.end_input();
    assert_eq!(laptop.ended().await, (Some(0), vec![]));
}

#[tokio::test(flavor = "multi_thread")]
async fn at_a_terminal_what_is_being_typed_survives_what_comes_in_and_no_line_is_too_long() {
    let data = Folder::new();
    let runner = Runner::start(&data, &[]).await;
    let arguments = |name| ["chat", name, "--port", &runner.port, "--data", data.as_str()];
    let mut bob = Program::start(&program(), &arguments("bob"));
    bob.out.line("bob is there", |line| line.starts_with("· online")).await;
    let OpenptyResult { master, slave } = terminal();
    let mut alice = Program::start_at(&master, slave, &program(), &arguments("alice"));
    alice.out.line("alice is there", |line| line.contains("· online")).await;

    alice.press("half typed 日本").await;
    for (seq, line) in ["one", "two", "three"].into_iter().enumerate() {
        bob.type_line(line).await;
        let shown = format!("bob: {line}  #{}", seq + 2);
        alice.out.line(line, |line| line.contains(&shown)).await;
    }
    let (left, up) = ("\x1b[D", "\x1b[A");
    alice.press(&format!("{left}{left}é\r")).await;
    bob.out.line("all of the line", |line| line == "alice: half typed é日本  #5").await;
    alice.press(&format!("{up}!\r//help\r")).await;
    bob.out.line("the line before, changed", |line| line == "alice: half typed é日本!  #6").await;
    bob.out.line("a line with a slash", |line| line == "alice: /help  #7").await;

    let long = "ä".repeat(6_000);
    alice.press(&format!("short\r{long}\r")).await;
    let whole = format!("alice: {long}  #9");
    bob.out.line("12,000 bytes, typed", |line| line == whole).await;
    let (paste, pasted) = ("\x1b[200~", "\x1b[201~");
    alice.press(&format!("{paste}{long}\nlast\n{pasted}\r")).await;
    let whole = format!("alice: {long}  #10");
    bob.out.line("12,000 bytes, pasted", |line| line == whole).await;
    bob.out.line("a line of its own", |line| line == "alice: last  #11").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_is_as_it_was_however_the_chat_ends() {
    let data = Folder::new();
    let runner = Runner::start(&data, &[]).await;
    let arguments = ["chat", "alice", "--port", &runner.port, "--data", data.as_str()];
    for ending in ["/quit\r", "/quit\rls\rls\r", "half\x03", "last words\r\x04", "\x04\x04", "SIGTERM"] {
        let OpenptyResult { master, slave } = terminal();
        let found = tcgetattr(&master).unwrap();
        assert!(found.local_flags.contains(LocalFlags::ICANON | LocalFlags::ECHO));
        let mut alice = Program::start_at(&master, slave, &program(), &arguments);
        alice.out.line("alice is there", |line| line.contains("· online")).await;
        assert!(!tcgetattr(&master).unwrap().local_flags.intersects(LocalFlags::ICANON | LocalFlags::ECHO));
        if ending == "SIGTERM" {
            alice.signal("TERM");
        } else {
            alice.press(ending).await;
        }
        assert_eq!(alice.ended().await, (Some(0), vec![]), "{ending:?}");
        assert_eq!(tcgetattr(&master).unwrap(), found, "{ending:?}");
    }
}
