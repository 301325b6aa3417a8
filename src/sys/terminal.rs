//! The terminal that a person looks at.
#![expect(unsafe_code, reason = "an ioctl that nix only declares by macro")]

use std::io::IsTerminal;
use std::mem::zeroed;

use nix::libc::{STDOUT_FILENO, TIOCGWINSZ, ioctl, winsize};

/// Columns of the terminal behind stdout; `None` when stdout is something else.
pub fn width() -> Option<usize> {
    if !std::io::stdout().is_terminal() {
        return None;
    }
    // SAFETY: `winsize` is four integers, for which zero is a value, and TIOCGWINSZ writes such a
    // struct through the pointer, which lives for the call.
    let (answer, size) = unsafe {
        let mut size: winsize = zeroed();
        (ioctl(STDOUT_FILENO, TIOCGWINSZ, &raw mut size), size)
    };
    (answer == 0 && size.ws_col > 0).then_some(usize::from(size.ws_col))
}
