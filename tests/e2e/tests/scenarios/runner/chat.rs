//! Two terminals, and what is pulled from under them.

use chatlane_tests_e2e::{Folder, program};

use super::Runner;
use super::program::Program;

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
