//! nftables' bound of new connections: a rule at a link's ingress, the earliest place that it has.

use std::io::Write as _;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use lb_tests::netns::Namespace;

/// Drops the SYNs above so many a second that come by a link.
pub(crate) fn bound(namespace: &Namespace, link: &str, each_second: u32) -> Result<()> {
    let rules = format!(
        "table netdev flood {{\n chain ingress {{\n  type filter hook ingress device {link} priority 0;\n  \
         tcp flags & (fin|syn|rst|ack) == syn limit rate over {each_second}/second burst {each_second} packets \
         counter drop\n }}\n}}\n"
    );
    run(namespace, &["-f", "-"], &rules).map(drop)
}

/// Packets that the rule has dropped.
pub(crate) fn dropped(namespace: &Namespace) -> Result<u64> {
    let text = run(namespace, &["list", "chain", "netdev", "flood", "ingress"], "")?;
    parse_counter(&text).with_context(|| format!("no counter in\n{text}"))
}

fn parse_counter(text: &str) -> Option<u64> {
    text.split_once("counter packets ")?.1.split(' ').next()?.parse().ok()
}

fn run(namespace: &Namespace, arguments: &[&str], input: &str) -> Result<String> {
    namespace.run(|| {
        let mut child = Command::new("nft")
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("starting nft")?;
        child.stdin.take().context("its input")?.write_all(input.as_bytes())?;
        let output = child.wait_with_output()?;
        ensure!(output.status.success(), "nft {arguments:?} failed: {}", output.status);
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counter_is_found_in_what_nft_prints() {
        let text =
            "  tcp flags syn limit rate over 100/second burst 100 packets counter packets 4711 bytes 9 drop";
        assert_eq!(parse_counter(text), Some(4711));
        assert_eq!(parse_counter("counter drop"), None);
    }
}
