//! Where things lie in this repository.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Moves the toolchain folder elsewhere, e.g. to share it between several clones.
const TOOLCHAIN_DIR: &str = "LB_TOOLCHAIN_DIR";

/// The root of this repository and the folders under it that `xtask` owns.
pub(crate) struct Workspace {
    root: PathBuf,
}

impl Workspace {
    /// The workspace that this `xtask` was compiled in, or that cargo runs it from.
    pub(crate) fn locate() -> Result<Self> {
        let manifest_dir = env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root = manifest_dir.parent().context("xtask lies outside a workspace")?;
        Ok(Self { root: root.to_path_buf() })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The crate of the BPF programs; not a member of the workspace, as it compiles for another target.
    pub(crate) fn bpf_manifest(&self) -> PathBuf {
        self.root.join("lb-ebpf/Cargo.toml")
    }

    /// Cargo's own folder for BPF builds, apart from the host's so that neither waits for the other's lock.
    pub(crate) fn bpf_target_dir(&self) -> PathBuf {
        self.root.join("target/bpf-build")
    }

    /// Cargo's folder for fuzz targets, whose instrumentation no other build shares, and what fuzzing finds.
    pub(crate) fn fuzz_target_dir(&self) -> PathBuf {
        env::var_os("CARGO_TARGET_DIR").map_or_else(|| self.root.join("target"), PathBuf::from).join("fuzz")
    }

    /// Cargo's folder for the daemon that counts what it does, and its counts.
    pub(crate) fn profile_target_dir(&self) -> PathBuf {
        env::var_os("CARGO_TARGET_DIR")
            .map_or_else(|| self.root.join("target"), PathBuf::from)
            .join("profile")
    }

    /// What was recorded of the daemon under load, a file for each compiler.
    pub(crate) fn profile_dir(&self) -> PathBuf {
        self.root.join("lb-userspace/profile")
    }

    /// Where the finished BPF objects lie for the daemon to embed. The path is fixed, whatever
    /// `CARGO_TARGET_DIR` says, because the daemon's build script must find it too.
    pub(crate) fn object_dir(&self) -> PathBuf {
        self.root.join("target/bpf")
    }

    /// The project's own toolchain folder: `.toolchain` here, or `LB_TOOLCHAIN_DIR`.
    pub(crate) fn toolchain_dir(&self) -> PathBuf {
        env::var_os(TOOLCHAIN_DIR).map_or_else(|| self.root.join(".toolchain"), PathBuf::from)
    }
}
