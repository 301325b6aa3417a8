//! Reading the state file: all of it, or a reason why not.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use nix::fcntl::OFlag;

use super::super::kind::Kind;
use super::super::outcome::Record;
use super::KeepSettings;
use super::frame::{self, Body, HEAD, LONGEST, MAGIC};

/// The file's name in its directory.
pub(super) const FILE: &str = "xds-state";
/// Bytes of a file, 1 GiB, of which half may be live: ten times what a mesh of 100,000 workloads needs before it is written anew.
pub(super) const LARGEST: u64 = 1 << 30;

/// A file that can be used: where in it the newest record of each resource is.
pub(in crate::xds::client) struct Loaded {
    file: File,
    /// Offsets of heads, ascending.
    places: Vec<u64>,
    /// The state is the control plane's as of this time. `None` only in a file of this process.
    pub(in crate::xds::client) as_of: Option<SystemTime>,
}

/// Why a file is not used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unusable {
    /// Not written by us, or damaged.
    #[error("{path} is broken at byte {at}: {what}. It is ignored and will be written anew", path = path.display())]
    Broken { path: PathBuf, at: u64, what: &'static str },
    /// Someone else could have put policies there. Configuration.
    #[error("{path} is not a regular file of this process's user that nobody else may write (mode 0600)", path = path.display())]
    Foreign { path: PathBuf },
    /// The process ended in its first sync.
    #[error("the state in {path} was never complete", path = path.display())]
    Incomplete { path: PathBuf },
    /// Kernel, or configuration.
    #[error("cannot read {path}", path = path.display())]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The control plane was away for too long, or the node was.
    #[error("the state in {path} is {} old, and {} is the limit", humantime::format_duration(*.age), humantime::format_duration(*.limit), path = path.display())]
    Old { path: PathBuf, age: Duration, limit: Duration },
    /// Configuration has changed.
    #[error("the state in {path} is of another control plane, cluster or mode (on demand or all)", path = path.display())]
    Other { path: PathBuf },
}

/// [`load`] with a line for the log.
pub(super) fn report(settings: &KeepSettings, now: SystemTime) -> Option<Loaded> {
    match load(settings, now) {
        Ok(Some(loaded)) => {
            let age =
                Duration::from_secs(now.duration_since(loaded.as_of.unwrap_or(now)).unwrap_or_default().as_secs());
            let age = humantime::format_duration(age).to_string();
            tracing::info!(resources = loaded.places.len(), age, "the state of the mesh was read from disk");
            Some(loaded)
        }
        Ok(None) => None,
        Err(error) => {
            let error = crate::telemetry::cause::chain(&error);
            tracing::warn!(error, "the kept state of the mesh is not used");
            None
        }
    }
}

/// Opens and checks the file of `settings`; `None` when there is none.
fn load(settings: &KeepSettings, now: SystemTime) -> Result<Option<Loaded>, Unusable> {
    let path = settings.directory.join(FILE);
    let io = |source| Unusable::Io { path: path.clone(), source };
    // Not through a link, and not waiting for a FIFO's writer.
    let flags = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits();
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(&path) {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(io(error)),
    };
    let meta = file.metadata().map_err(io)?;
    if !meta.is_file() || meta.uid() != nix::unistd::geteuid().as_raw() || meta.mode() & 0o022 != 0 {
        return Err(Unusable::Foreign { path });
    }
    if meta.len() > LARGEST {
        return Err(Unusable::Broken { path, at: LARGEST, what: "it is larger than any that was written" });
    }
    let mut index = Index::default();
    let mut reader = Frames::new(&file, &path)?;
    while let Some((at, body)) = reader.next()? {
        index.note(at, body).map_err(|what| Unusable::Broken { path: path.clone(), at, what })?;
    }
    if reader.torn {
        tracing::info!(path = %path.display(), at = reader.at, "the end of the kept state was not written; what is before it is used");
    }
    let Index { source, as_of, places, .. } = index;
    let Some(as_of) = as_of else { return Err(Unusable::Incomplete { path }) };
    if source.as_deref() != Some(&settings.source) {
        return Err(Unusable::Other { path });
    }
    let age = now.duration_since(as_of).unwrap_or_default();
    if age > settings.greatest_age {
        let whole = Duration::from_secs(age.as_secs());
        return Err(Unusable::Old { path, age: whole, limit: settings.greatest_age });
    }
    let mut places: Vec<_> = places.into_values().collect();
    places.sort_unstable();
    Ok(Some(Loaded { file, places, as_of: Some(as_of) }))
}

// === impl Loaded ===

impl Loaded {
    pub(super) fn new(file: File, places: Vec<u64>, as_of: Option<SystemTime>) -> Self {
        Self { file, places, as_of }
    }

