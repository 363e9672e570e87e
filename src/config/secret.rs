//! Files that may hold secrets: read once, refused where others can read them, wiped after use.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use data_encoding::{BASE64, BASE64_NOPAD, HEXLOWER_PERMISSIVE};
use rand::TryRng;
use rand::rngs::SysRng;
use secure_gre_ike::secret::Secret;
use zeroize::Zeroizing;

use super::diagnostic::{Diagnostic, Report};

/// No honest configuration is longer, in octets.
const MAX_CONFIG_OCTETS: u64 = 1024 * 1024;

/// No honest key is longer, in octets.
const MAX_PSK_OCTETS: u64 = 4096;

/// Shorter keys can be guessed by whoever poses as the peer once (RFC 7296 §2.15).
const ADVISED_PSK_OCTETS: usize = 16;

/// Shorter ones leave less than 128 bits to whoever has a quantum computer (RFC 8784 §6).
const ADVISED_PPK_OCTETS: usize = 32;

/// The text of a configuration file. Not `Debug`: it may hold the key.
pub(super) struct Source {
    /// The text; wiped when dropped, since it may hold the key.
    pub(super) text: Zeroizing<String>,
    /// Whether users other than the owner can read it.
    pub(super) exposed: bool,
}

/// Reads a configuration file.
pub(super) fn read_config(path: &Path) -> Result<Source, Report> {
    let fail = |message: String| Report::about_file(path, Diagnostic::error(message));
    let content = read(path, MAX_CONFIG_OCTETS).map_err(|error| fail(error.to_string()))?;
    match std::str::from_utf8(&content.octets) {
        Ok(text) => Ok(Source {
            text: Zeroizing::new(text.to_owned()),
            exposed: content.exposed,
        }),
        Err(fault) => Err(fail(format!(
            "the file is not UTF-8 text: octet {} is no part of a character",
            fault.valid_up_to()
        ))),
    }
}

/// A key, and what is doubtful about it.
pub(super) struct Psk {
    /// The key as AUTH uses it.
    pub(super) secret: Secret,
    /// A doubt for the user.
    pub(super) warning: Option<Diagnostic>,
}

/// Reads a key file: the whole content but one line end, in any of the notations of [`decode_psk`].
pub(super) fn read_psk(path: &Path) -> Result<Psk, Diagnostic> {
    let written = read_key(path)?;
    decode_psk(&written)
}

/// The same for a post-quantum one, which has to be longer (RFC 8784 §6).
pub(super) fn read_ppk(path: &Path) -> Result<Psk, Diagnostic> {
    let Psk { secret, warning } = read_psk(path)?;
    let length = secret.expose().len();
    let short = (length < ADVISED_PPK_OCTETS).then(|| {
        Diagnostic::warning(format!(
            "the post-quantum pre-shared key has {length} octets, of which a quantum computer finds out \
             half as many"
        ))
        .help("`secure-gre genpsk` prints one of 32 octets; both ends need the same")
    });
    Ok(Psk {
        secret,
        warning: short.or(warning),
    })
}

fn read_key(path: &Path) -> Result<Zeroizing<Vec<u8>>, Diagnostic> {
    let shown = path.display();
    let content = read(path, MAX_PSK_OCTETS).map_err(|error| {
        Diagnostic::error(format!("the key file {shown} is not usable: {error}"))
    })?;
    if content.exposed {
        return Err(
            Diagnostic::error(format!("other users can read the key file {shown}"))
                .help(format!("chmod 600 {shown}")),
        );
    }
    let mut octets = content.octets;
    if octets.ends_with(b"\n") {
        octets.pop();
    }
    if octets.ends_with(b"\r") {
        octets.pop();
    }
    Ok(octets)
}

/// The key that is written so: text, `0x` and hexadecimal digits, or `0s` and base64.
pub(super) fn decode_psk(written: &[u8]) -> Result<Psk, Diagnostic> {
    let octets = if let Some(digits) = written.strip_prefix(b"0x") {
        HEXLOWER_PERMISSIVE.decode(digits).map_err(|_| {
            Diagnostic::error(
                "a key that begins with 0x continues with pairs of hexadecimal digits",
            )
        })?
    } else if let Some(digits) = written.strip_prefix(b"0s") {
        BASE64
            .decode(digits)
            .or_else(|_| BASE64_NOPAD.decode(digits))
            .map_err(|_| Diagnostic::error("a key that begins with 0s continues with base64"))?
    } else {
        written.to_vec()
    };
    let secret = Secret::new(octets);
    let length = secret.expose().len();
    if length == 0 {
        return Err(Diagnostic::error("the pre-shared key is empty")
            .help("`secure-gre genpsk` prints a good one; both ends need the same"));
    }
    let warning = (length < ADVISED_PSK_OCTETS).then(|| {
        Diagnostic::warning(format!(
            "the pre-shared key has {length} octets, which can be guessed"
        ))
        .help("`secure-gre genpsk` prints a good one; both ends need the same")
    });
    Ok(Psk { secret, warning })
}

/// A new random key of 32 octets, in the notation of a key file: `0s` and base64.
///
/// # Errors
/// The kernel gives no random numbers.
pub fn generate_psk() -> io::Result<Zeroizing<String>> {
    let mut octets = Zeroizing::new([0; 32]);
    SysRng
        .try_fill_bytes(octets.as_mut_slice())
        .map_err(io::Error::other)?;
    // Room for all of it from the start: a growing string would leave unwiped copies behind.
    let mut text = Zeroizing::new(String::with_capacity(2 + BASE64.encode_len(octets.len())));
    text.push_str("0s");
    BASE64.encode_append(octets.as_slice(), &mut text);
    Ok(text)
}

struct Content {
    octets: Zeroizing<Vec<u8>>,
    exposed: bool,
}

fn read(path: &Path, max_octets: u64) -> io::Result<Content> {
    // Without O_NONBLOCK, opening a FIFO that nobody writes to would never return.
    let file: File = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    // Room for all of it from the start: a growing vector would leave unwiped copies behind.
    let room = usize::try_from(metadata.len().min(max_octets)).unwrap_or(0) + 1;
    let mut octets = Zeroizing::new(Vec::with_capacity(room));
    file.take(max_octets + 1).read_to_end(&mut octets)?;
    if octets.len() as u64 > max_octets {
        return Err(io::Error::other(format!(
            "it has more than {max_octets} octets"
        )));
    }
    Ok(Content {
        octets,
        exposed: metadata.mode() & 0o066 != 0,
    })
}
