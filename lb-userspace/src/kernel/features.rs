//! What the running kernel offers, for the start-up log and for choosing between ways that both work.
#![allow(unsafe_code, reason = "a ring can be tried only by asking for one")]

use super::error::kernel_release;
use aya::util::KernelVersion;
use std::os::fd::{FromRawFd, OwnedFd};
use std::path::Path;
use std::{fs, io};

/// What the running kernel offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Features {
    /// Its release.
    pub release: String,
    /// Whether it describes its types, which better diagnostics of the programs rest on.
    pub btf: bool,
    /// Whether XDP programs are attached by links, which go with the process.
    pub xdp_links: bool,
    /// Whether `io_uring` may be used, else why not and what to change.
    pub io_uring: Result<(), String>,
}

impl Features {
    /// Asks the kernel.
    #[must_use]
    pub fn probe() -> Self {
        Self {
            release: kernel_release(),
            btf: Path::new("/sys/kernel/btf/vmlinux").exists(),
            xdp_links: has_xdp_links(),
            io_uring: probe_ring().map_err(|error| explain_ring(&error, &ring_switch())),
        }
    }
}

/// Links for XDP came with Linux 5.9.
pub(super) fn has_xdp_links() -> bool {
    KernelVersion::current().is_ok_and(|version| version >= KernelVersion::new(5, 9, 0))
}

/// Sets up a ring of four entries and takes it down again.
fn probe_ring() -> io::Result<()> {
    /// Length of `struct io_uring_params` (`include/uapi/linux/io_uring.h`); zeros ask for the defaults.
    const PARAMETERS: usize = 120;
    let mut parameters = [0u64; PARAMETERS / 8];
    // SAFETY: the kernel reads and writes exactly the parameters, which live through the call.
    let ring = unsafe { libc::syscall(libc::SYS_io_uring_setup, 4, parameters.as_mut_ptr()) };
    let ring = i32::try_from(ring).map_err(io::Error::other)?;
    if ring < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel just gave us this descriptor and nobody else knows it.
    drop(unsafe { OwnedFd::from_raw_fd(ring) });
    Ok(())
}

/// The operator's switch, on kernels from 6.6 on; empty before.
fn ring_switch() -> String {
    fs::read_to_string("/proc/sys/kernel/io_uring_disabled").unwrap_or_default().trim().to_owned()
}

fn explain_ring(error: &io::Error, switch: &str) -> String {
    match (error.raw_os_error(), switch) {
        (Some(libc::ENOSYS), _) => "the kernel is built without io_uring, or a sandbox hides it".into(),
        (Some(libc::EPERM | libc::EACCES), "1" | "2") => {
            format!("kernel.io_uring_disabled is {switch}; set it to 0 (`sysctl kernel.io_uring_disabled=0`)")
        }
        (Some(libc::EPERM | libc::EACCES), _) => {
            "a seccomp filter forbids it, as container runtimes often do; allow io_uring_setup, io_uring_enter and \
             io_uring_register in the container's profile"
                .into()
        }
        (Some(libc::ENOMEM), _) => {
            "no memory may be locked for it; raise the limit (`ulimit -l`, `LimitMEMLOCK=`)".into()
        }
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_ring_is_blamed_on_the_kernel_the_switch_or_the_sandbox() {
        let explain = |errno, switch| explain_ring(&io::Error::from_raw_os_error(errno), switch);
        assert!(explain(libc::ENOSYS, "").contains("built without"));
        assert!(explain(libc::EPERM, "2").contains("kernel.io_uring_disabled is 2"));
        assert!(explain(libc::EPERM, "0").contains("seccomp"));
        assert!(explain(libc::ENOMEM, "0").contains("ulimit -l"));
    }

    #[test]
    fn probing_always_ends_in_yes_or_a_reason() {
        let features = Features::probe();
        assert!(features.release.contains('.'));
        assert!(features.io_uring.is_ok() || features.io_uring.is_err_and(|reason| !reason.is_empty()));
    }
}
