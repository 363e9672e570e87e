#![forbid(unsafe_code)]
//! IKEv2 (RFC 7296) with a pre-shared key, without I/O.

pub mod algorithm;
pub mod config;
pub mod cookie;
pub mod crypto;
pub mod identity;
pub mod keys;
pub mod limits;
pub mod nat;
pub mod proposal;
pub mod secret;
pub mod select;
pub mod ts;
pub mod wire;

#[cfg(test)]
mod tests {
    //! What the tests of several modules read vectors with.

    use serde_json::Value;

    /// The cases of a file of vectors.
    pub(crate) fn vectors(file: &str) -> Vec<Value> {
        let file: Value = serde_json::from_str(file).unwrap();
        file["cases"].as_array().unwrap().clone()
    }

    /// The octets of a field.
    pub(crate) fn hex(field: &Value) -> Vec<u8> {
        let digits = field.as_str().unwrap();
        let octet = |at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
        (0..digits.len()).step_by(2).map(octet).collect()
    }
}
