//! A server and its clients in one process, each in a runtime directory of its own.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream as StdStream;

use super::super::client::{ClientError, Outcome, Rekeyed};
use super::super::protocol::status::PeerStatus;
use super::super::protocol::status::{Liveness, PeerState};
use super::super::protocol::{Level, SaKind, Until};
use super::*;

fn private_folder() -> tempfile::TempDir {
    let mode = Permissions::from_mode(0o700);
    tempfile::Builder::new()
        .permissions(mode)
        .tempdir()
        .unwrap()
}

fn peer(name: &str) -> PeerStatus {
    PeerStatus {
        name: name.to_owned(),
        hub: None,
        from_anywhere: false,
        state: PeerState::Connecting,
        local_address: None,
        remote_address: None,
        liveness: Liveness::default(),
        ike: None,
        children: vec![],
        last_failure: None,
        advice: None,
        obstacles: vec![],
        drops: BTreeMap::new(),
        path_mtu: None,
        strange_keys: vec![],
        tunnels: vec![],
    }
}

/// Answers as a daemon with one peer would; runs until the requests end.
async fn daemon(mut calls: mpsc::Receiver<Call>) {
    while let Some(Call { request, reply }) = calls.recv().await {
        let response = match request {
            Request::Status { name: None } => Response::Status {
                peers: vec![peer("berlin")],
                routes: vec![],
                drops: BTreeMap::from([("ike_header".to_owned(), 3)]),
            },
            Request::Status { name: Some(name) } => {
                let known = vec!["berlin".to_owned()];
                Response::Refused(Refusal::UnknownPeer { name, known })
            }
            Request::Rekey { name, sa } => match sa {
                SaKind::Child => Response::Rekeyed {
                    name,
                    suite: "aes256gcm16".to_owned(),
                },
                SaKind::Ike => Response::Failed {
                    problem: "no answer".to_owned(),
                },
            },
            Request::Down { .. } | Request::Up { .. } => return,
        };
        reply.send(response);
    }
}

/// Runs `client` against a server in the directory.
fn with_server(runtime_dir: &Path, client: impl FnOnce() + Send + 'static) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let server = Server::bind(runtime_dir).unwrap();
        let (calls, requests) = mpsc::channel(4);
        let server = tokio::spawn(server.run(calls));
        let daemon = tokio::spawn(daemon(requests));
        tokio::task::spawn_blocking(client).await.unwrap();
        daemon.abort();
        server.await.unwrap();
    });
}

#[test]
fn a_request_reaches_the_daemon_and_its_answer_the_client() {
    let folder = private_folder();
    let runtime_dir = folder.path().join("run");
    let path = runtime_dir.clone();
    with_server(&runtime_dir, move || {
        let mode = |path: &Path| std::fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!((mode(&path), mode(&socket_path(&path))), (0o700, 0o600));
        let mut client = Client::connect(&path).unwrap();
        let report = client.status(None).unwrap();
        assert_eq!(report.peers, [peer("berlin")]);
        assert_eq!(report.drops["ike_header"], 3);
        assert_eq!(report.daemon.pid, std::process::id());
        let said = client.status(Some("paris")).unwrap_err().to_string();
        assert_eq!(said, "no peer is called `paris` here; there is berlin");
        let suite = "aes256gcm16".to_owned();
        let rekeyed = client.rekey("berlin", SaKind::Child).unwrap();
        assert_eq!(rekeyed, Rekeyed::Done { suite });
        let rekeyed = client.rekey("berlin", SaKind::Ike).unwrap();
        assert_eq!(rekeyed, Rekeyed::Failed("no answer".to_owned()));
        let said = client.down(None).unwrap_err().to_string();
        assert_eq!(said, "the daemon is shutting down");
    });
    assert!(
        !runtime_dir.exists(),
        "the directory that the server made is left behind"
    );
}

#[test]
fn without_a_daemon_the_client_says_so() {
    let folder = private_folder();
    let said = Client::connect(folder.path()).unwrap_err();
    assert!(matches!(said, ClientError::NoDaemon { .. }), "{said}");
}

#[test]
fn a_socket_of_a_dead_daemon_is_replaced() {
    let folder = private_folder();
    drop(std::os::unix::net::UnixListener::bind(socket_path(folder.path())).unwrap());
    let said = Client::connect(folder.path()).unwrap_err();
    assert!(matches!(said, ClientError::NoDaemon { .. }), "{said}");
    let path = folder.path().to_owned();
    with_server(folder.path(), move || {
        Client::connect(&path).unwrap().status(None).unwrap();
    });
}

