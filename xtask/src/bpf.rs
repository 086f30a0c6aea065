//! Compiles BPF programs: rustc makes LLVM bitcode, bpf-linker turns it into one object a program crate.
//!
//! The crate is a parameter, so that set-up can prove a toolchain on a trial crate before anyone relies on it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::process;
use crate::setup::{Core, Toolchain};

/// Little-endian BPF: all machines the daemon runs on are little-endian.
pub(crate) const TARGET: &str = "bpfel-unknown-none";

/// The BPF instruction set: v3 has 32-bit jumps and arithmetic, which every kernel since 5.1 takes and which
/// saves the shifts that v1 needs around each 32-bit value.
const INSTRUCTION_SET: &str = "v3";

/// `e_machine` of a BPF object. Source: Linux, include/uapi/linux/elf-em.h.
const EM_BPF: u16 = 247;

/// Compiles every program of the crate and returns the objects.
pub(crate) fn compile(toolchain: &Toolchain, manifest: &Path, target_dir: &Path) -> Result<Vec<PathBuf>> {
    let mut cargo = process::clean_cargo(&toolchain.compiler.cargo);
    cargo
        .args(["build", "--release", "--message-format", "json-render-diagnostics", "--target", TARGET])
        .arg("--manifest-path")
        .arg(manifest)
        .arg("--target-dir")
        .arg(target_dir)
        .args(locked(manifest))
        .args(build_std(toolchain.compiler.core))
        .env("RUSTC", &toolchain.compiler.rustc)
        .env("CARGO_ENCODED_RUSTFLAGS", encoded_flags(&toolchain.linker))
        // aya-ebpf needs one unstable feature, which a distribution's stable rustc allows only this way.
        .env("RUSTC_BOOTSTRAP", "1");
    let messages = process::output_with_progress(&mut cargo)?;
    let objects = executables(&messages);
    ensure!(!objects.is_empty(), "{} has no programs", manifest.display());
    objects.iter().try_for_each(|object| check_object(object))?;
    Ok(objects)
}

/// Copies the objects to where the daemon embeds them from. A file with the same content is left alone, so
/// that cargo sees nothing new and does not build the daemon again.
pub(crate) fn publish(objects: &[PathBuf], folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    objects.iter().try_for_each(|object| publish_one(object, folder))
}

fn publish_one(object: &Path, folder: &Path) -> Result<()> {
    let name = object.file_name().context("an object without a name")?.to_string_lossy();
    publish_bytes(&name, &fs::read(object)?, folder)
}

/// Writes a text file beside the objects, under the same rule: only if it changes.
pub(crate) fn publish_text(name: &str, text: &str, folder: &Path) -> Result<()> {
    publish_bytes(name, text.as_bytes(), folder)
}

fn publish_bytes(name: &str, new: &[u8], folder: &Path) -> Result<()> {
    let place = folder.join(name);
    if fs::read(&place).is_ok_and(|old| old == new) {
        return Ok(());
    }
    let staged = folder.join(format!(".{name}.new"));
    fs::write(&staged, new)?;
    fs::rename(&staged, &place).with_context(|| format!("cannot write {}", place.display()))
}

/// A crate without a lock file of its own (the trial crate) has no dependencies to lock.
fn locked(manifest: &Path) -> Option<&'static str> {
    manifest.with_file_name("Cargo.lock").exists().then_some("--locked")
}

fn build_std(core: Core) -> &'static [&'static str] {
    match core {
        Core::Prebuilt => &[],
        Core::Source => &["-Z", "build-std=core"],
    }
}

/// Flags in cargo's encoded form: a path may contain spaces.
fn encoded_flags(linker: &Path) -> String {
    [
        format!("-Clinker={}", linker.display()),
        // BTF describes maps and programs to the kernel; bpf-linker derives it from the debug information.
        "-Clink-arg=--btf".to_owned(),
        "-Cdebuginfo=2".to_owned(),
        format!("-Ctarget-cpu={INSTRUCTION_SET}"),
    ]
    .join("\u{1f}")
}

/// The binaries among cargo's JSON messages, one message a line.
pub(crate) fn executables(messages: &str) -> Vec<PathBuf> {
    let parsed = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    parsed.filter_map(|message| Some(PathBuf::from(message.get("executable")?.as_str()?))).collect()
}

fn check_object(object: &Path) -> Result<()> {
    let bytes = fs::read(object).with_context(|| format!("cannot read {}", object.display()))?;
    if let Some(fault) = object_fault(&bytes) {
        bail!("{} {fault}", object.display());
    }
    Ok(())
}

/// What keeps these bytes from being a BPF object with type information, if anything does.
fn object_fault(bytes: &[u8]) -> Option<&'static str> {
    let machine = bytes.get(18..20).and_then(|field| field.try_into().ok()).map(u16::from_le_bytes);
    if !bytes.starts_with(b"\x7fELF") || machine != Some(EM_BPF) {
        return Some("is not a BPF object");
    }
    // The name may be the tail of `.rel.BTF`, as string tables share endings.
    let has_btf = bytes.windows(5).any(|window| window == b".BTF\0");
    (!has_btf).then_some("has no BTF, which the maps need")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(machine: u16, tail: &[u8]) -> Vec<u8> {
        let mut bytes = b"\x7fELF".to_vec();
        bytes.resize(18, 0);
        bytes.extend(machine.to_le_bytes());
        bytes.extend(tail);
        bytes
    }

    #[test]
    fn only_a_bpf_object_with_btf_is_accepted() {
        assert_eq!(object_fault(&object(EM_BPF, b"\0.rel.BTF\0")), None);
        assert_eq!(object_fault(&object(EM_BPF, b"\0.text\0")), Some("has no BTF, which the maps need"));
        assert_eq!(object_fault(&object(62, b"\0.BTF\0")), Some("is not a BPF object"));
        assert_eq!(object_fault(b"\x7fELF"), Some("is not a BPF object"));
    }

    #[test]
    fn only_binaries_are_taken_from_cargos_messages() {
        let messages = r#"
{"reason":"compiler-artifact","executable":null}
not json
{"reason":"compiler-artifact","executable":"/t/lb-ebpf"}
{"reason":"build-finished","success":true}"#;
        assert_eq!(executables(messages), [PathBuf::from("/t/lb-ebpf")]);
    }

    #[test]
    fn a_linker_path_with_spaces_stays_one_flag() {
        let flags = encoded_flags(Path::new("/my project/bpf-linker"));
        assert_eq!(flags.split('\u{1f}').next(), Some("-Clinker=/my project/bpf-linker"));
    }

    #[test]
    fn an_unchanged_object_is_not_written_again() {
        let folder = tempfile::tempdir().unwrap();
        let (object, published) = (folder.path().join("lb-ebpf"), folder.path().join("out"));
        fs::write(&object, "one").unwrap();
        publish(std::slice::from_ref(&object), &published).unwrap();
        let inode = |path: &Path| std::os::unix::fs::MetadataExt::ino(&fs::metadata(path).unwrap());
        let first = inode(&published.join("lb-ebpf"));
        publish(std::slice::from_ref(&object), &published).unwrap();
        assert_eq!(inode(&published.join("lb-ebpf")), first);
        fs::write(&object, "two").unwrap();
        publish(&[object], &published).unwrap();
        assert_eq!(fs::read_to_string(published.join("lb-ebpf")).unwrap(), "two");
    }
}
