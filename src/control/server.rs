//! The daemon's end of the control socket.
//!
//! Only root and the daemon's own user get past the greeting; connections, requests and waiting
//! times are bounded. A lock on the runtime directory, which the kernel drops with its holder,
//! tells a daemon that runs from a socket that a dead one left behind.

use std::fmt;
use std::fs::{DirBuilder, File, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::client::Client;
use super::protocol::{Daemon, Greeting, MAX_REQUEST_OCTETS, Refusal, Request, Response};
use super::socket_path;

/// Connections that are served at once; others wait in the listener's queue. Every `up` that stays
/// in the foreground has one.
const MAX_CONNECTIONS: usize = 256;

/// Answers that may wait for a slow reader; messages beyond that are lost to it.
const WAITING_ANSWERS: usize = 256;

/// How long the last answers may take to be read.
const FAREWELL: Duration = Duration::from_secs(1);

/// A connection on which nothing is asked, or an answer not taken, for this long is closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);

/// A request for the daemon to carry out.
#[derive(Debug)]
pub struct Call {
    /// What is asked.
    pub request: Request,
    /// Where the answers go.
    pub reply: Reply,
}

/// Where the answers to a request go. If all of its clones are dropped before the last answer, that
/// is [`Refusal::ShuttingDown`].
#[derive(Debug, Clone)]
pub struct Reply(mpsc::Sender<Response>);

impl Reply {
    /// Gives an answer. A caller who has hung up, or reads too slowly, does not get it.
    pub fn send(&self, response: Response) {
        let _ = self.0.try_send(response);
    }

    /// Whether both are to the same request.
    pub fn is_same_as(&self, other: &Self) -> bool {
        self.0.same_channel(&other.0)
    }

    /// Returns when the caller has hung up, or has its last answer.
    pub async fn closed(&self) {
        self.0.closed().await;
    }
}

/// The listening control socket. Dropping it removes the socket.
#[derive(Debug)]
pub struct Server {
    listener: UnixListener,
    daemon: Daemon,
    /// Held for the lock on it; released last.
    runtime_dir: RuntimeDir,
}

/// Why there is no control socket.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// A daemon already has this runtime directory.
    #[error(
        "{who} already runs with the runtime directory {}; stop it with `secure-gre down`, or \
         choose another directory with --runtime-dir", .runtime_dir.display()
    )]
    InUse {
        /// The directory.
        runtime_dir: PathBuf,
        /// The other daemon.
        who: String,
    },
    /// Others could put something in the socket's place.
    #[error(
        "other users can get into the runtime directory {runtime_dir}, or own it; make it ours \
         alone (chown, chmod 700), or choose another with --runtime-dir",
        runtime_dir = .0.display()
    )]
    Exposed(PathBuf),
    /// The operating system refused.
    #[error("cannot {what} {}: {source}", .path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
}

impl Server {
    /// Takes the runtime directory, which is made if it is missing, and listens. Must be called
    /// inside a tokio runtime.
    ///
    /// # Errors
    /// Another daemon has the directory, others can get into it, or it can't be made.
    pub fn bind(runtime_dir: &Path) -> Result<Self, BindError> {
        let daemon = Daemon::this().map_err(failed("read", Path::new("/proc")))?;
        let runtime_dir = RuntimeDir::take(runtime_dir)?;
        let socket = socket_path(&runtime_dir.path);
        // The lock is ours: whoever listened here is dead.
        match std::fs::remove_file(&socket) {
            Err(fault) if fault.kind() != io::ErrorKind::NotFound => {
                return Err(failed("remove", &socket)(fault));
            }
            _ => {}
        }
        let listener = UnixListener::bind(&socket).map_err(failed("listen on", &socket))?;
        std::fs::set_permissions(&socket, Permissions::from_mode(0o600))
            .map_err(failed("set the permissions of", &socket))?;
        Ok(Self {
            listener,
            daemon,
            runtime_dir,
        })
    }

