//! The first minutes with the program: what it says when something is missing, wrong or not allowed, and what to do next.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::daemon::binary;
use crate::netns::Namespace;
use crate::process::{Process, in_child};
use crate::runner::Case;
use crate::skip::{Need, Skipped};
use crate::sweep;

/// Who owns nothing.
const NOBODY: u32 = 65_534;
const PATIENCE: Duration = Duration::from_secs(20);

/// The cases of this suite.
pub(super) fn cases() -> Vec<Case> {
    let root = [Need::Root];
    vec![
        Case::new("first_run::the_help_names_every_command_and_the_version_is_one_line", help_and_version),
        Case::new("first_run::check_prints_every_mistake_with_its_line", check_prints_every_mistake),
        Case::new("first_run::check_reads_the_files_that_a_config_names", check_reads_files),
        Case::new("first_run::who_reads_no_further_ends_no_command_in_a_panic", closed_pipe),
        Case::new("first_run::a_config_that_cannot_be_read_is_named_with_the_reason", unreadable_configs),
        Case::new("first_run::commands_without_a_daemon_ask_whether_it_runs", commands_without_a_daemon),
        Case::new("first_run::an_unknown_interface_is_answered_with_those_there_are", unknown_interface)
            .needs(&root),
        Case::new("first_run::what_is_in_the_place_of_the_control_socket_is_left_alone", file_as_control)
            .needs(&root),
        Case::new("first_run::without_rights_every_command_says_so", without_rights).needs(&root),
        Case::new("first_run::a_failed_start_logs_json_when_asked_to", failed_start_in_json).needs(&root),
        Case::new("first_run::a_start_without_a_config_takes_the_one_that_appears", without_a_config)
            .needs(&[Need::Root, Need::IoUring, Need::NativeXdp]),
    ]
}

fn help_and_version() -> Result<()> {
    let help = good(&["--help"])?;
    for command in ["check", "status", "reload", "drain", "backend", "decap", "--iface", "--config", "--mode"]
    {
        ensure!(help.contains(command), "the help does not name {command}:\n{help}");
    }
    let version = good(&["--version"])?;
    ensure!(
        version.starts_with("lb-userspace ") && version.lines().count() == 1,
        "the version is {version:?}"
    );
    let bare = refused(&[])?;
    ensure!(bare.contains("--iface"), "without arguments it says:\n{bare}");
    Ok(())
}

fn check_prints_every_mistake() -> Result<()> {
    let folder = sweep::scratch_directory()?;
    let file = folder.path().join("lb.toml");
    let text = "[[service]]\nname = \"web\"\nvip = \"203.0.113.10\"\nforwad = \"nat\"\n\
                [[service.backend]]\nname = \"web1\"\naddr = \"10.0.0.11:8080\"\nweight = 0\n";
    fs::write(&file, text)?;
    let said = refused(&["check", path(&file)?])?;
    for (line, word) in [(3, "203.0.113.10"), (4, "forwad"), (8, "weight")] {
        let place = format!("{}:{line}", file.display());
        ensure!(said.contains(&place) && said.contains(word), "no word of line {line} in:\n{said}");
    }
    fs::write(&file, text.replace(".10\"", ".10:80\"").replace("forwad", "forward").replace("= 0", "= 1"))?;
    let said = good(&["check", path(&file)?])?;
    ensure!(said.contains("right, 1 service with 1 backend\n"), "a good file is called: {said}");
    Ok(())
}

/// What a start would refuse, but for what depends on the moment.
fn check_reads_files() -> Result<()> {
    let folder = sweep::scratch_directory()?;
    let of = |name: &str| folder.path().join(name).display().to_string();
    let (file, cert, secret) = (folder.path().join("lb.toml"), of("www.pem"), of("secret"));
    fs::write(&secret, "guess")?;
    fs::write(
        &file,
        format!(
            "[proxy]\nsecret = \"{secret}\"\n[[listener]]\nname = \"l\"\naddresses = [\"127.0.0.1:8443\"]\n\
             service = \"web\"\ntls = {{ certificates = [{{ cert = \"{cert}\", key = \"{cert}\" }}] }}\n\
             [[service]]\nname = \"web\"\nkind = \"http\"\n\
             [[service.backend]]\nname = \"web1\"\naddr = \"127.0.0.1:8080\"\n"
        ),
    )?;
    let said = refused(&["check", path(&file)?])?;
    ensure!(said.contains(&format!("cannot read {cert}: No such file")), "{said}");
    ensure!(said.contains(&format!("the secret in {secret} has 5 bytes")), "{said}");
    fs::write(&cert, "words")?;
    let said = refused(&["check", path(&file)?])?;
    ensure!(said.contains(&format!("{cert} holds no certificate in PEM")), "{said}");
    Ok(())
}

