//! The bad network between one phone and the gateway: a TCP proxy that delays bytes, cuts connections, lets them fall silent, and lets every
//! `send` arrive three times.
//!
//! A cut ends both sides at once, possibly in the middle of a frame. A connection that has fallen silent stays open on both sides, and
//! nothing passes any more: neither side is told. The copies of a request arrive at random times on whatever connection there is then,
//! as retries of a client would that never gives up too early; each has an `id` of its own, so that its answer is nobody's.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::{Dice, patiently};

/// Each request is sent so often beside the first time.
pub const COPIES: u64 = 2;

/// A copy arrives within this time, if there is a connection.
const COPY_WITHIN: Duration = Duration::from_secs(3);

/// One phone's way to the gateway.
pub struct Line {
    address: SocketAddr,
    shared: Arc<Shared>,
    _listener: JoinSet<()>,
}

struct Shared {
    gateway: SocketAddr,
    seed: u64,
    /// Nothing comes through at all.
    down: watch::Sender<bool>,
    /// What befalls the connections that are open.
    fault: watch::Sender<Fault>,
    /// Writes whole frames to the gateway, on the connection that was accepted last.
    newest: watch::Sender<Option<mpsc::UnboundedSender<Vec<u8>>>>,
    /// Copies that have not been sent yet.
    waiting: watch::Sender<u64>,
    copies: Mutex<JoinSet<()>>,
    open: AtomicU64,
    counts: Counts,
}

#[derive(Default)]
struct Counts {
    connections: AtomicU64,
    requests: AtomicU64,
    copies: AtomicU64,
    frames_torn: AtomicU64,
}

/// What a line has seen.
#[derive(Clone, Copy, Debug, Default)]
pub struct Traffic {
    /// Connections that were opened.
    pub connections: u64,
    /// `send` requests of the phone.
    pub requests: u64,
    /// Copies of them that were sent too; a few are lost with their connection.
    pub copies: u64,
    /// Chunks of bytes that a cut has torn in two.
    pub torn: u64,
}

impl Traffic {
    /// Both together.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self {
            connections: self.connections + other.connections,
            requests: self.requests + other.requests,
            copies: self.copies + other.copies,
            torn: self.torn + other.torn,
        }
    }
}

/// What befalls a connection: the number of the last fault, and its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Fault {
    number: u64,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Cut,
    Silence,
}

impl Line {
    /// A line to the gateway; what it does by chance follows from the seed.
    ///
    /// # Panics
    /// If there is no port left.
    pub async fn to(gateway: SocketAddr, seed: u64) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port is free");
        let address = listener.local_addr().expect("a listener has an address");
        let shared = Arc::new(Shared {
            gateway,
            seed,
            down: watch::Sender::new(false),
            fault: watch::Sender::new(Fault { number: 0, kind: Kind::Cut }),
            newest: watch::Sender::new(None),
            waiting: watch::Sender::new(0),
            copies: Mutex::default(),
            open: AtomicU64::new(0),
            counts: Counts::default(),
        });
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, Arc::clone(&shared)));
        Self { address, shared, _listener: accepting }
    }

    /// Where a phone connects to, instead of `url`.
    ///
    /// # Panics
    /// If `url` has no path.
    pub fn url(&self, url: &str) -> String {
        let path = url.rsplit_once('/').expect("a URL has a path").1;
        format!("ws://{}/{path}", self.address)
    }

    /// Cuts what is open. False if nothing is.
    pub fn cut(&self) -> bool {
        self.befall(Kind::Cut)
    }

    /// Lets what is open fall silent. False if nothing is.
    pub fn silence(&self) -> bool {
        self.befall(Kind::Silence)
    }

    fn befall(&self, kind: Kind) -> bool {
        let open = self.shared.open.load(Ordering::SeqCst) > 0;
        self.shared.fault.send_modify(|fault| *fault = Fault { number: fault.number + 1, kind });
        open
    }

    /// Lets nothing through from now on, and cuts what is open: a tunnel.
    pub fn go_down(&self) {
        self.shared.down.send_replace(true);
        self.cut();
    }

    /// The end of the tunnel.
    pub fn come_up(&self) {
        self.shared.down.send_replace(false);
    }

    /// Waits until every copy is on a connection.
    ///
    /// # Panics
    /// If that does not happen.
    pub async fn all_copies_sent(&self) {
        let mut waiting = self.shared.waiting.subscribe();
        patiently("every copy is sent", waiting.wait_for(|waiting| *waiting == 0)).await.expect("the line has the sender");
    }

    /// So far.
    pub fn traffic(&self) -> Traffic {
        let count = |count: &AtomicU64| count.load(Ordering::SeqCst);
        let Counts { connections, requests, copies, frames_torn } = &self.shared.counts;
        Traffic { connections: count(connections), requests: count(requests), copies: count(copies), torn: count(frames_torn) }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.shared.copies.lock().unwrap_or_else(PoisonError::into_inner).abort_all();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        if !*shared.down.borrow() {
            let number = shared.counts.connections.fetch_add(1, Ordering::SeqCst);
            let dice = Dice::new(shared.seed.wrapping_add(number));
            connections.spawn(carry(client, Arc::clone(&shared), dice));
        }
        while connections.try_join_next().is_some() {}
    }
}

