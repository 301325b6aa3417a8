//! The CA's directory: Istio's `cacerts` layout, read, checked, or made on first use.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use nix::fcntl::{Flock, FlockArg};
use rcgen::{Issuer, KeyPair};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::authority::{Authority, DEFAULT_TTL, Parts};
use super::error::CaError;
use super::pki;
use super::revoked;
use crate::model::spiffe::Identity;
use crate::tls::{Credentials, MAX_PEM, encode_certificates, encode_key, pem_certificates, private_key_block};

const ROOT_CERT: &str = "root-cert.pem";
const CA_CERT: &str = "ca-cert.pem";
const CA_KEY: &str = "ca-key.pem";
const CERT_CHAIN: &str = "cert-chain.pem";
pub(super) const FILES: [&str; 4] = [ROOT_CERT, CA_CERT, CA_KEY, CERT_CHAIN];
/// Taken with flock(2) by whoever makes a root.
const LOCK: &str = ".lock";
/// There while a root is being made. An incomplete set beside it is ours, of a process that died, and is made anew;
/// without it, it is somebody's mistake and is left alone.
const MAKING: &str = ".making";

/// The directory of a CA.
pub struct Root;

// === impl Root ===

impl Root {
    /// Opens the CA in `dir`. When the directory is missing or has none of the four files, a self-signed ECDSA P-256
    /// root for ten years is made, the directory with mode 0700 and the key with 0600; processes that start at once
    /// agree on one. A key that others than its owner may read is used with a warning and not refused: Kubernetes
    /// mounts secrets with mode 0644 unless told otherwise.
    ///
    /// Expired roots in a bundle with a valid one are left out. The check at the end is a leaf issued and verified.
    ///
    /// # Errors
    /// One line for each thing that can be wrong with the four files; see [`CaError`].
    pub fn load_or_create(dir: &Path, trust_domain: &str) -> Result<Authority, CaError> {
        Self::load_or_create_at(dir, trust_domain, SystemTime::now())
    }

    /// Opens the CA in `dir` without making anything.
    ///
    /// # Errors
    /// As [`Self::load_or_create`]; an empty directory is incomplete.
    pub fn load(dir: &Path, trust_domain: &str, now: SystemTime) -> Result<Authority, CaError> {
        match missing(dir).next() {
            None => load(dir, trust_domain, now),
            Some(name) => Err(incomplete(dir)(name)),
        }
    }

    fn load_or_create_at(dir: &Path, trust_domain: &str, now: SystemTime) -> Result<Authority, CaError> {
        // A complete set needs no lock, so a read-only mount will do.
        if missing(dir).next().is_none() {
            return load(dir, trust_domain, now);
        }
        let none = missing(dir).count() == FILES.len();
        if none && !dir.exists() {
            let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
            made.map_err(io_error("create the directory", dir))?;
        }
        let lock = match lock(dir) {
            Ok(lock) => lock,
            Err(error) => return Err(missing(dir).next().filter(|_| !none).map_or(error, incomplete(dir))),
        };
        let ours = dir.join(MAKING);
        match missing(dir).next() {
            // Another process made it while we waited for the lock.
            None => {}
            Some(_) if missing(dir).count() == FILES.len() || ours.exists() => create(dir, trust_domain, now)?,
            Some(name) => return Err(incomplete(dir)(name)),
        }
        drop(lock);
        load(dir, trust_domain, now)
    }
}

fn missing(dir: &Path) -> impl Iterator<Item = &'static str> {
    FILES.into_iter().filter(|name| !dir.join(name).exists())
}

fn incomplete(dir: &Path) -> impl Fn(&'static str) -> CaError {
    |missing| CaError::Incomplete { dir: dir.to_owned(), missing }
}

fn io_error(what: &'static str, path: &Path) -> impl Fn(io::Error) -> CaError {
    move |source| CaError::Io { what, path: path.to_owned(), source }
}

fn lock(dir: &Path) -> Result<Flock<File>, CaError> {
    let path = dir.join(LOCK);
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
    let file = file.map_err(io_error("open the lock file", &path))?;
    Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| io_error("take the lock", &path)(errno.into()))
}

/// Makes a root. The lock is held.
fn create(dir: &Path, trust_domain: &str, now: SystemTime) -> Result<(), CaError> {
    let key = pki::key()?;
    let root = pki::root(trust_domain, now)?.self_signed(&key).map_err(|_| CaError::Sign("no root could be made"))?;
    let certificate = encode_certificates([root.der().as_ref()]);
    let making = dir.join(MAKING);
    write(&making, b"", 0o600)?;
    for (name, text, mode) in [
        (CA_KEY, encode_key(key.serialized_der()), 0o600),
        (CA_CERT, certificate.clone(), 0o644),
        (CERT_CHAIN, certificate.clone(), 0o644),
        (ROOT_CERT, certificate, 0o644),
    ] {
        write(&dir.join(name), text.as_bytes(), mode)?;
    }
    fs::remove_file(&making).map_err(io_error("remove", &making))?;
    tracing::info!(dir = %dir.display(), trust_domain, "made a new root of trust");
    Ok(())
}

