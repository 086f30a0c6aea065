//! Kernel modules: which there must be for the suites, and in which order.
//!
//! The packages have no `modules.dep`, which is made on installation; but every module says itself what it needs.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::process;

/// What namespaces are furnished with, tunnels for backends, and what TC needs before Linux 6.6. A kernel that has one of them
/// built in has no such module.
const WANTED: [&str; 9] =
    ["veth", "bridge", "ipip", "sit", "ip6_tunnel", "fou", "8021q", "sch_ingress", "cls_bpf"];

/// A module's name and its bytes.
pub(super) type Module = (String, Vec<u8>);

/// The wanted modules below a folder and what they need, each behind what it needs itself.
pub(super) fn read(folder: &Path) -> Result<Vec<Module>> {
    let mut files = BTreeMap::new();
    find(folder, &mut files)?;
    let mut loaded = Vec::new();
    WANTED.iter().try_for_each(|name| add(name, &files, &mut loaded))?;
    Ok(loaded)
}

/// Every module below a folder, by name.
fn find(folder: &Path, files: &mut BTreeMap<String, PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            find(&path, files)?;
        } else if let Some(name) = path.file_name().and_then(|name| module_name(name.to_str()?)) {
            files.insert(name, path);
        }
    }
    Ok(())
}

/// Files write `-` where modules speak of `_`.
fn module_name(file: &str) -> Option<String> {
    let (name, ending) = file.split_once('.')?;
    matches!(ending, "ko" | "ko.xz").then(|| name.replace('-', "_"))
}

fn add(name: &str, files: &BTreeMap<String, PathBuf>, loaded: &mut Vec<Module>) -> Result<()> {
    let name = name.replace('-', "_");
    let (Some(file), false) = (files.get(&name), loaded.iter().any(|(other, _)| *other == name)) else {
        return Ok(());
    };
    let bytes = content(file)?;
    for needed in parse_needs(&bytes) {
        add(&needed, files, loaded)?;
    }
    loaded.push((name, bytes));
    Ok(())
}

/// Kernels unpack modules themselves only if they are told to.
fn content(file: &Path) -> Result<Vec<u8>> {
    if file.extension().is_some_and(|ending| ending == "xz") {
        return process::output_bytes(Command::new("xz").args(["--decompress", "--stdout"]).arg(file));
    }
    fs::read(file).with_context(|| format!("cannot read {}", file.display()))
}

/// The names after `depends=` in a module's description. Source: Linux, scripts/mod/modpost.c.
fn parse_needs(module: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(start) = module.windows(KEY.len()).position(|window| window == KEY) else { return Vec::new() };
    let value = module[start + KEY.len()..].split(|byte| *byte == 0).next().unwrap_or_default();
    let names = String::from_utf8_lossy(value);
    names.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(modules: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("net")).unwrap();
        for (name, needs) in modules {
            let description = format!("ELF\0license=GPL\0depends={needs}\0name=x\0");
            fs::write(folder.path().join("net").join(name), description).unwrap();
        }
        folder
    }

    fn names(modules: &[(&str, &str)]) -> Vec<String> {
        let folder = folder(modules);
        read(folder.path()).unwrap().into_iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn a_module_comes_once_and_behind_what_it_needs() {
        let found = names(&[
            ("ipip.ko", "ip_tunnel,tunnel4"),
            ("sit.ko", "ip_tunnel,tunnel4"),
            ("ip_tunnel.ko", ""),
            ("tunnel4.ko", ""),
            ("unwanted.ko", ""),
        ]);
        assert_eq!(found, ["ip_tunnel", "tunnel4", "ipip", "sit"]);
    }

    #[test]
    fn a_name_with_a_dash_is_one_with_an_underscore() {
        assert_eq!(names(&[("cls-bpf.ko", "act-api"), ("act_api.ko", "")]), ["act_api", "cls_bpf"]);
    }

    #[test]
    fn what_is_built_in_is_not_waited_for() {
        assert_eq!(names(&[("veth.ko", "in_the_kernel")]), ["veth"]);
    }

    #[test]
    fn a_module_without_a_description_needs_nothing() {
        assert!(parse_needs(b"ELF").is_empty());
    }
}
