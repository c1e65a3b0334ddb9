//! What stands between somebody and the server and keeps every byte that the server sends him.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Bytes that are looked at once more with those that follow, so that no value falls between two looks.
const OVERLAP: usize = 128;

/// A proxy of one person's.
#[derive(Debug)]
pub(super) struct Tap {
    pub(super) address: SocketAddr,
    heard: Arc<Mutex<Vec<Vec<u8>>>>,
    task: JoinHandle<()>,
}

impl Tap {
    pub(super) async fn before(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let heard: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
        let all = Arc::clone(&heard);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let connection = {
                    let mut heard = all.lock().unwrap_or_else(PoisonError::into_inner);
                    heard.push(Vec::new());
                    heard.len() - 1
                };
                tokio::spawn(relay(client, server, Arc::clone(&all), connection));
            }
        });
        Self { address, heard, task }
    }

    /// What has been received since the last time, by connection, and how many bytes of it are new.
    pub(super) fn take(&self) -> (Vec<Vec<u8>>, usize) {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let mut new = 0;
        let taken = heard.iter_mut().filter(|bytes| bytes.len() > OVERLAP).map(|bytes| {
            let rest = bytes[bytes.len() - OVERLAP..].to_vec();
            new += bytes.len() - OVERLAP;
            std::mem::replace(bytes, rest)
        });
        let taken = taken.collect();
        (taken, new)
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn relay(client: TcpStream, server: SocketAddr, heard: Arc<Mutex<Vec<Vec<u8>>>>, connection: usize) {
    let Ok(server) = TcpStream::connect(server).await else { return };
    for stream in [&client, &server] {
        stream.set_nodelay(true).expect("an open socket");
    }
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let up = async { tokio::io::copy(&mut from_client, &mut to_server).await.map(drop) };
    let down = async {
        let mut bytes = vec![0; 16 << 10];
        loop {
            let read = from_server.read(&mut bytes).await?;
            if read == 0 {
                return Ok::<(), std::io::Error>(());
            }
            // Before anybody has received it.
            heard.lock().unwrap_or_else(PoisonError::into_inner)[connection]
                .extend_from_slice(&bytes[..read]);
            to_client.write_all(&bytes[..read]).await?;
        }
    };
    tokio::select! {
        _ = up => {}
        _ = down => {}
    }
}
