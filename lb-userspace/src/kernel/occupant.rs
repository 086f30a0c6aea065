//! Who already runs a program on an interface, and how to remove it.

use aya::programs::links::{LinkInfo, LinkType};
use aya::programs::{loaded_links, loaded_programs};
use std::fmt;
use std::fs;
use std::path::Path;

/// The program found on an interface, with whatever can be learnt about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Occupant {
    /// The interface.
    pub interface: String,
    /// The program's number.
    pub program: Option<u32>,
    /// Its name.
    pub name: Option<String>,
    /// The number of the link that holds it; without one it was set by `ip link` or by an older loader.
    pub link: Option<u32>,
    /// A process that holds the link or program: its number and name.
    pub process: Option<(u32, String)>,
}

impl Occupant {
    /// Looks up who holds program number `program` on `interface`.
    #[must_use]
    pub fn find(interface: &str, program: Option<u32>) -> Self {
        let link = program.and_then(find_link);
        let process = match (link, program) {
            (Some(link), _) => find_holder("link_id", link),
            (None, Some(program)) => find_holder("prog_id", program),
            (None, None) => None,
        };
        Self { interface: interface.to_owned(), program, name: program.and_then(find_name), link, process }
    }
}

impl fmt::Display for Occupant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.name, self.program) {
            (Some(name), Some(id)) => write!(f, "`{name}` (program {id})")?,
            (None, Some(id)) => write!(f, "program {id}")?,
            (_, None) => write!(f, "one that cannot be seen from here")?,
        }
        if let Some((id, name)) = &self.process {
            write!(f, ", held by process {id} ({name})")?;
        }
        match (&self.process, self.link) {
            (Some(_), Some(_)) => write!(f, "; stop that process to remove it"),
            (None, Some(link)) => write!(f, "; remove it with `bpftool link detach id {link}`"),
            (_, None) => write!(f, "; remove it with `ip link set dev {0} xdp off`", self.interface),
        }
    }
}

fn find_name(program: u32) -> Option<String> {
    let info = loaded_programs().filter_map(Result::ok).find(|info| info.id() == program)?;
    info.name_as_str().map(str::to_owned)
}

fn find_link(program: u32) -> Option<u32> {
    let is_ours =
        |link: &LinkInfo| link.program_id() == program && matches!(link.link_type(), Ok(LinkType::Xdp));
    loaded_links().filter_map(Result::ok).find(is_ours).map(|link| link.id())
}

/// The first process with a descriptor whose description has this line.
pub(super) fn find_holder(key: &str, number: u32) -> Option<(u32, String)> {
    let processes = fs::read_dir("/proc").ok()?.filter_map(Result::ok);
    let process = processes
        .filter(|entry| entry.file_name().to_string_lossy().bytes().all(|byte| byte.is_ascii_digit()))
        .find(|entry| holds(&entry.path(), key, number))?;
    let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
    Some((process.file_name().to_string_lossy().parse().ok()?, name.trim().to_owned()))
}

fn holds(process: &Path, key: &str, number: u32) -> bool {
    let Ok(descriptors) = fs::read_dir(process.join("fdinfo")) else { return false };
    descriptors
        .filter_map(Result::ok)
        .filter_map(|entry| fs::read_to_string(entry.path()).ok())
        .any(|description| describes(&description, key, number))
}

/// Whether a descriptor's description has the line `key: number`.
fn describes(description: &str, key: &str, number: u32) -> bool {
    description
        .lines()
        .filter_map(|line| line.split_once(':'))
        .any(|(name, value)| name == key && value.trim().parse() == Ok(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_descriptor_is_known_by_its_number() {
        let description =
            "pos:\t0\nflags:\t02000000\nlink_type:\txdp\nlink_id:\t42\nprog_id:\t7\nifindex:\t3\n";
        assert!(describes(description, "link_id", 42));
        assert!(describes(description, "prog_id", 7));
        assert!(!describes(description, "link_id", 4));
    }

    #[test]
    fn the_advice_fits_the_way_it_was_attached() {
        let occupant = Occupant {
            interface: "eth0".into(),
            program: Some(7),
            name: Some("xdp_root".into()),
            ..Occupant::default()
        };
        assert!(occupant.to_string().contains("`xdp_root` (program 7)"));
        assert!(occupant.to_string().contains("ip link set dev eth0 xdp off"));
        let linked = Occupant { link: Some(42), ..occupant };
        assert!(linked.to_string().contains("bpftool link detach id 42"));
        let held = Occupant { process: Some((99, "cilium-agent".into())), ..linked };
        assert!(held.to_string().contains("process 99 (cilium-agent); stop that process"), "{held}");
    }
}
