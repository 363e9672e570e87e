//! What a GRE packet says: `cargo run --example decode_gre -- 200008000000002a45…` (hexadecimal).

use std::process::ExitCode;

use data_encoding::HEXLOWER_PERMISSIVE;
use secure_gre_gre::Header;

fn main() -> ExitCode {
    let Some(text) = std::env::args().nth(1) else {
        eprintln!("usage: decode_gre HEX");
        return ExitCode::from(2);
    };
    let packet = match HEXLOWER_PERMISSIVE.decode(text.as_bytes()) {
        Ok(packet) => packet,
        Err(problem) => {
            eprintln!("not hexadecimal: {problem}");
            return ExitCode::from(2);
        }
    };
    match Header::parse(&packet) {
        Ok((header, passenger)) => {
            println!("{header:?}");
            println!("passenger of {} octets", passenger.len());
            ExitCode::SUCCESS
        }
        Err(reason) => {
            println!("dropped: {}", reason.name());
            ExitCode::FAILURE
        }
    }
}