    /// Serves until the receiver of `calls` is gone, or the future is dropped.
    pub async fn run(self, calls: mpsc::Sender<Call>) {
        let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let mut connections = JoinSet::new();
        let greeting = Arc::new(self.daemon.clone());
        while let Ok(slot) = Arc::clone(&slots).acquire_owned().await {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = calls.closed() => break,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(fault) => {
                    tracing::warn!("the control socket cannot accept a connection: {fault}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let calls = calls.clone();
            let daemon = Arc::clone(&greeting);
            while connections.try_join_next().is_some() {}
            connections.spawn(async move {
                // A caller that goes away has lost interest; nobody else wants to know.
                let _ = serve(stream, &daemon, &calls).await;
                drop(slot);
            });
        }
        // Whoever waits for an answer gets it.
        let answered = async { while connections.join_next().await.is_some() {} };
        let _ = timeout(FAREWELL, answered).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let socket = socket_path(&self.runtime_dir.path);
        if let Err(fault) = std::fs::remove_file(&socket) {
            tracing::debug!("cannot remove {}: {fault}", socket.display());
        }
    }
}

/// A runtime directory that is locked for us.
#[derive(Debug)]
struct RuntimeDir {
    path: PathBuf,
    made: bool,
    /// Its lock ends with it.
    _lock: File,
}

impl RuntimeDir {
    fn take(path: &Path) -> Result<Self, BindError> {
        let made = match DirBuilder::new().mode(0o700).create(path) {
            Ok(()) => true,
            Err(fault) if fault.kind() == io::ErrorKind::AlreadyExists => false,
            Err(fault) => return Err(failed("make the runtime directory", path)(fault)),
        };
        let lock = File::open(path).map_err(failed("open the runtime directory", path))?;
        let metadata = lock.metadata().map_err(failed("look at", path))?;
        if !metadata.is_dir() {
            let fault = io::ErrorKind::NotADirectory.into();
            return Err(failed("use as the runtime directory", path)(fault));
        }
        if metadata.uid() != own_uid() || metadata.mode() & 0o077 != 0 {
            return Err(BindError::Exposed(path.to_owned()));
        }
        match lock.try_lock() {
            Ok(()) => Ok(Self {
                path: path.to_owned(),
                made,
                _lock: lock,
            }),
            Err(TryLockError::WouldBlock) => Err(in_use(path)),
            Err(TryLockError::Error(fault)) => {
                Err(failed("lock the runtime directory", path)(fault))
            }
        }
    }
}

impl Drop for RuntimeDir {
    fn drop(&mut self) {
        if self.made {
            // Not empty means that it is of use to someone else.
            let _ = std::fs::remove_dir(&self.path);
        }
    }
}

fn in_use(runtime_dir: &Path) -> BindError {
    let who = match Client::connect_anywhere(runtime_dir) {
        Ok(client) => {
            let Daemon {
                pid,
                version,
                network_namespace,
                ..
            } = client.daemon();
            format!("secure-gre {version} (process {pid}, network namespace {network_namespace})")
        }
        Err(_) => "another secure-gre".to_owned(),
    };
    BindError::InUse {
        runtime_dir: runtime_dir.to_owned(),
        who,
    }
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BindError {
    move |source| BindError::Io {
        what,
        path: path.to_owned(),
        source,
    }
}

fn own_uid() -> u32 {
    nix::unistd::geteuid().as_raw()
}

/// One connection, from the greeting to its end.
async fn serve(stream: UnixStream, daemon: &Daemon, calls: &mpsc::Sender<Call>) -> io::Result<()> {
    let uid = stream.peer_cred()?.uid();
    let (from, mut to) = stream.into_split();
    if uid != 0 && uid != own_uid() {
        return send(&mut to, &Greeting::Refused(Refusal::NotPermitted { uid })).await;
    }
    send(&mut to, &Greeting::Welcome(daemon.clone())).await?;
    let mut from = BufReader::new(from);
    while let Some(line) = timeout(IDLE_TIMEOUT, read_request(&mut from)).await?? {
        match line {
            Line::Whole(line) => match serde_json::from_slice(&line) {
                Ok(request) => answer(request, calls, &mut from, &mut to).await?,
                Err(fault) => send(&mut to, &bad_request(fault)).await?,
            },
            Line::TooLong => {
                let problem = format!("it has more than {MAX_REQUEST_OCTETS} octets");
                return send(&mut to, &bad_request(problem)).await;
            }
        }
    }
    Ok(())
}

enum Line {
    Whole(Vec<u8>),
    TooLong,
}

/// `None`: the caller has no more requests.
async fn read_request(from: &mut BufReader<OwnedReadHalf>) -> io::Result<Option<Line>> {
    let mut line = Vec::new();
    from.take(MAX_REQUEST_OCTETS as u64)
        .read_until(b'\n', &mut line)
        .await?;
    Ok(match line.last() {
        None => None,
        Some(b'\n') => Some(Line::Whole(line)),
        Some(_) if line.len() == MAX_REQUEST_OCTETS => Some(Line::TooLong),
        Some(_) => None,
    })
}

/// Carries out one request, up to its last answer.
async fn answer(
    request: Request,
    calls: &mpsc::Sender<Call>,
    from: &mut BufReader<OwnedReadHalf>,
    to: &mut OwnedWriteHalf,
) -> io::Result<()> {
    // Other requests are over so soon that nobody need wait for a hang-up, which may also be a
    // caller who has asked all that it wants.
    let may_hang_up = matches!(request, Request::Up { .. });
    let (reply, mut responses) = mpsc::channel(WAITING_ANSWERS);
    let reply = Reply(reply);
    // Fails only when the daemon has stopped listening to its own socket.
    let _ = calls.send(Call { request, reply }).await;
    loop {
        let response = tokio::select! {
            response = responses.recv() => response,
            () = hung_up(from), if may_hang_up => return Ok(()),
        };
        let response = response.unwrap_or(Response::Refused(Refusal::ShuttingDown));
        send(to, &response).await?;
        if response.is_last() {
            return Ok(());
        }
    }
}

/// Returns when the caller has closed its end.
async fn hung_up(from: &mut BufReader<OwnedReadHalf>) {
    match from.fill_buf().await {
        Ok([]) | Err(_) => {}
        // The next request, for later.
        Ok(_) => std::future::pending().await,
    }
}

fn bad_request(problem: impl fmt::Display) -> Response {
    Response::Refused(Refusal::BadRequest {
        problem: problem.to_string(),
    })
}

async fn send(to: &mut OwnedWriteHalf, message: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    timeout(IDLE_TIMEOUT, to.write_all(&line)).await?
}

#[cfg(test)]
mod tests;
