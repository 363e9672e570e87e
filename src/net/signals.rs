//! How this process was told to take signals by whoever started it.

use std::{fs, io};

use nix::sys::signal::Signal;

/// Whether `signal` is ignored, as `nohup` makes it for the program that it starts.
pub fn is_ignored(signal: Signal) -> io::Result<bool> {
    let status = fs::read_to_string("/proc/self/status")?;
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .ok_or_else(|| io::Error::other("/proc/self/status has no SigIgn"))?;
    Ok(mask >> (signal as i32 - 1) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_rust_ignores_is_known_as_ignored() {
        assert!(is_ignored(Signal::SIGPIPE).unwrap());
        assert!(!is_ignored(Signal::SIGTERM).unwrap());
    }
}
