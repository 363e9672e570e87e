//! The command's end of the control socket: blocking, and never for longer than a timeout.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;

use super::protocol::status::StatusReport;
use super::protocol::{
    Daemon, Greeting, Level, MAX_RESPONSE_OCTETS, PROTOCOL_VERSION, Refusal, Request, Response,
    SaKind, Until,
};
use super::socket_path;
use crate::net::netns::NetworkNamespace;

/// A daemon that works answers a question within this.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Taking a peer down ends when the peer has answered or its retransmissions are over.
const DOWN_TIMEOUT: Duration = Duration::from_secs(120);

/// The same holds for a rekey.
const REKEY_TIMEOUT: Duration = Duration::from_secs(120);

/// How a rekey ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rekeyed {
    /// With fresh keys.
    Done {
        /// The algorithms, in the keywords of the file.
        suite: String,
    },
    /// With those of before; the reason.
    Failed(String),
}

/// How `up` ended at the daemon's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The tunnel carries packets.
    Up(String),
    /// The peers of the file are served, and there is nothing to wait for.
    Served {
        /// The hub's name, or the peer's.
        name: String,
        /// How many are served in addition.
        more: usize,
        /// How many were before.
        kept: usize,
    },
    /// The peer is gone again, as someone asked for.
    Down,
    /// It failed and is gone again; the reason.
    Failed(String),
}

/// A connection to the daemon of a runtime directory, in our network namespace.
#[derive(Debug)]
pub struct Client {
    connection: Connection,
    daemon: Daemon,
}

/// Why the daemon could not be asked, or what it answered instead.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nothing listens.
    #[error(
        "no daemon runs with the runtime directory {}; start one with `secure-gre up FILE`, or \
         name its directory with --runtime-dir", .runtime_dir.display()
    )]
    NoDaemon {
        /// Where one was looked for.
        runtime_dir: PathBuf,
    },
    /// The socket belongs to someone else.
    #[error("the control socket {} may not be opened by this user; run the command as root", .socket.display())]
    NotPermitted {
        /// The socket.
        socket: PathBuf,
    },
    /// The daemon's tunnels are not those of this namespace.
    #[error(
        "the daemon runs in another network namespace: it in {daemon}, this command in {here}; to \
         reach it: nsenter --net=/proc/{pid}/ns/net secure-gre …", daemon = .daemon.network_namespace,
         pid = .daemon.pid
    )]
    OtherNamespace {
        /// The daemon that was found.
        daemon: Daemon,
        /// Where this command runs.
        here: NetworkNamespace,
    },
    /// The daemon is of another release.
    #[error(
        "the daemon is secure-gre {}, whose control protocol this command does not speak; use the \
         command of that release, or start the daemon again", .0.version
    )]
    OtherVersion(Daemon),
    /// The daemon answered that it will not.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// No answer in time.
    #[error("the daemon did not answer within {} s", .0.as_secs())]
    Timeout(Duration),
    /// What listens there does not speak our protocol.
    #[error("{} does not answer like a secure-gre daemon: {problem}", .socket.display())]
    Nonsense {
        /// The socket.
        socket: PathBuf,
        /// What is wrong with the answer.
        problem: String,
    },
    /// The operating system refused.
    #[error("cannot talk to the daemon over {}: {source}", .socket.display())]
    Io {
        /// The socket.
        socket: PathBuf,
        /// The reason.
        source: io::Error,
    },
}

impl Client {
    /// Connects to a daemon of our own network namespace.
    ///
    /// # Errors
    /// None can be reached, or it serves another namespace.
    pub fn connect(runtime_dir: &Path) -> Result<Self, ClientError> {
        let client = Self::connect_anywhere(runtime_dir)?;
        let here = NetworkNamespace::current().map_err(|source| client.connection.io(source))?;
        if client.daemon.network_namespace == here {
            Ok(client)
        } else {
            Err(ClientError::OtherNamespace {
                daemon: client.daemon,
                here,
            })
        }
    }