#[test]
fn a_daemon_that_lives_is_left_alone() {
    let folder = private_folder();
    let path = folder.path().to_owned();
    with_server(folder.path(), move || {
        let said = Server::bind(&path).unwrap_err().to_string();
        let who = format!("process {}", std::process::id());
        assert!(
            said.contains(&who) && said.contains("already runs"),
            "{said}"
        );
        Client::connect(&path).unwrap().status(None).unwrap();
    });
}

#[test]
fn a_client_in_another_network_namespace_is_told_so() {
    let folder = private_folder();
    let path = folder.path().to_owned();
    with_server(folder.path(), move || {
        crate::net::sandbox::run(async move {
            let said = Client::connect(&path).unwrap_err();
            assert!(matches!(said, ClientError::OtherNamespace { .. }), "{said}");
            assert!(said.to_string().contains("nsenter --net=/proc/"), "{said}");
        });
    });
}

#[test]
fn a_directory_that_others_can_enter_is_refused() {
    let folder = private_folder();
    std::fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    let said = Server::bind(folder.path()).unwrap_err();
    assert!(matches!(said, BindError::Exposed(_)), "{said}");
}

#[test]
fn requests_that_are_none_are_answered_and_harm_nobody() {
    let folder = private_folder();
    let path = folder.path().to_owned();
    with_server(folder.path(), move || {
        let ask = |line: &[u8]| {
            let mut stream = StdStream::connect(socket_path(&path)).unwrap();
            // A server that has read enough may close before everything is written.
            let _ = stream.write_all(line);
            let _ = stream.shutdown(std::net::Shutdown::Write);
            let mut said = Vec::new();
            let _ = stream.read_to_end(&mut said);
            let said = String::from_utf8(said).unwrap();
            said.split_once('\n').unwrap().1.to_owned()
        };
        assert!(ask(b"\xff\x00\n").contains("bad-request"));
        assert!(ask(b"{\"request\":\"explode\"}\n").contains("bad-request"));
        assert!(ask(b"{\"request\":\"down\",\"nane\":\"berlin\"}\n").contains("bad-request"));
        assert_eq!(
            ask(b"{\"request\":\"down\""),
            "",
            "an unfinished line is no request"
        );
        assert!(ask(&[b'x'; MAX_REQUEST_OCTETS]).contains("more than 65536 octets"));
        Client::connect(&path).unwrap().status(None).unwrap();
    });
}

#[test]
fn idle_connections_do_not_keep_others_out_for_ever() {
    let folder = private_folder();
    let path = folder.path().to_owned();
    with_server(folder.path(), move || {
        let mut idle: Vec<_> = (0..MAX_CONNECTIONS)
            .map(|_| StdStream::connect(socket_path(&path)).unwrap())
            .collect();
        idle.pop();
        Client::connect(&path).unwrap().status(None).unwrap();
    });
}

#[test]
fn an_up_hears_messages_before_its_last_answer_and_a_hang_up_is_noticed() {
    let folder = private_folder();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let server = Server::bind(folder.path()).unwrap();
        let (calls, mut requests) = mpsc::channel(4);
        let server = tokio::spawn(server.run(calls));
        let path = folder.path().to_owned();
        let client = tokio::task::spawn_blocking(move || {
            let mut heard = Vec::new();
            let mut client = Client::connect(&path).unwrap();
            let outcome = client.up(Path::new("/x.toml"), Until::Carries, false, |_, text| {
                heard.push(text.to_owned());
            });
            assert_eq!(outcome.unwrap(), Outcome::Up("x".to_owned()));
            assert_eq!(heard, ["one", "two"]);
            // Asks again, and does not wait.
            let request = "{\"request\":\"up\",\"file\":\"/x.toml\",\"until\":\"gone\",\"test-rekey\":false}\n";
            let mut stream = StdStream::connect(socket_path(&path)).unwrap();
            stream.read_exact(&mut [0]).unwrap();
            stream.write_all(request.as_bytes()).unwrap();
        });
        let Call { reply, .. } = requests.recv().await.unwrap();
        for text in ["one", "two"] {
            let (level, text) = (Level::Info, text.to_owned());
            reply.send(Response::Said { level, text });
        }
        let name = "x".to_owned();
        reply.send(Response::Up { name });
        let Call { reply, .. } = requests.recv().await.unwrap();
        reply.closed().await;
        client.await.unwrap();
        drop(requests);
        server.await.unwrap();
    });
}
