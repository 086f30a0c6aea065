//! A virtual machine without disks and networks, whose console is all that is heard of it.

use std::env::consts::ARCH;
use std::path::Path;
use std::process::{Command, Stdio};

use super::image;
use crate::process;

/// Several times as long as it takes two machines at once under emulation, so that only a hang ends here.
const LIMIT_SECONDS: u32 = 1800;
/// The memory of a machine: the daemon's tables at their usual sizes, twice, and room.
const MEGABYTES: u32 = 2048;
/// How much slower than usual things may be under emulation: ten times was seen.
const PATIENCE: u32 = 20;

const EMULATOR: &str = "qemu-system-x86_64";
/// Programs of which there must be all, and what to install for those that a Debian without them lacks.
const TOOLS: [(&str, &str); 6] = [
    (EMULATOR, "qemu-system-x86"),
    ("setpriv", "util-linux"),
    ("timeout", "coreutils"),
    ("strip", "binutils"),
    ("ldd", "libc-bin"),
    ("xz", "xz-utils"),
];

/// Why this host cannot run a machine, if so.
pub(super) fn lacking() -> Option<String> {
    if ARCH != "x86_64" {
        return Some(format!("the kernels are those of x86_64, and this is {ARCH}"));
    }
    let missing = TOOLS.into_iter().find(|(program, _)| process::find_program(program).is_none());
    missing.map(|(program, package)| format!("command {program} is missing (Debian: package {package})"))
}

/// A machine to boot.
pub(super) struct Machine<'a> {
    pub(super) kernel: &'a Path,
    pub(super) image: &'a Path,
    /// Only cases whose name contains this.
    pub(super) filter: Option<&'a str>,
}

impl Machine<'_> {
    /// The command that runs it. It ends with us however we end, and after its time in any case. By emulation even where the
    /// host has KVM: within a virtual machine that is often there and does not work, and the emulator gives up only later.
    pub(super) fn command(&self) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "TERM", "timeout", "--kill-after", "5"]).arg(LIMIT_SECONDS.to_string());
        command.args([EMULATOR, "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2"]);
        command.arg("-m").arg(MEGABYTES.to_string()).arg("-kernel").arg(self.kernel);
        command.arg("-initrd").arg(self.image).arg("-append").arg(self.command_line());
        command.args([
            "-display",
            "none",
            "-monitor",
            "none",
            "-nic",
            "none",
            "-no-reboot",
            "-serial",
            "stdio",
        ]);
        command.stdin(Stdio::null());
        command
    }

    /// What the kernel does not know of this it hands to its first process: assignments as its environment, and what is
    /// behind the dashes as its arguments. A panic ends the machine.
    fn command_line(&self) -> String {
        let daemon = image::DAEMON;
        let filter = self.filter.unwrap_or_default();
        format!(
            "console=ttyS0 quiet panic=-1 mitigations=off rdinit=/init LB_DAEMON=/{daemon} \
             LB_TEST_PATIENCE={PATIENCE} NO_COLOR=1 -- {filter}"
        )
    }
}

/// What is meant by the exit code of the command, for one that is no success.
pub(super) fn explain(code: Option<i32>) -> String {
    match code {
        Some(124 | 137) => format!("it did not end within {LIMIT_SECONDS} s"),
        Some(code) => format!("the emulator ended with exit code {code}"),
        None => "the emulator was killed".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(filter: Option<&str>) -> String {
        Machine { kernel: Path::new("/k"), image: Path::new("/i"), filter }.command_line()
    }

    #[test]
    fn the_filter_is_the_first_process_argument() {
        assert!(line(Some("smoke::nat")).ends_with("NO_COLOR=1 -- smoke::nat"));
        assert!(line(None).ends_with(" -- "));
    }

    #[test]
    fn a_machine_that_hangs_is_told_from_one_that_does_not_start() {
        assert!(explain(Some(124)).contains("did not end within"));
        assert!(explain(Some(1)).contains("exit code 1"));
    }
}
