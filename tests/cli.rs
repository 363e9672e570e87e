//! The command line without privileges: `check`, usage errors, and commands that find no daemon.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

const PEER: &str = r#"
[peer]
address = "198.51.100.2"
psk-file = "berlin.psk"
[tunnel]
address = ["10.255.0.1/30", "fd00:255::1/64"]
routes = ["10.20.0.0/16"]
"#;

struct Run {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

/// Runs the command in a folder.
fn secure_gre(folder: &Path, arguments: &[&str]) -> Run {
    let mut command = Command::new(env!("CARGO_BIN_EXE_secure-gre"));
    command.current_dir(folder).env_remove("SECURE_GRE_LOG");
    command.env("SECURE_GRE_RUNTIME_DIR", folder.join("run"));
    let Output {
        status,
        stdout,
        stderr,
    } = command.args(arguments).output().unwrap();
    let text = |octets| String::from_utf8(octets).unwrap();
    Run {
        code: status.code(),
        stdout: text(stdout),
        stderr: text(stderr),
    }
}

/// A folder with `berlin.toml` and its key.
fn folder(peer: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("berlin.toml"), peer).unwrap();
    let psk = folder.path().join("berlin.psk");
    fs::write(&psk, "a pre-shared key that is long enough\n").unwrap();
    fs::set_permissions(&psk, fs::Permissions::from_mode(0o600)).unwrap();
    folder
}

#[test]
fn check_prints_what_would_be_negotiated() {
    let folder = folder(PEER);
    let Run {
        code,
        stdout,
        stderr,
    } = secure_gre(folder.path(), &["check", "berlin.toml"]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    let expected = "\
berlin.toml: berlin
  peer address    198.51.100.2
  our address     the one that the kernel routes from
  our identity    our address
  peer identity   the peer's address
  initiates       yes
  IKE             aes256gcm16-aes128gcm16-prfsha384-prfsha256-x25519-ecp256-ecp384
  IKE             aes256-sha384-sha256-ecp256-modp2048
  ESP             aes256gcm16-aes128gcm16-chacha20poly1305-x25519-ecp256-modp2048-modpnone-esn-noesn
  ESP             aes256-sha256-x25519-ecp256-modp2048-modpnone-esn-noesn
  mode            transport, for GRE between the two addresses
  device          the first free sgreN
  tunnel address  10.255.0.1/30
  tunnel address  fd00:255::1/64
  far end         10.255.0.2
  route           10.20.0.0/16
  GRE             no key
  MTU             1400, in outer packets of 1468 (up to 1434 would fit 1500)
";
    assert_eq!(stdout, expected);
}

#[test]
fn check_points_at_every_mistake_and_fails() {
    let folder = folder(&PEER.replace("/30", "").replace("psk-file", "psk-fil"));
    let Run {
        code,
        stdout,
        stderr,
    } = secure_gre(folder.path(), &["check", "berlin.toml", "absent.toml"]);
    assert_eq!((code, stdout.as_str()), (Some(2), ""));
    for said in [
        "--> berlin.toml:4:1",
        "did you mean `psk-file`?",
        "--> berlin.toml:6:12",
        "the prefix length is missing",
        "absent.toml: No such file",
    ] {
        assert!(stderr.contains(said), "{said}: {stderr}");
    }
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let folder = folder(PEER);
    let binary = env!("CARGO_BIN_EXE_secure-gre");
    let script = format!("set -o pipefail; {binary} check berlin.toml | true");
    let shell = Command::new("bash")
        .args(["-c", &script])
        .current_dir(folder.path())
        .status();
    assert!(shell.unwrap().success());
}

#[test]
fn without_a_daemon_commands_say_how_to_start_one() {
    let folder = folder(PEER);
    for arguments in [
        &["status"][..],
        &["status", "--json"],
        &["down"],
        &["down", "berlin"],
    ] {
        let Run {
            code,
            stdout,
            stderr,
        } = secure_gre(folder.path(), arguments);
        assert_eq!((code, stdout.as_str()), (Some(4), ""), "{stderr}");
        assert!(
            stderr.contains("no daemon runs") && stderr.contains("secure-gre up"),
            "{stderr}"
        );
    }
}

#[test]
fn a_wrong_command_line_is_a_usage_error() {
    let folder = folder(PEER);
    for arguments in [
        &["chek"][..],
        &[],
        &["check"],
        &["up"],
        &["status", "--yaml"],
    ] {
        let Run { code, stderr, .. } = secure_gre(folder.path(), arguments);
        assert_eq!(code, Some(2), "{stderr}");
        assert!(stderr.contains("Usage:"), "{stderr}");
    }
}

#[test]
fn up_with_a_wrong_file_touches_nothing() {
    let folder = folder(&PEER.replace("198.51.100.2", "224.0.0.5"));
    let Run { code, stderr, .. } = secure_gre(folder.path(), &["up", "berlin.toml"]);
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.contains("--> berlin.toml:3:11"), "{stderr}");
    assert!(!folder.path().join("run").exists());
}

