//! SHA-256, of the same provider as everything else.

use rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;

/// SHA-256 (FIPS 180-4) of `bytes`.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut digest = [0; 32];
    // The suite's hash is SHA-256, by its name.
    let output = TLS13_AES_128_GCM_SHA256.tls13().map(|suite| suite.common.hash_provider.hash(bytes));
    if let Some(output) = output.as_ref().map(AsRef::as_ref).filter(|output: &&[u8]| output.len() == digest.len()) {
        digest.copy_from_slice(output);
    }
    digest
}

#[cfg(test)]
mod tests {
    use super::sha256;

    #[test]
    fn known_answer() {
        let digest: String = sha256(b"abc").iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(digest, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
