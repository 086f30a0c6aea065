//! The archive that a kernel unpacks into its first file system.
//!
//! Source: Linux, Documentation/driver-api/early-userspace/buffer-format.rst.

use std::collections::BTreeSet;

/// What a header begins with.
const MAGIC: &str = "070701";
/// The name that ends an archive.
const TRAILER: &str = "TRAILER!!!";
const FOLDER: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;

/// An archive under way. Folders come by themselves; everything belongs to root.
#[derive(Default)]
pub(super) struct Archive {
    bytes: Vec<u8>,
    entries: u32,
    folders: BTreeSet<String>,
}

impl Archive {
    /// Adds a file that can be executed, under a path without a slash in front.
    pub(super) fn add(&mut self, path: &str, content: &[u8]) {
        let folders: Vec<_> = path.match_indices('/').map(|(end, _)| path[..end].to_owned()).collect();
        for folder in folders {
            if self.folders.insert(folder.clone()) {
                self.entry(&folder, FOLDER, &[]);
            }
        }
        self.entry(path, PROGRAM, content);
    }

    /// The whole archive.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.entry(TRAILER, 0, &[]);
        self.bytes
    }

    fn entry(&mut self, name: &str, mode: u32, content: &[u8]) {
        self.entries += 1;
        let length = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX);
        // Number, mode, owner, group, links, time, length, device, special device, length of the name, checksum.
        let fields =
            [self.entries, mode, 0, 0, 1, 0, length(content.len()), 0, 0, 0, 0, length(name.len() + 1), 0];
        self.bytes.extend(MAGIC.as_bytes());
        for field in fields {
            self.bytes.extend(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend(content);
        self.pad();
    }

    /// Headers and contents begin at multiples of four.
    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive() -> Vec<u8> {
        let mut archive = Archive::default();
        archive.add("bin/a", b"hello");
        archive.add("bin/b", b"");
        archive.finish()
    }

    /// The names and contents of an archive, read by the format's own rules.
    fn read(mut bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
        let mut entries = Vec::new();
        while !bytes.is_empty() {
            let field = |number: usize| {
                let at = 6 + 8 * number;
                usize::from_str_radix(std::str::from_utf8(&bytes[at..at + 8]).unwrap(), 16).unwrap()
            };
            let (length, name_length) = (field(6), field(11));
            let content = (110 + name_length).next_multiple_of(4);
            let name = String::from_utf8(bytes[110..110 + name_length - 1].to_vec()).unwrap();
            entries.push((name, bytes[content..content + length].to_vec()));
            bytes = &bytes[(content + length).next_multiple_of(4)..];
        }
        entries
    }

    #[test]
    fn folders_come_once_and_before_what_is_in_them() {
        let names: Vec<_> = read(&archive()).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["bin", "bin/a", "bin/b", TRAILER]);
    }

    #[test]
    fn contents_are_whole_whatever_their_length() {
        assert_eq!(read(&archive())[1].1, b"hello");
        assert_eq!(archive().len() % 4, 0);
    }
}