/// One connection, to its end; if it falls silent, to the end of the line.
async fn carry(client: TcpStream, shared: Arc<Shared>, mut dice: Dice) {
    let mut faults = shared.fault.subscribe();
    let Ok(gateway) = TcpStream::connect(shared.gateway).await else { return };
    for socket in [&client, &gateway] {
        socket.set_nodelay(true).expect("a socket can be told so");
    }
    let torn_up = dice.one_in(2);
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_gateway, mut to_gateway) = gateway.into_split();
    shared.open.fetch_add(1, Ordering::SeqCst);
    let (mut up, mut down) = (Chunk::new(dice.next()), Chunk::new(dice.next()));
    let fault = tokio::select! {
        () = upwards(&mut from_client, &mut to_gateway, &mut up, &shared) => None,
        () = downwards(&mut from_gateway, &mut to_client, &mut down) => None,
        changed = faults.changed() => changed.ok().map(|()| faults.borrow().kind),
    };
    shared.open.fetch_sub(1, Ordering::SeqCst);
    match fault {
        Some(Kind::Silence) => std::future::pending().await,
        Some(Kind::Cut) => {
            // What was on its way arrives in part, one way; the other way it is lost.
            let (chunk, socket) = if torn_up { (&up, &mut to_gateway) } else { (&down, &mut to_client) };
            if !chunk.bytes.is_empty() {
                shared.counts.frames_torn.fetch_add(1, Ordering::SeqCst);
                let _gone = socket.try_write(&chunk.bytes[..chunk.bytes.len() / 2]);
            }
        }
        None => {}
    }
}

/// Bytes that are on their way in one direction.
struct Chunk {
    bytes: Vec<u8>,
    dice: Dice,
}

impl Chunk {
    fn new(seed: u64) -> Self {
        Self { bytes: vec![], dice: Dice::new(seed) }
    }

    /// Takes its time, mostly none, and writes.
    async fn pass(&mut self, bytes: Vec<u8>, socket: &mut OwnedWriteHalf) -> std::io::Result<()> {
        self.bytes = bytes;
        let delay_ms = match self.dice.below(100) {
            0..70 => 0,
            70..95 => self.dice.between(0, 30),
            _ => self.dice.between(30, 400),
        };
        sleep(Duration::from_millis(delay_ms)).await;
        // Whole as soon as it is begun: a cut tears what still waits.
        let bytes = std::mem::take(&mut self.bytes);
        socket.write_all(&bytes).await
    }
}

async fn downwards(from: &mut OwnedReadHalf, to: &mut OwnedWriteHalf, chunk: &mut Chunk) {
    let mut bytes = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = from.read(&mut bytes).await {
        if chunk.pass(bytes[..read].to_vec(), to).await.is_err() {
            return;
        }
    }
}

