use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use super::*;

#[test]
fn bytes_pass_unchanged_and_the_end_is_seen() {
    let (mut app, near) = UnixStream::pair().unwrap();
    let (far, mut peer) = UnixStream::pair().unwrap();
    let pool = PipePool::new();
    let mut pipe = pool.lease().unwrap();
    app.write_all(b"hello").unwrap();
    assert_eq!(pipe.fill(&near).unwrap(), 5);
    assert_eq!((pipe.held(), pipe.drain(&far, false).unwrap(), pipe.held()), (5, 5, 0));
    let mut seen = [0; 5];
    peer.read_exact(&mut seen).unwrap();
    assert_eq!(&seen, b"hello");
    drop(app);
    assert_eq!(pipe.fill(&near).unwrap(), 0);
}

#[test]
fn a_pipe_with_bytes_is_never_reused() {
    let (mut app, near) = UnixStream::pair().unwrap();
    let pool = PipePool::new();
    let mut dirty = pool.lease().unwrap();
    app.write_all(b"secret").unwrap();
    dirty.fill(&near).unwrap();
    pool.give_back(dirty);
    let clean = pool.lease().unwrap();
    assert_eq!(clean.held(), 0);
    let (far, mut peer) = UnixStream::pair().unwrap();
    let mut clean = clean;
    clean.held = 6;
    let error = clean.drain(&far, false).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "the pipe is empty");
    drop(far);
    let mut rest = Vec::new();
    peer.read_to_end(&mut rest).unwrap();
    assert!(rest.is_empty());
}

#[test]
fn wide_pipes_and_idle_ones_are_bounded() {
    let pool = PipePool::new();
    let pipes: Vec<_> = (0..MAX_WIDE + 10).map(|_| pool.lease().unwrap()).collect();
    assert_eq!(pipes.iter().filter(|pipe| pipe.wide.is_some()).count(), MAX_WIDE);
    for pipe in pipes {
        pool.give_back(pipe);
    }
    let idle = pool.idle.lock().unwrap().len();
    assert_eq!((idle, pool.wide.load(Ordering::Relaxed)), (MAX_IDLE, MAX_IDLE), "what is closed counts no more");
}
