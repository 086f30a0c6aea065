//! The product shown to a newcomer: real traffic through a real daemon, told in plain text, each claim measured.
//!
//! [`scene`] is what runs and how it is wired, [`claims`] are what is shown, [`page`] is how it is written, [`next`] what
//! to try oneself. The config is `demo.toml`, as an operator would write it.

mod claims;
mod next;
mod page;
mod scene;

use std::env;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::daemon::binary;
use crate::skip::{Need, missing};
use claims::{CLAIMS, Claim};
use page::Page;
use scene::Scene;

/// A claim that was tried: what was measured, or why it does not hold.
struct Tried {
    claim: &'static Claim,
    outcome: Result<String>,
}

/// Shows everything and says whether every claim holds. With `keep`, the scene then stays until a signal ends the
/// process.
pub fn run(keep: bool) -> Result<bool> {
    check_machine()?;
    let page = Page::of_stdout();
    let (mut scene, passed) = show(&page)?;
    if keep {
        next::stay(&mut scene, &page, passed)?;
    }
    Ok(passed)
}

/// The same as a test: a failure has the whole page.
pub fn hold() -> Result<()> {
    let page = Page::kept();
    let (scene, passed) = show(&page)?;
    drop(scene);
    ensure!(passed, "not every claim of the demo holds:\n{}", page.text());
    Ok(())
}

fn show(page: &Page) -> Result<(Scene, bool)> {
    let start = Instant::now();
    scene::announce(page);
    let mut scene = Scene::build()?;
    scene.describe(page)?;
    let tried: Vec<Tried> =
        CLAIMS.iter().zip(1..).map(|(claim, number)| attempt(claim, number, &mut scene, page)).collect();
    let passed = conclude(page, &tried, start.elapsed());
    Ok((scene, passed))
}

fn check_machine() -> Result<()> {
    ensure!(
        Need::Root.lacking().is_none(),
        "the demo makes network namespaces and needs root: {}",
        as_root(&env::args_os().map(|part| part.display().to_string()).collect::<Vec<_>>())
    );
    let lacking = missing(&[Need::NativeXdp]);
    ensure!(lacking.is_none(), "this machine cannot run the demo: {}", lacking.unwrap_or_default());
    ensure!(binary().is_file(), "{} is not there: `cargo xtask demo` builds it", binary().display());
    Ok(())
}

/// The command line that starts this program again, by root.
fn as_root(arguments: &[String]) -> String {
    format!("sudo env LB_DAEMON={} {}", binary().display(), arguments.join(" "))
}

fn attempt(claim: &'static Claim, number: usize, scene: &mut Scene, page: &Page) -> Tried {
    page.heading(&format!("{number}. {}", claim.title));
    let outcome = (claim.hold)(scene, page);
    let told = match &outcome {
        Ok(measured) => measured.clone(),
        Err(error) => format!("{error:#}"),
    };
    page.line(&format!("{}  {told}", page.verdict(outcome.is_ok())));
    Tried { claim, outcome }
}

/// Everything once more, in one table.
fn conclude(page: &Page, tried: &[Tried], took: Duration) -> bool {
    page.heading("What was shown");
    let width = tried.iter().map(|one| one.claim.title.len()).max().unwrap_or_default();
    for Tried { claim, outcome } in tried {
        let told = outcome.as_ref().map_or("see above", String::as_str);
        page.line(&format!("{}  {:width$}  {told}", page.verdict(outcome.is_ok()), claim.title));
    }
    let passed = tried.iter().filter(|one| one.outcome.is_ok()).count();
    page.plain(&format!("\n{passed} of {} claims hold; {:.1} s.", tried.len(), took.as_secs_f32()));
    passed == tried.len()
}

/// A span as people read it here.
fn ms(span: Duration) -> String {
    format!("{} ms", span.as_millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_to_run_as_root_is_a_whole_command() {
        let command = as_root(&["/built/demo".to_owned(), "--keep".to_owned()]);
        assert!(command.starts_with("sudo env LB_DAEMON=/"), "{command}");
        assert!(command.ends_with(" /built/demo --keep"), "{command}");
    }
}
