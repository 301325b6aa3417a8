//! Where the process spends its processor time: the program counter, sampled by SIGPROF.
//!
//! The handler reads one register and writes one word of a fixed buffer: it takes no lock, allocates nothing and walks
//! no stack, so it is safe wherever it interrupts (signal-safety(7)). Samples have no callers.
#![expect(unsafe_code, reason = "sigaction(2) with a handler, and setitimer(2), have no safe face")]

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use nix::libc::{self, c_int, c_void};

/// Samples between two drains: 8 s at 1000 a second.
const SLOTS: usize = 8192;

static RUNNING: AtomicBool = AtomicBool::new(false);
/// The next slot; beyond [`SLOTS`] what is lost.
static NEXT: AtomicUsize = AtomicUsize::new(0);
static SAMPLES: [AtomicUsize; SLOTS] = [const { AtomicUsize::new(0) }; SLOTS];

/// Samples while it lives. There is one at a time.
#[must_use = "dropping it ends the profile"]
#[derive(Debug)]
pub struct Sampler(());

/// Why there is no profile.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// Somebody else profiles now.
    #[error("a profile is being taken: ask again when it has ended")]
    Busy,
    /// A processor whose registers this build does not know. Us.
    #[error("profiles are taken on x86-64 and arm64 alone")]
    Machine,
    /// Kernel.
    #[error("cannot take samples: {call}")]
    Kernel {
        call: &'static str,
        #[source]
        source: io::Error,
    },
}

// === impl Sampler ===

impl Sampler {
    /// Starts: `frequency` samples a second of processor time, 1 to 1000. The kernel's clock bounds it (CONFIG_HZ).
    pub fn start(frequency: u32) -> Result<Self, ProfileError> {
        if !cfg!(any(target_arch = "x86_64", target_arch = "aarch64")) {
            return Err(ProfileError::Machine);
        }
        if RUNNING.swap(true, Ordering::AcqRel) {
            return Err(ProfileError::Busy);
        }
        // From here on the drop cleans up.
        let sampler = Self(());
        NEXT.store(0, Ordering::Relaxed);
        handle(sample as *const () as usize)?;
        arm(1_000_000 / i64::from(frequency.clamp(1, 1000)))?;
        Ok(sampler)
    }

    /// Adds what was sampled since the last call, by address; answers how many samples found no room. Call it every
    /// second or more often.
    pub fn drain(&self, into: &mut HashMap<usize, u64>) -> u64 {
        let taken = NEXT.swap(0, Ordering::AcqRel);
        for slot in &SAMPLES[..taken.min(SLOTS)] {
            // A handler that is between its two steps writes later: its sample counts in the next round or is lost.
            let address = slot.swap(0, Ordering::Relaxed);
            if address != 0 {
                *into.entry(address).or_default() += 1;
            }
        }
        taken.saturating_sub(SLOTS) as u64
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        // A timer of 0 is disarmed. One signal may still be on its way: the default action would end the process.
        drop(arm(0));
        drop(handle(libc::SIG_IGN));
        RUNNING.store(false, Ordering::Release);
    }
}

fn handle(handler: usize) -> Result<(), ProfileError> {
    // SAFETY: a zeroed sigaction is a valid value of the plain C struct.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART | libc::SA_ONSTACK;
    // SAFETY: `action` lives through the call; the old action is not asked for. The handler is `sample`, which has the
    // signature that SA_SIGINFO wants, or SIG_IGN.
    let done = unsafe { libc::sigaction(libc::SIGPROF, &raw const action, std::ptr::null_mut()) };
    if done == 0 { Ok(()) } else { Err(ProfileError::Kernel { call: "sigaction", source: io::Error::last_os_error() }) }
}

