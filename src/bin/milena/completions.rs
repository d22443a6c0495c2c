//! `milena completions`: what a shell needs to complete our command lines.

use crate::args::Result;
use crate::output;
use clap_complete::Shell;

/// Prints a script that completes subcommands and options
///
/// bash: source <(milena completions bash), in ~/.bashrc. zsh: milena completions zsh > a file `_milena` in a directory of
/// $fpath. fish: milena completions fish > ~/.config/fish/completions/milena.fish
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The shell
    shell: Shell,
}

/// Runs the command: `program` is the whole command line's description.
pub fn run(args: Args, mut program: clap::Command) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut program, "milena", &mut script);
    output::text(&String::from_utf8_lossy(&script))
}
