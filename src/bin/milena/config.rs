//! `milena config show`: the effective values with their origin, secrets masked.

use crate::args::{Global, Result, Role};
use crate::say;
use milena::properties::is_secret;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Prints every property that is set, and by whom
    Show,
}

pub async fn run(args: Args, global: &Global) -> Result<()> {
    let Action::Show = args.action;
    for (title, role) in
        [("kafka", Role::Client), ("kafka.producer", Role::Producer), ("kafka.consumer", Role::Consumer)]
    {
        say!("[{title}]");
        for setting in global.settings(role)? {
            let value = if is_secret(&setting.key) { "********" } else { &setting.value };
            say!("{:?} = {value:?}  # {}", setting.key, setting.origin);
        }
    }
    Ok(())
}
