//! What the gateway itself does not take: it closes the socket.

use chatlane_tests_e2e::Device;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

use super::scene::Scene;

/// Sends one text message in WebSocket frames of at most `frame_bytes`.
async fn send_in_frames(device: &Device, text: &[u8], frame_bytes: usize) -> anyhow::Result<()> {
    let last = text.chunks(frame_bytes).count() - 1;
    for (index, chunk) in text.chunks(frame_bytes).enumerate() {
        let data = if index == 0 { Data::Text } else { Data::Continue };
        device.send_message(Message::Frame(Frame::message(chunk.to_vec(), OpCode::Data(data), index == last))).await?;
    }
    Ok(())
}

// holds: R1
#[tokio::test(flavor = "multi_thread")]
async fn what_the_gateway_does_not_take_closes_that_socket_only() {
    let mut scene = Scene::new().await;
    let before = scene.alice.frames().len();
    let send = scene.good_send().to_string();
    let padded = |bytes: usize| format!("{send}{}", " ".repeat(bytes - send.len())).into_bytes();
    let invalid = send.replace("stored by mistake", "\u{1}").into_bytes();
    let lone_surrogate: Vec<u8> = invalid.iter().flat_map(|&byte| if byte == 1 { vec![0xed, 0xa0, 0x80] } else { vec![byte] }).collect();
    let rows = [
        ("a binary frame", None, 1003),
        ("a WebSocket frame of 33 KB", Some((padded(33 * 1024), usize::MAX)), 1009),
        ("a message of 129 KB in frames of 16 KB", Some((padded(129 * 1024), 16 * 1024)), 1009),
        ("a message of 129 KB in frames of 1 KB", Some((padded(129 * 1024), 1024)), 1009),
        ("a lone surrogate as raw bytes", Some((lone_surrogate, usize::MAX)), 1007),
        ("bytes that are no UTF-8", Some((vec![b'"', 0xff, b'"'], usize::MAX)), 1007),
    ];
    for (name, text, code) in rows {
        // A socket of its own, which is to be closed. It never said hello, so that closing it takes nothing away.
        let device = scene.stack.silent_device("alice").await;
        let closed = scene.harmless(name, async |_| {
            // The gateway may have closed before all of it is written.
            match text {
                None => drop(device.send_message(Message::binary(send.clone().into_bytes())).await),
                Some((text, frame_bytes)) => drop(send_in_frames(&device, &text, frame_bytes).await),
            }
            device.closed().await
        });
        assert_eq!(closed.await.code, code, "{name}");
        assert!(device.frames().is_empty(), "{name}: {:?}", device.frames());
    }
    scene.goes_on(0, before).await;
}

/// A message of several WebSocket frames may reach 128 KB at the gateway; what it holds is too large all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_100_kb_in_frames_that_the_gateway_takes_is_too_large() {
    let mut scene = Scene::new().await;
    let before = scene.alice.frames().len();
    let mut request = scene.good_send();
    request["messages"][0]["body"]["text"] = "x".repeat(100_000).into();
    let answer = scene.harmless("100 KB", async |scene| {
        send_in_frames(&scene.alice, request.to_string().as_bytes(), 16 * 1024).await.unwrap();
        scene.alice.until("an answer", |frames| frames.get(before).cloned()).await
    });
    let answer = answer.await.expect("an answer");
    assert_eq!(answer["results"][0]["code"], "too_large", "{answer}");
    scene.goes_on(1, before).await;
}
