//! The one crypto provider: aws-lc, TLS 1.3 suites, hybrid key exchange first.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider, kx_group};
use rustls::crypto::{CryptoProvider, GetRandomFailed};

/// Asked for before the provider was made.
static POST_QUANTUM_ALONE: AtomicBool = AtomicBool::new(false);

/// Offers and takes the hybrid post-quantum group alone, from now on: peers without it are refused. To be called before
/// anything of TLS is built; later it changes nothing.
pub fn post_quantum_alone() {
    POST_QUANTUM_ALONE.store(true, Ordering::Relaxed);
}

/// The provider that every configuration of ours is built with.
///
/// Suites: AES-256-GCM, then AES-128-GCM; both are in hardware wherever a mesh runs. Groups: X25519MLKEM768 first
/// (a recording of today's traffic stays closed to a quantum computer), then the classical ones for peers without it.
pub(super) fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    Arc::clone(PROVIDER.get_or_init(|| Arc::new(made(POST_QUANTUM_ALONE.load(Ordering::Relaxed)))))
}

fn made(post_quantum_alone: bool) -> CryptoProvider {
    let classical = [kx_group::X25519, kx_group::SECP256R1, kx_group::SECP384R1];
    let classical = classical.into_iter().filter(|_| !post_quantum_alone);
    CryptoProvider {
        cipher_suites: vec![cipher_suite::TLS13_AES_256_GCM_SHA384, cipher_suite::TLS13_AES_128_GCM_SHA256],
        kx_groups: std::iter::once(kx_group::X25519MLKEM768).chain(classical).collect(),
        ..default_provider()
    }
}

/// Bytes from the system's generator, for serial numbers and trace ids.
///
/// # Errors
/// [`None`] when the kernel gives no entropy, which does not happen after boot. Kernel.
pub fn random_bytes<const N: usize>() -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let filled: Result<(), GetRandomFailed> = provider().secure_random.fill(&mut bytes);
    filled.ok().map(|()| bytes)
}

/// A number in 0.0..1.0, for jitter; 0.5 (no jitter) when there is no entropy.
pub fn random_unit() -> f64 {
    random_bytes().map_or(0.5, |bytes| f64::from(u32::from_le_bytes(bytes)) / (f64::from(u32::MAX) + 1.0))
}

#[cfg(test)]
mod tests {
    use rustls::NamedGroup;

    use super::made;

    #[test]
    fn the_hybrid_group_is_first_and_can_be_the_only_one() {
        let groups = |alone| made(alone).kx_groups.iter().map(|group| group.name()).collect::<Vec<_>>();
        assert_eq!(groups(true), [NamedGroup::X25519MLKEM768]);
        assert_eq!(groups(false)[..2], [NamedGroup::X25519MLKEM768, NamedGroup::X25519]);
    }
}