/// Writes beside the file and renames, so that a reader sees all of it or nothing. A symlink in its place is replaced
/// and not followed.
fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), CaError> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let temporary = PathBuf::from(temporary);
    let write = || -> io::Result<()> {
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().create_new(true).write(true).mode(mode).open(&temporary)?;
        // Not left to the umask.
        file.set_permissions(Permissions::from_mode(mode))?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    };
    write().map_err(io_error("write", path))
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>, CaError> {
    let read = || -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        // One byte more than the limit, so that the parser sees that it is too large.
        File::open(path)?.take(MAX_PEM as u64 + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    read().map_err(io_error("read", path))
}

/// The certificates of a file; an error when there are none and some are needed.
fn certificates(path: &Path, needed: bool) -> Result<Vec<Vec<u8>>, CaError> {
    let bad = |source| CaError::Pem { path: path.to_owned(), expected: "certificates", source };
    let found = pem_certificates(&read(path)?).map_err(|error| bad(Some(error)))?;
    if needed && found.is_empty() { Err(bad(None)) } else { Ok(found) }
}

fn key(path: &Path) -> Result<KeyPair, CaError> {
    let bad = |source| CaError::Pem { path: path.to_owned(), expected: "one private key", source };
    let text = String::from_utf8(read(path)?).map_err(|_| bad(None))?;
    let block = private_key_block(&text).map_err(|error| bad(Some(error)))?.ok_or_else(|| bad(None))?;
    if let Ok(meta) = fs::metadata(path)
        && meta.permissions().mode() & 0o077 != 0
    {
        let mode = format!("{:04o}", meta.permissions().mode() & 0o7777);
        tracing::warn!(path = %path.display(), mode, "others may read the CA's private key: chmod 600");
    }
    KeyPair::from_pem(block).map_err(|_| CaError::Key { path: path.to_owned() })
}

/// What a check needs of one certificate.
struct Facts {
    ca: bool,
    not_after: SystemTime,
    not_before: SystemTime,
    public_key: Vec<u8>,
}

fn facts(der: &[u8], path: &Path) -> Result<Facts, CaError> {
    let bad = |_| CaError::Pem { path: path.to_owned(), expected: "X.509 certificates", source: None };
    let (_, certificate) = X509Certificate::from_der(der).map_err(bad)?;
    let time = |seconds: i64| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.max(0).unsigned_abs());
    let may_sign = certificate.key_usage().ok().flatten().is_none_or(|usage| usage.value.key_cert_sign());
    Ok(Facts {
        ca: certificate.is_ca() && may_sign,
        not_after: time(certificate.validity().not_after.timestamp()),
        not_before: time(certificate.validity().not_before.timestamp()),
        public_key: certificate.public_key().subject_public_key.data.to_vec(),
    })
}

fn load(dir: &Path, trust_domain: &str, now: SystemTime) -> Result<Authority, CaError> {
    let [root_path, cert_path, key_path, chain_path] = FILES.map(|name| dir.join(name));
    let mut roots = Vec::new();
    let mut roots_not_after = None;
    for der in certificates(&root_path, true)? {
        let Facts { not_after, .. } = facts(&der, &root_path)?;
        if not_after > now {
            roots_not_after = Some(roots_not_after.map_or(not_after, |first: SystemTime| first.min(not_after)));
            roots.push(der);
        } else {
            tracing::warn!(path = %root_path.display(), "an expired root is left out");
        }
    }
    let roots_not_after = roots_not_after.ok_or(CaError::Expired { path: root_path })?;

    let signer = certificates(&cert_path, true)?.swap_remove(0);
    let about = facts(&signer, &cert_path)?;
    let key = key(&key_path)?;
    if !about.ca {
        return Err(CaError::NotACa { path: cert_path });
    }
    if about.not_after <= now {
        return Err(CaError::Expired { path: cert_path });
    }
    if about.not_before > now {
        return Err(CaError::NotYetValid { path: cert_path });
    }
    if key.public_key_raw() != about.public_key {
        return Err(CaError::KeyMismatch { path: key_path });
    }

    // Istio writes the signing certificate into cert-chain.pem again, or not, and roots or not.
    let mut intermediates = vec![signer.clone()];
    for der in certificates(&chain_path, false)? {
        if !intermediates.contains(&der) {
            intermediates.push(der);
        }
    }
    intermediates.retain(|der| !roots.contains(der));
    revoked::check(dir, intermediates.iter().chain(&roots))?;

    let issuer = Issuer::from_ca_cert_der(&signer.into(), key).map_err(|_| CaError::Pem {
        path: cert_path,
        expected: "one CA certificate",
        source: None,
    })?;
    let authority = Authority::new(Parts {
        issuer,
        intermediates,
        roots,
        not_after: about.not_after,
        roots_not_after,
        ttl: DEFAULT_TTL,
        trust_domain: trust_domain.into(),
    });
    // A leaf that nobody will use: whatever else is wrong between key, chain and roots shows here and not in peers.
    let probe = Identity::new(trust_domain, "culvert", "probe");
    let issued = authority.issue(&probe, DEFAULT_TTL, now)?;
    Credentials::build(&issued, &probe, now)
        .map_err(|source| CaError::NotAnchored { path: chain_path, source: Box::new(source) })?;
    Ok(authority)
}

#[cfg(test)]
mod tests;