    /// As [`Client::connect`], to a daemon of any network namespace: enough to say who it is.
    pub(super) fn connect_anywhere(runtime_dir: &Path) -> Result<Self, ClientError> {
        let socket = socket_path(runtime_dir);
        let stream = UnixStream::connect(&socket).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => ClientError::NoDaemon {
                runtime_dir: runtime_dir.to_owned(),
            },
            io::ErrorKind::PermissionDenied => ClientError::NotPermitted {
                socket: socket.clone(),
            },
            _ => ClientError::Io {
                socket: socket.clone(),
                source,
            },
        })?;
        let mut connection = Connection {
            socket,
            stream: BufReader::new(stream),
        };
        match connection.receive(Some(ANSWER_TIMEOUT))? {
            Greeting::Refused(refusal) => Err(refusal.into()),
            Greeting::Welcome(daemon) if daemon.protocol != PROTOCOL_VERSION => {
                Err(ClientError::OtherVersion(daemon))
            }
            Greeting::Welcome(daemon) => Ok(Self { connection, daemon }),
        }
    }

    /// Who answers.
    pub fn daemon(&self) -> &Daemon {
        &self.daemon
    }

    /// The report on one peer, or on all.
    ///
    /// # Errors
    /// No peer has that name, or the daemon does not answer.
    pub fn status(&mut self, name: Option<&str>) -> Result<StatusReport, ClientError> {
        let request = Request::Status {
            name: name.map(ToOwned::to_owned),
        };
        match self.connection.ask(&request, ANSWER_TIMEOUT)? {
            Response::Status {
                peers,
                routes,
                drops,
            } => Ok(StatusReport {
                daemon: self.daemon.clone(),
                drops,
                peers,
                routes,
            }),
            other => Err(self.connection.unexpected(other)),
        }
    }

    /// Takes down one peer, or all; the names of those that are gone.
    ///
    /// # Errors
    /// No peer has that name, or the daemon does not answer.
    pub fn down(&mut self, name: Option<&str>) -> Result<Vec<String>, ClientError> {
        let request = Request::Down {
            name: name.map(ToOwned::to_owned),
        };
        match self.connection.ask(&request, DOWN_TIMEOUT)? {
            Response::Down { names } => Ok(names),
            other => Err(self.connection.unexpected(other)),
        }
    }

    /// Rekeys an SA of a peer.
    ///
    /// # Errors
    /// No peer has that name or it is not up, or the daemon does not answer.
    pub fn rekey(&mut self, name: &str, sa: SaKind) -> Result<Rekeyed, ClientError> {
        let name = name.to_owned();
        let request = Request::Rekey { name, sa };
        match self.connection.ask(&request, REKEY_TIMEOUT)? {
            Response::Rekeyed { suite, .. } => Ok(Rekeyed::Done { suite }),
            Response::Failed { problem } => Ok(Rekeyed::Failed(problem)),
            other => Err(self.connection.unexpected(other)),
        }
    }

    /// Hands a peer's file over, and gives what is said of the peer to `hear`, however long it
    /// takes until the peer carries packets or is gone again.
    ///
    /// # Errors
    /// The daemon does not take it, or ends.
    pub fn up(
        &mut self,
        file: &Path,
        until: Until,
        test_rekey: bool,
        mut hear: impl FnMut(Level, &str),
    ) -> Result<Outcome, ClientError> {
        let file = file.to_owned();
        self.connection.send(&Request::Up {
            file,
            until,
            test_rekey,
        })?;
        loop {
            match self.connection.receive(None)? {
                Response::Said { level, text } => hear(level, &text),
                Response::Up { name } => return Ok(Outcome::Up(name)),
                Response::Served { name, more, kept } => {
                    return Ok(Outcome::Served { name, more, kept });
                }
                Response::Down { .. } => return Ok(Outcome::Down),
                Response::Failed { problem } => return Ok(Outcome::Failed(problem)),
                other => return Err(self.connection.unexpected(other)),
            }
        }
    }
}

#[derive(Debug)]
struct Connection {
    socket: PathBuf,
    stream: BufReader<UnixStream>,
}

impl Connection {
    fn ask(&mut self, request: &Request, timeout: Duration) -> Result<Response, ClientError> {
        self.send(request)?;
        self.receive(Some(timeout))
    }

    fn send(&mut self, request: &Request) -> Result<(), ClientError> {
        let mut line = serde_json::to_vec(request).map_err(|fault| self.nonsense(fault))?;
        line.push(b'\n');
        let stream = self.stream.get_mut();
        stream
            .set_write_timeout(Some(ANSWER_TIMEOUT))
            .and_then(|()| stream.write_all(&line))
            .map_err(|source| self.io(source))
    }

    /// `None`: however long it takes.
    fn receive<T: DeserializeOwned>(
        &mut self,
        timeout: Option<Duration>,
    ) -> Result<T, ClientError> {
        let line = self.read_line(timeout)?;
        serde_json::from_slice(&line).map_err(|fault| self.nonsense(fault))
    }

    /// The deadline is the whole line's, however slowly its octets arrive.
    fn read_line(&mut self, timeout: Option<Duration>) -> Result<Vec<u8>, ClientError> {
        let deadline = timeout.map(|timeout| (Instant::now() + timeout, timeout));
        let mut line = Vec::new();
        loop {
            let left = match deadline {
                None => None,
                Some((deadline, timeout)) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Err(ClientError::Timeout(timeout));
                    }
                    Some(left)
                }
            };
            let read = self.stream.get_ref().set_read_timeout(left);
            let room = (MAX_RESPONSE_OCTETS - line.len()) as u64;
            let read = read.and_then(|()| {
                let octets = self.stream.fill_buf()?;
                let part = octets.split_inclusive(|octet| *octet == b'\n').next();
                let part = part.unwrap_or_default();
                part.take(room).read_to_end(&mut line)?;
                Ok(part.len())
            });
            match read {
                Ok(0) => return Err(self.nonsense("it closed the connection")),
                Ok(octets) => self.stream.consume(octets),
                // The deadline above decides.
                Err(fault) if is_timeout(&fault) => {}
                Err(fault) if fault.kind() == io::ErrorKind::Interrupted => {}
                Err(fault) => return Err(self.io(fault)),
            }
            if line.ends_with(b"\n") {
                return Ok(line);
            }
            if line.len() == MAX_RESPONSE_OCTETS {
                return Err(self.nonsense("the answer is too long"));
            }
        }
    }

    fn unexpected(&self, response: Response) -> ClientError {
        match response {
            Response::Refused(refusal) => refusal.into(),
            _ => self.nonsense("it answered another question"),
        }
    }

    fn nonsense(&self, problem: impl fmt::Display) -> ClientError {
        ClientError::Nonsense {
            socket: self.socket.clone(),
            problem: problem.to_string(),
        }
    }

    fn io(&self, source: io::Error) -> ClientError {
        ClientError::Io {
            socket: self.socket.clone(),
            source,
        }
    }
}

fn is_timeout(fault: &io::Error) -> bool {
    matches!(
        fault.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}
