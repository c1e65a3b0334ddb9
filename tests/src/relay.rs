//! A relay before a server that counts what clients say, and that can be made to hold everything back, as a network does
//! that has lost its way: nothing is refused, nothing is answered.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A running relay. It ends when it is dropped.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    heard: Arc<AtomicU64>,
    open: watch::Sender<bool>,
    accepting: JoinHandle<()>,
}

impl Relay {
    /// Relays to an address of the loopback interface, from a free port.
    ///
    /// # Panics
    /// Where there is no free port.
    pub async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let heard = Arc::new(AtomicU64::new(0));
        let (open, is_open) = watch::channel(true);
        let counting = Arc::clone(&heard);
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else { continue };
                let ((from_client, to_client), (from_server, to_server)) =
                    (client.into_split(), server.into_split());
                tokio::spawn(pass(from_client, to_server, is_open.clone(), Some(Arc::clone(&counting))));
                tokio::spawn(pass(from_server, to_client, is_open.clone(), None));
            }
        });
        Self { address, heard, open, accepting }
    }

    /// Relays to the server of a URL such as `postgres://ann@127.0.0.1:5432/forum`, and gives the URL that leads through it.
    ///
    /// # Panics
    /// Where the URL names no port of the loopback interface.
    pub async fn before(url: &str) -> (Self, String) {
        let (user, rest) = url.split_once("127.0.0.1:").expect("a server of the loopback interface");
        let (port, rest) = rest.split_once('/').expect("a database");
        let relay = Self::to(port.parse().expect("a port")).await;
        let through = format!("{user}{}/{rest}", relay.address);
        (relay, through)
    }

    /// How many messages clients have sent, as they came: one for each round trip.
    pub fn heard(&self) -> u64 {
        self.heard.load(Ordering::Relaxed)
    }

    /// Holds everything back from now on.
    pub fn hold(&self) {
        self.open.send_replace(false);
    }

    /// Lets everything pass again, also what was held back.
    pub fn release(&self) {
        self.open.send_replace(true);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut open: watch::Receiver<bool>,
    count: Option<Arc<AtomicU64>>,
) {
    let mut bytes = vec![0; 64 << 10];
    while let Ok(read) = from.read(&mut bytes).await {
        if let Some(count) = &count {
            count.fetch_add(1, Ordering::Relaxed);
        }
        // The relay has ended where nobody can let it pass any more.
        if read == 0
            || open.wait_for(|open| *open).await.is_err()
            || to.write_all(&bytes[..read]).await.is_err()
        {
            return;
        }
    }
}