fn arm(microseconds: i64) -> Result<(), ProfileError> {
    let every = libc::timeval { tv_sec: microseconds / 1_000_000, tv_usec: microseconds % 1_000_000 };
    let timer = libc::itimerval { it_interval: every, it_value: every };
    // SAFETY: `timer` lives through the call; the old value is not asked for.
    let done = unsafe { libc::setitimer(libc::ITIMER_PROF, &raw const timer, std::ptr::null_mut()) };
    if done == 0 { Ok(()) } else { Err(ProfileError::Kernel { call: "setitimer", source: io::Error::last_os_error() }) }
}

extern "C" fn sample(_: c_int, _: *mut libc::siginfo_t, context: *mut c_void) {
    let slot = NEXT.fetch_add(1, Ordering::Relaxed);
    if let Some(slot) = SAMPLES.get(slot) {
        // SAFETY: with SA_SIGINFO the kernel gives a pointer to a ucontext_t that is valid while the handler runs.
        let address = unsafe { counter(context.cast::<libc::ucontext_t>()) };
        slot.store(address, Ordering::Relaxed);
    }
}

#[cfg(target_arch = "x86_64")]
unsafe fn counter(context: *const libc::ucontext_t) -> usize {
    // SAFETY: the caller vouches for the pointer.
    let registers = unsafe { &(*context).uc_mcontext.gregs };
    usize::try_from(registers[libc::REG_RIP as usize]).unwrap_or(0)
}

#[cfg(target_arch = "aarch64")]
unsafe fn counter(context: *const libc::ucontext_t) -> usize {
    // SAFETY: the caller vouches for the pointer.
    usize::try_from(unsafe { (*context).uc_mcontext.pc }).unwrap_or(0)
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
unsafe fn counter(_: *const libc::ucontext_t) -> usize {
    0
}

/// A part of a file that the process executes: start, end, offset in the file, path.
pub type Mapping = (u64, u64, u64, String);

/// The executable mappings of this process (/proc/self/maps, proc_pid_maps(5)).
pub fn mappings() -> io::Result<Vec<Mapping>> {
    Ok(std::fs::read_to_string("/proc/self/maps")?.lines().filter_map(mapping).collect())
}

fn mapping(line: &str) -> Option<Mapping> {
    let mut words = line.split_ascii_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let executable = words.next()?.contains('x');
    let offset = words.next()?;
    let path = words.nth(2).unwrap_or_default();
    let number = |text| u64::from_str_radix(text, 16).ok();
    executable.then(|| Some((number(start)?, number(end)?, number(offset)?, path.to_owned())))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn busy_code_is_found_in_a_mapping_and_there_is_one_sampler() {
        let sampler = Sampler::start(1000).unwrap();
        assert!(matches!(Sampler::start(100), Err(ProfileError::Busy)));
        let (mut found, mut sum) = (HashMap::new(), 0_u64);
        // By work and not by time: how fast the machine is does not matter.
        for round in 0..2_000_000_000_u64 {
            sum = sum.wrapping_mul(31).wrapping_add(std::hint::black_box(round));
            if round % 1_000_000 == 0 {
                assert_eq!(sampler.drain(&mut found), 0);
                if found.values().sum::<u64>() >= 3 {
                    break;
                }
            }
        }
        assert_ne!(std::hint::black_box(sum), 1);
        let maps = mappings().unwrap();
        let mapped = |address: &usize| maps.iter().any(|(start, end, ..)| (*start..*end).contains(&(*address as u64)));
        assert!(!found.is_empty() && found.keys().all(mapped), "{found:?}");
        drop(sampler);
        drop(Sampler::start(100).unwrap());
    }

    #[test]
    fn mappings_of_code_alone() {
        let line = "55d0c8a00000-55d0c8b00000 r-xp 00001000 08:01 1234                       /usr/bin/culvert";
        assert_eq!(mapping(line), Some((0x55d0_c8a0_0000, 0x55d0_c8b0_0000, 0x1000, "/usr/bin/culvert".into())));
        for other in ["55d0c8a00000-55d0c8b00000 r--p 00001000 08:01 1234 /x", "", "x", "1-2 r-xp"] {
            assert_eq!(mapping(other), None, "{other}");
        }
    }
}
