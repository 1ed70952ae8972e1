//! The bad network between one phone and the gateway: a TCP proxy that delays bytes, cuts connections, and lets them fall silent.
//!
//! A cut ends both sides at once, possibly in the middle of a frame. A connection that has fallen silent stays open on both sides, and
//! nothing passes any more: neither side is told.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::Dice;

/// One phone's way to the gateway.
pub struct Line {
    address: SocketAddr,
    shared: Arc<Shared>,
    _listener: JoinSet<()>,
}

struct Shared {
    gateway: SocketAddr,
    seed: u64,
    /// What befalls the connections that are open.
    fault: watch::Sender<Fault>,
    open: AtomicU64,
    connections: AtomicU64,
    torn: AtomicU64,
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
            fault: watch::Sender::new(Fault { number: 0, kind: Kind::Cut }),
            open: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            torn: AtomicU64::new(0),
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

    /// Connections so far, and chunks of bytes that a cut has torn in two.
    pub fn traffic(&self) -> (u64, u64) {
        (self.shared.connections.load(Ordering::SeqCst), self.shared.torn.load(Ordering::SeqCst))
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let number = shared.connections.fetch_add(1, Ordering::SeqCst);
        let dice = Dice::new(shared.seed.wrapping_add(number));
        connections.spawn(carry(client, Arc::clone(&shared), dice));
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
        () = pass_all(&mut from_client, &mut to_gateway, &mut up) => None,
        () = pass_all(&mut from_gateway, &mut to_client, &mut down) => None,
        changed = faults.changed() => changed.ok().map(|()| faults.borrow().kind),
    };
    shared.open.fetch_sub(1, Ordering::SeqCst);
    match fault {
        Some(Kind::Silence) => std::future::pending().await,
        Some(Kind::Cut) => {
            // What was on its way arrives in part, one way; the other way it is lost.
            let (chunk, socket) = if torn_up { (&up, &mut to_gateway) } else { (&down, &mut to_client) };
            if !chunk.bytes.is_empty() {
                shared.torn.fetch_add(1, Ordering::SeqCst);
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

async fn pass_all(from: &mut OwnedReadHalf, to: &mut OwnedWriteHalf, chunk: &mut Chunk) {
    let mut bytes = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = from.read(&mut bytes).await {
        if chunk.pass(bytes[..read].to_vec(), to).await.is_err() {
            return;
        }
    }
}