fn closed_pipe() -> Result<()> {
    let folder = sweep::scratch_directory()?;
    let file = folder.path().join("lb.toml");
    for (text, code) in [("", 0), ("[[listener", 1)] {
        fs::write(&file, text)?;
        let mut command = Command::new(binary());
        command.args(["check", path(&file)?]).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        drop((child.stdout.take(), child.stderr.take()));
        ensure!(child.wait()?.code() == Some(code), "a pipe that nobody reads ends check in a panic");
    }
    Ok(())
}

fn unreadable_configs() -> Result<()> {
    let folder = sweep::scratch_directory()?;
    let of = |name: &str, bytes: &[u8]| -> Result<PathBuf> {
        let file = folder.path().join(name);
        fs::write(&file, bytes)?;
        Ok(file)
    };
    let rows = [
        (folder.path().join("missing.toml"), "No such file"),
        (folder.path().to_owned(), "is not a file"),
        (of("binary.toml", b"\x7fELF\x02\xff\xfe")?, "not UTF-8"),
        (of("long.toml", &vec![b'#'; 5 << 20])?, "longer than"),
    ];
    for (file, reason) in rows {
        for arguments in [&["check", path(&file)?][..], &["--iface", "lo", "--config", path(&file)?]] {
            let said = refused(arguments)?;
            ensure!(said.contains(path(&file)?) && said.contains(reason), "{arguments:?} says:\n{said}");
            ensure!(said.len() < 1000, "{arguments:?} says far too much: {} bytes", said.len());
        }
    }
    Ok(())
}

fn commands_without_a_daemon() -> Result<()> {
    let folder = sweep::scratch_directory()?;
    let socket = folder.path().join("control.sock");
    for command in [&["status"][..], &["status", "--json"], &["reload"], &["drain", "web/web1"]] {
        let arguments = [command, &["--control", path(&socket)?]].concat();
        let said = refused(&arguments)?;
        ensure!(
            said.contains("Is it running?") && said.contains(path(&socket)?),
            "{arguments:?} says:\n{said}"
        );
    }
    let said = refused(&["drain", "web1"])?;
    ensure!(said.contains("`web/web1`"), "a drain without a service says:\n{said}");
    Ok(())
}

fn unknown_interface() -> Result<()> {
    let folder = sweep::scratch_directory()?;
    let socket = folder.path().join("control.sock");
    let said = refused(&["--iface", "nope", "--control", path(&socket)?])?;
    ensure!(said.contains("no interface `nope`") && said.contains("lo"), "it says:\n{said}");
    ensure!(!socket.exists(), "a control socket is left");
    Ok(())
}

fn file_as_control() -> Result<()> {
    let folder = sweep::scratch_directory()?;
    let file = folder.path().join("precious");
    fs::write(&file, "precious")?;
    let (namespace, log) = (Namespace::new("first")?, folder.path().join("log"));
    let mut command = Command::new(binary());
    command.args(["--iface", "lo", "--mode", "generic", "--control", path(&file)?]);
    command.stderr(fs::File::create(&log)?);
    let status = namespace.spawn(command)?.wait(PATIENCE)?;
    let said = fs::read_to_string(&log)?;
    ensure!(!status.success() && said.contains("left alone"), "it says:\n{said}");
    ensure!(fs::read_to_string(&file)? == "precious", "the file is gone");
    Ok(())
}

