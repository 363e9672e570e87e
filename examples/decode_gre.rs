//! What a GRE packet says: `cargo run --example decode_gre -- 200008000000002a45…` (hexadecimal).

use std::process::ExitCode;

use data_encoding::HEXLOWER_PERMISSIVE;
use secure_gre_gre::Header;

fn main() -> ExitCode {
    let Some(text) = std::env::args().nth(1) else {
        eprintln!("usage: decode_gre HEX");
        return ExitCode::from(2);
    };
    match decode(&text) {
        Ok(said) => {
            println!("{said}");
            ExitCode::SUCCESS
        }
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}

fn decode(text: &str) -> Result<String, String> {
    let packet = HEXLOWER_PERMISSIVE
        .decode(text.as_bytes())
        .map_err(|problem| format!("not hexadecimal: {problem}"))?;
    let (header, passenger) =
        Header::parse(&packet).map_err(|reason| format!("dropped: {}", reason.name()))?;
    Ok(format!(
        "{header:?}\npassenger of {} octets",
        passenger.len()
    ))
}

#[test]
fn says_what_a_packet_holds_or_why_it_is_dropped() -> Result<(), String> {
    let said = decode("200008000000002A45")?;
    assert!(said.contains("key: Some(42)"), "{said}");
    assert!(said.ends_with("passenger of 1 octets"), "{said}");
    for (text, problem) in [("2", "not hexadecimal"), ("2000", "dropped: gre_")] {
        let refused = decode(text).err().unwrap_or_default();
        assert!(refused.starts_with(problem), "{text}: {refused:?}");
    }
    Ok(())
}