/// Passes the handshake as it is, then frame by frame, with the copies between.
async fn upwards(from: &mut OwnedReadHalf, to: &mut OwnedWriteHalf, chunk: &mut Chunk, shared: &Arc<Shared>) {
    const END_OF_HEAD: &[u8] = b"\r\n\r\n";
    let mut came = vec![];
    let head = loop {
        match from.read_buf(&mut came).await {
            Ok(1..) => {}
            Ok(0) | Err(_) => return,
        }
        if let Some(end) = came.windows(END_OF_HEAD.len()).position(|bytes| bytes == END_OF_HEAD) {
            break end + END_OF_HEAD.len();
        }
    };
    if chunk.pass(came.drain(..head).collect(), to).await.is_err() {
        return;
    }
    let (inserted, mut to_insert) = mpsc::unbounded_channel();
    let mut greeted = false;
    loop {
        while let Some(frame) = Frame::first_of(&mut came) {
            // A client speaks when the handshake is answered; then copies may come in between.
            if !std::mem::replace(&mut greeted, true) {
                shared.newest.send_replace(Some(inserted.clone()));
            }
            if let Some(request) = frame.text().filter(|request| request["action"] == "send") {
                copy(&request, shared, chunk.dice.next());
            }
            if chunk.pass(frame.bytes, to).await.is_err() {
                return;
            }
        }
        tokio::select! {
            read = from.read_buf(&mut came) => match read {
                Ok(1..) => {}
                Ok(0) | Err(_) => return,
            },
            Some(frame) = to_insert.recv() => {
                if to.write_all(&frame).await.is_err() {
                    return;
                }
                shared.counts.copies.fetch_add(1, Ordering::SeqCst);
            }
        }
    }
}

/// Sends a request again, at random times, on the connection that there is then.
fn copy(request: &Value, shared: &Arc<Shared>, seed: u64) {
    shared.counts.requests.fetch_add(1, Ordering::SeqCst);
    shared.waiting.send_modify(|waiting| *waiting += COPIES);
    let mut dice = Dice::new(seed);
    let mut copies = shared.copies.lock().unwrap_or_else(PoisonError::into_inner);
    while copies.try_join_next().is_some() {}
    for _ in 0..COPIES {
        let (mut request, pause, name) = (request.clone(), COPY_WITHIN.mul_f64(dice.share()), dice.next());
        let shared = Arc::downgrade(shared);
        copies.spawn(async move {
            sleep(pause).await;
            let Some(shared) = shared.upgrade() else { return };
            request["id"] = json!(format!("copy-{name:x}"));
            let frame = masked_text(&request.to_string());
            let mut newest = shared.newest.subscribe();
            let taken = newest.wait_for(|newest| newest.as_ref().is_some_and(|newest| newest.send(frame.clone()).is_ok())).await;
            taken.expect("the sender is held above");
            shared.waiting.send_modify(|waiting| *waiting -= 1);
        });
    }
}

/// One WebSocket frame of a client (RFC 6455 §5.2).
struct Frame {
    bytes: Vec<u8>,
    payload: usize,
}

impl Frame {
    const TEXT: u8 = 0x81;
    const MASKED: u8 = 0x80;
    /// The length is in the next two bytes.
    const TWO_BYTES: u8 = 0x7e;
    /// The length is in the next eight bytes.
    const EIGHT_BYTES: u8 = 0x7f;

    /// Takes the first frame out of what came; `None` if it has not come as a whole.
    fn first_of(came: &mut Vec<u8>) -> Option<Self> {
        let length = *came.get(1)? & !Self::MASKED;
        let (mask, length) = match length {
            Self::TWO_BYTES => (4, usize::from(u16::from_be_bytes(came.get(2..4)?.try_into().ok()?))),
            Self::EIGHT_BYTES => (10, usize::try_from(u64::from_be_bytes(came.get(2..10)?.try_into().ok()?)).ok()?),
            short => (2, usize::from(short)),
        };
        let payload = mask + 4;
        let whole = payload + length;
        (came.len() >= whole).then(|| Self { bytes: came.drain(..whole).collect(), payload })
    }

    /// The JSON of a text.
    fn text(&self) -> Option<Value> {
        let (head, payload) = self.bytes.split_at(self.payload);
        let mask = &head[head.len() - 4..];
        let text: Vec<u8> = payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
        if self.bytes[0] == Self::TEXT { serde_json::from_slice(&text).ok() } else { None }
    }
}

/// A frame of a client with the mask 0, which changes nothing.
fn masked_text(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).expect("a request is 32 KB at most");
    let mut frame = vec![Frame::TEXT, Frame::MASKED | Frame::TWO_BYTES];
    frame.extend(length.to_be_bytes());
    frame.extend([0; 4]);
    frame.extend(text.as_bytes());
    frame
}