    /// Calls `each` with every live record, in the order of the file.
    pub(in crate::xds::client) fn each(&self, mut each: impl FnMut(Record<'_>)) -> io::Result<()> {
        let mut reader = BufReader::with_capacity(1 << 16, &self.file);
        reader.seek(SeekFrom::Start(0))?;
        let (mut at, mut bytes) = (0, Vec::new());
        for place in &self.places {
            reader.seek_relative(i64::try_from(place - at).unwrap_or(i64::MAX))?;
            let mut head = [0; HEAD];
            reader.read_exact(&mut head)?;
            let (length, crc) = frame::head(head);
            bytes.resize(length.min(LONGEST), 0);
            reader.read_exact(&mut bytes)?;
            at = place + (HEAD + bytes.len()) as u64;
            match frame::body(&bytes) {
                Some(Body::Record(record)) if frame::crc32(&bytes) == crc => each(record),
                _ => {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, "the file has changed since it was opened"));
                }
            }
        }
        Ok(())
    }
}

/// The newest place of each resource.
#[derive(Default)]
pub(super) struct Index {
    pub(super) source: Option<String>,
    pub(super) as_of: Option<SystemTime>,
    /// By two keyed hashes of kind and name: 100,000 names are not held a second time.
    pub(super) places: HashMap<(u64, u64), u64>,
    hashers: (RandomState, RandomState),
}

// === impl Index ===

impl Index {
    pub(super) fn note(&mut self, at: u64, body: &[u8]) -> Result<(), &'static str> {
        match frame::body(body).ok_or("a record that this version does not know")? {
            Body::Source(source) if self.source.is_none() && self.places.is_empty() => {
                self.source = Some(source.to_owned());
            }
            Body::Source(_) => return Err("a second beginning"),
            Body::Mark(as_of) => self.as_of = Some(as_of),
            Body::Record(Record { kind, name, value, .. }) => {
                let key = (kind == Kind::Address, name);
                let key = (self.hashers.0.hash_one(key), self.hashers.1.hash_one(key));
                match value {
                    Some(_) => drop(self.places.insert(key, at)),
                    None => drop(self.places.remove(&key)),
                }
            }
        }
        Ok(())
    }
}

/// The records of a file, from its beginning.
pub(super) struct Frames<'a> {
    reader: BufReader<&'a File>,
    path: &'a Path,
    body: Vec<u8>,
    /// Where the next record begins.
    pub(super) at: u64,
    /// The last record is not all there: a power cut, or a process that was killed while it wrote.
    pub(super) torn: bool,
}

// === impl Frames ===

impl<'a> Frames<'a> {
    pub(super) fn new(mut file: &'a File, path: &'a Path) -> Result<Self, Unusable> {
        let io = |source| Unusable::Io { path: path.to_owned(), source };
        file.seek(SeekFrom::Start(0)).map_err(io)?;
        let mut reader = BufReader::with_capacity(1 << 16, file);
        let mut magic = [0; MAGIC.len()];
        match reader.read_exact(&mut magic) {
            Ok(()) if magic == *MAGIC => {}
            Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => return Err(io(error)),
            _ => {
                return Err(Unusable::Broken {
                    path: path.to_owned(),
                    at: 0,
                    what: "it does not begin as one of ours",
                });
            }
        }
        Ok(Self { reader, path, body: Vec::new(), at: MAGIC.len() as u64, torn: false })
    }

    /// The next record's place and body.
    pub(super) fn next(&mut self) -> Result<Option<(u64, &[u8])>, Unusable> {
        let broken = |at, what| Err(Unusable::Broken { path: self.path.to_owned(), at, what });
        let mut head = [0; HEAD];
        let got = fill(&mut self.reader, &mut head).map_err(|source| self.io(source))?;
        let (length, crc) = frame::head(head);
        if got < HEAD || length == 0 {
            self.torn = got > 0;
            return Ok(None);
        }
        if length > LONGEST {
            return broken(self.at, "a record longer than any");
        }
        self.body.resize(length, 0);
        let got = fill(&mut self.reader, &mut self.body).map_err(|source| self.io(source))?;
        if got < length {
            self.torn = true;
            return Ok(None);
        }
        if frame::crc32(&self.body) != crc {
            return broken(self.at, "the checksum is another");
        }
        let at = self.at;
        self.at += (HEAD + length) as u64;
        Ok(Some((at, &self.body)))
    }

    fn io(&self, source: io::Error) -> Unusable {
        Unusable::Io { path: self.path.to_owned(), source }
    }
}

/// Reads until the buffer is full or the file ends; how much.
fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut got = 0;
    while got < buffer.len() {
        match reader.read(&mut buffer[got..]) {
            Ok(0) => break,
            Ok(more) => got += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(got)
}
