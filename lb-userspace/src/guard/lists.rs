//! Lists of prefixes as they are written in files: one a line, with comments behind `#` or `;`.

use super::network::Network;
use crate::file;
use std::fmt::{self, Display, Formatter};
use std::io::Read as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// The longest file that is read: a million IPv6 prefixes with comments.
const LONGEST: u64 = 64 << 20;

/// Why a list could not be used. The one that was in force stays so.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// The environment's fault: no such file, no permission.
    #[error("cannot read the list {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The operator's fault: not a file, or no list.
    #[error("the list {} is longer than {} MiB; is it the right file?", path.display(), LONGEST >> 20)]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// The operator's fault: lines that are no prefixes.
    #[error("{}:{wrong}; expected {EXPECTED}", path.display())]
    Lines {
        /// The file.
        path: PathBuf,
        /// The lines.
        wrong: WrongLines,
    },
    /// The operator's fault: more than the tables were made for.
    #[error("the lists take {nodes} nodes and there is room for {room}; raise `guard.prefixes` and restart")]
    TooMany {
        /// Nodes of the trie.
        nodes: usize,
        /// Nodes that there is room for.
        room: usize,
    },
}

/// Lines that are no prefixes: each by its number, from 1, and what stands there.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct WrongLines {
    /// The first of them.
    told: Vec<(usize, String)>,
    /// How many more there are.
    others: usize,
}

/// Most lines that a message tells: whoever has more has given the wrong file.
const MOST_TOLD: usize = 10;

const EXPECTED: &str = "a prefix such as `192.0.2.0/24` or `2001:db8::/32`, or an address";
/// Longest piece of a line that a message repeats.
const SHOWN: usize = 60;

/// Reads a list.
pub fn load(path: &Path) -> Result<Vec<Network>, ListError> {
    let failed = |source| ListError::Read { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let file = file::open(path).map_err(failed)?;
    file.take(LONGEST + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > LONGEST {
        return Err(ListError::TooLong { path: path.to_owned() });
    }
    parse(&String::from_utf8_lossy(&bytes)).map_err(|wrong| ListError::Lines { path: path.to_owned(), wrong })
}

/// What some editors begin a file with.
const MARK: char = '\u{feff}';

/// The prefixes of a text, or the lines that are none.
fn parse(text: &str) -> Result<Vec<Network>, WrongLines> {
    let lines =
        text.trim_start_matches(MARK).lines().enumerate().map(|(number, line)| (number + 1, bare(line)));
    let (mut networks, mut wrong) = (Vec::new(), WrongLines::default());
    for (number, line) in lines.filter(|(_, line)| !line.is_empty()) {
        match network(line) {
            Ok(network) => networks.push(network),
            Err(what) => wrong.add(number, what),
        }
    }
    if wrong.told.is_empty() { Ok(networks) } else { Err(wrong) }
}

impl WrongLines {
    fn add(&mut self, number: usize, what: String) {
        if self.told.len() < MOST_TOLD {
            self.told.push((number, what));
        } else {
            self.others += 1;
        }
    }
}

/// Behind the file's name: `7: this; line 9: that; and 3 lines more`.
impl Display for WrongLines {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let told: Vec<_> = self.told.iter().map(|(number, what)| format!("{number}: {what}")).collect();
        f.write_str(&told.join("; line "))?;
        match self.others {
            0 => Ok(()),
            1 => f.write_str("; and a line more"),
            others => write!(f, "; and {others} lines more"),
        }
    }
}

/// A line without its comment.
fn bare(line: &str) -> &str {
    line.split(['#', ';']).next().unwrap_or_default().trim()
}

fn network(text: &str) -> Result<Network, String> {
    let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
    let shown: String = text.chars().take(SHOWN).flat_map(char::escape_debug).collect();
    let address: IpAddr = address.parse().map_err(|_| format!("`{shown}` is no prefix"))?;
    let Some(bits) = bits else { return Ok(Network::host(address)) };
    let digits = bits.bytes().all(|byte| byte.is_ascii_digit());
    let network = bits.parse().ok().filter(|_| digits).and_then(|bits| Network::new(address, bits));
    let network = network.ok_or_else(|| format!("`{shown}` has no length that an address has"))?;
    if network.address() == address {
        return Ok(network);
    }
    Err(format!("`{shown}` has bits set behind its length, which may mean `{}/{bits}`", network.address()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_blank_lines_and_addresses_are_read() {
        let text = "\u{feff}# a list\n192.0.2.0/24 ; SBL1\n\n  2001:db8::/32\r\n198.51.100.7 # one\n::1";
        let read: Vec<String> = parse(text)
            .unwrap()
            .iter()
            .map(|network| format!("{}/{}", network.address(), network.bits))
            .collect();
        assert_eq!(read, ["192.0.2.0/24", "2001:db8::/32", "198.51.100.7/32", "::1/128"]);
    }

    fn wrong(text: &str) -> String {
        parse(text).unwrap_err().to_string()
    }

    #[test]
    fn a_bad_line_is_named_with_what_is_wrong() {
        assert_eq!(wrong("192.0.2.0/24\n\nexample.org # no\n::1"), "3: `example.org` is no prefix");
        assert_eq!(wrong("192.0.2.0/33"), "1: `192.0.2.0/33` has no length that an address has");
        assert_eq!(wrong("192.0.2.0/+8"), "1: `192.0.2.0/+8` has no length that an address has");
        assert_eq!(wrong("192.0.2.0/"), "1: `192.0.2.0/` has no length that an address has");
        assert_eq!(
            wrong("192.0.2.1/24"),
            "1: `192.0.2.1/24` has bits set behind its length, which may mean `192.0.2.0/24`"
        );
    }

    #[test]
    fn all_bad_lines_are_named_unless_there_are_many() {
        assert_eq!(wrong("a\n::1\nb"), "1: `a` is no prefix; line 3: `b` is no prefix");
        let many = |count: usize| wrong(&"x\n".repeat(count));
        assert!(many(10).ends_with("; line 10: `x` is no prefix"), "{}", many(10));
        assert!(many(11).ends_with("; line 10: `x` is no prefix; and a line more"), "{}", many(11));
        assert!(many(500).ends_with("; line 10: `x` is no prefix; and 490 lines more"), "{}", many(500));
    }

    #[test]
    fn a_message_says_file_line_and_what_was_expected() {
        let path = PathBuf::from("/etc/lb/deny.list");
        let error = ListError::Lines { path, wrong: parse("x").unwrap_err() };
        assert!(
            error.to_string().starts_with("/etc/lb/deny.list:1: `x` is no prefix; expected a prefix such as")
        );
    }

    #[test]
    fn a_pipe_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("deny.list");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(matches!(load(&pipe), Err(ListError::Read { .. })));
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = load(Path::new("/nowhere/deny.list")).unwrap_err();
        assert_eq!(error.to_string(), "cannot read the list /nowhere/deny.list");
    }
}