#[test]
fn a_log_filter_that_is_none_is_a_usage_error() {
    let folder = folder(PEER);
    let mut command = Command::new(env!("CARGO_BIN_EXE_secure-gre"));
    command
        .env("SECURE_GRE_LOG", "secure_gre=loud")
        .args(["check", "berlin.toml"]);
    let output = command.current_dir(folder.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn genpsk_makes_a_key_of_its_own_each_time_and_overwrites_none() {
    let folder = folder(PEER);
    let keys = [(); 2].map(|()| secure_gre(folder.path(), &["genpsk"]));
    for key in &keys {
        assert_eq!((key.code, key.stderr.as_str()), (Some(0), ""));
        // 32 octets in base64, after the mark of that notation.
        assert!(
            key.stdout.starts_with("0s") && key.stdout.len() == 2 + 44 + 1,
            "{}",
            key.stdout
        );
    }
    assert_ne!(keys[0].stdout, keys[1].stdout);

    let psk = folder.path().join("new.psk");
    let made = secure_gre(folder.path(), &["genpsk", "--out", "new.psk"]);
    assert_eq!((made.code, made.stdout.as_str()), (Some(0), ""));
    assert_eq!(
        fs::metadata(&psk).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let content = fs::read(&psk).unwrap();
    let again = secure_gre(folder.path(), &["genpsk", "--out", "new.psk"]);
    assert_eq!(again.code, Some(1));
    assert!(
        again.stderr.contains("new.psk exists already"),
        "{}",
        again.stderr
    );
    assert_eq!(fs::read(&psk).unwrap(), content);

    let peer = fs::read_to_string(folder.path().join("berlin.toml")).unwrap();
    fs::write(
        folder.path().join("berlin.toml"),
        peer.replace("berlin.psk", "new.psk"),
    )
    .unwrap();
    let checked = secure_gre(folder.path(), &["check", "berlin.toml"]);
    assert_eq!((checked.code, checked.stderr.as_str()), (Some(0), ""));
}

#[test]
fn completions_are_scripts_that_the_shell_takes() {
    let folder = folder(PEER);
    let script = secure_gre(folder.path(), &["completions", "bash"]);
    assert_eq!(script.code, Some(0));
    assert!(script.stdout.contains("--log-format"));
    fs::write(folder.path().join("completions"), script.stdout).unwrap();
    let shell = Command::new("bash")
        .args(["-n", "completions"])
        .current_dir(folder.path())
        .status();
    assert!(shell.unwrap().success());
}

#[test]
fn failures_are_json_where_messages_are() {
    let folder = folder(&PEER.replace("psk-file", "psk-fil"));
    let arguments = ["daemon", "--log-format", "json", "absent"];
    let Run { code, stderr, .. } = secure_gre(folder.path(), &arguments);
    assert_eq!(code, Some(2), "{stderr}");
    let lines: Vec<Value> = stderr
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 1, "{stderr}");
    assert_eq!(lines[0]["level"], "ERROR");
    assert!(lines[0]["message"].as_str().unwrap().contains("absent"));
}

#[test]
fn help_teaches() {
    let folder = folder(PEER);
    let Run { code, stdout, .. } = secure_gre(folder.path(), &["--help"]);
    assert_eq!(code, Some(0));
    for said in [
        "secure-gre up peer.toml",
        "psk-file",
        "Exit codes:",
        "SECURE_GRE_RUNTIME_DIR",
    ] {
        assert!(stdout.contains(said), "{said}: {stdout}");
    }
}
