//! Files that the configuration names: read whole, without waiting, and only so far.
//!
//! A pipe in the place of a file would keep the daemon waiting, and a device that never ends would take its memory.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// Reads a regular file of at most so many bytes.
pub fn read(path: &Path, longest: u64) -> io::Result<Vec<u8>> {
    let file = open(path)?;
    let mut bytes = Vec::new();
    file.take(longest.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > longest {
        return Err(io::Error::other(format!(
            "it is longer than the {longest} bytes that are read; is it the right file?"
        )));
    }
    Ok(bytes)
}

/// Opens a regular file for reading. It is looked at when it is open, so that it is still the same.
pub fn open(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    if file.metadata()?.is_file() {
        return Ok(file);
    }
    Err(io::Error::other("it is not a regular file, and a pipe or device could keep the daemon waiting"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_regular_files_of_a_bounded_length_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let (file, pipe) = (folder.path().join("file"), folder.path().join("pipe"));
        std::fs::write(&file, "12345").unwrap();
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(read(&file, 5).unwrap(), b"12345");
        assert!(read(&file, 4).unwrap_err().to_string().contains("longer than the 4 bytes"));
        for other in [&pipe, Path::new("/dev/zero"), folder.path()] {
            let said = read(other, 5).unwrap_err().to_string();
            assert!(said.contains("not a regular file"), "{}: {said}", other.display());
        }
        assert_eq!(read(Path::new("/nowhere/file"), 5).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