/// Each command as a user who may do nothing: by a socket in a folder of root's, and by one in a folder of the user's,
/// where only the kernel refuses.
fn without_rights() -> Result<()> {
    let folder = sweep::scratch_directory()?;
    let closed = folder.path().join("closed");
    fs::create_dir(&closed)?;
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700))?;
    let free = TempDir::new_in("/tmp").context("a folder for nobody")?;
    std::os::unix::fs::chown(free.path(), Some(NOBODY), Some(NOBODY))?;
    let (closed, free) = (closed.join("control.sock"), free.path().join("control.sock"));
    let rows = [
        (&["--iface", "lo", "--control", path(&closed)?][..], "run as root"),
        (&["--iface", "lo", "--control", path(&free)?], "run as root"),
        (&["decap", "--iface", "lo"], "run as root"),
        (&["status", "--control", path(&closed)?], "run as root"),
        (&["reload", "--control", path(&closed)?], "run as root"),
        (&["drain", "web/web1", "--control", path(&closed)?], "run as root"),
    ];
    for (arguments, remedy) in rows {
        let mut command = Command::new(binary());
        command.args(arguments).uid(NOBODY).gid(NOBODY);
        let output =
            command.output().map_err(|error| Skipped(format!("nobody may run the program: {error}")))?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(!output.status.success() && said.contains(remedy), "{arguments:?} says:\n{said}");
    }
    Ok(())
}

fn failed_start_in_json() -> Result<()> {
    let said = refused(&["--iface", "nope", "--log-format", "json", "--control", "/nonexistent/x"])?;
    for line in said.lines() {
        let line: serde_json::Value = serde_json::from_str(line).with_context(|| format!("in:\n{said}"))?;
        ensure!(line["message"].is_string(), "no message in {line}");
    }
    ensure!(said.contains("ERROR") && said.contains("nope"), "it says:\n{said}");
    Ok(())
}

/// `/etc` of the daemon is a folder of ours, so that nothing of this machine is touched.
fn without_a_config() -> Result<()> {
    let scratch = sweep::scratch_directory()?;
    let (etc, log) = (scratch.path().join("etc"), scratch.path().join("log"));
    fs::create_dir(&etc)?;
    let socket = scratch.path().join("control.sock");
    let namespace = Namespace::new("first")?;
    let mut command = Command::new(binary());
    command.args(["--iface", "lo", "--mode", "generic", "--control", path(&socket)?]);
    command.stderr(fs::File::create(&log)?);
    let mounted = etc.clone();
    in_child(&mut command, move || {
        unshare(CloneFlags::CLONE_NEWNS)?;
        let nothing = None::<&str>;
        mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing)?;
        Ok(mount(Some(mounted.as_path()), "/etc", nothing, MsFlags::MS_BIND, nothing)?)
    });
    let daemon = namespace.spawn(command)?;
    let said = wait_for(&log, "no services yet")?;
    ensure!(said.contains("/etc/lb/lb.toml") && said.contains("reload"), "no next step in:\n{said}");
    let control = ["--control", path(&socket)?];
    ensure!(good(&[&["status"], &control[..]].concat())?.contains("config embedded default"), "the status");
    let said = refused(&[&["drain", "web/web1"], &control[..]].concat())?;
    ensure!(said.contains("no service `web`; there are: none"), "a drain says:\n{said}");
    fs::create_dir(etc.join("lb"))?;
    fs::write(etc.join("lb/lb.toml"), lb_userspace::config::EXAMPLE)?;
    let said = good(&[&["reload"], &control[..]].concat())?;
    ensure!(said.starts_with("reloaded /etc/lb/lb.toml"), "the reload says:\n{said}");
    stop(daemon)
}

fn stop(mut daemon: Process) -> Result<()> {
    daemon.signal(Signal::SIGTERM)?;
    let status = daemon.wait(PATIENCE)?;
    ensure!(status.success(), "SIGTERM gave {status}");
    Ok(())
}

fn wait_for(log: &Path, words: &str) -> Result<String> {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        let text = fs::read_to_string(log)?;
        if text.contains(words) {
            return Ok(text);
        }
        thread::sleep(Duration::from_millis(10));
    }
    bail!("no word of {words:?} in:\n{}", fs::read_to_string(log)?)
}

fn path(path: &Path) -> Result<&str> {
    path.to_str().context("a path that is text")
}

fn program(arguments: &[&str]) -> Result<Output> {
    Command::new(binary()).args(arguments).output().context("running the program")
}

/// What a command prints that succeeds.
fn good(arguments: &[&str]) -> Result<String> {
    let output = program(arguments)?;
    ensure!(output.status.success(), "{arguments:?} failed:\n{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// What a command says that fails.
fn refused(arguments: &[&str]) -> Result<String> {
    let output = program(arguments)?;
    ensure!(!output.status.success(), "{arguments:?} succeeded");
    Ok(String::from_utf8_lossy(&output.stderr).into_owned())
}
