//! Tokens, constellations and authorities of a grid.

use clap::{Args, Subcommand, ValueEnum};

/// `orbit token`.
#[derive(Debug, Args)]
pub struct TokenArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: TokenCommand,
}

/// What to do with join tokens.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token, and print the line that joins another machine with it
    Create(CreateTokenArgs),
    /// List the tokens
    Ls,
    /// Remove a token; who joined with it stays
    Rm(OneTokenArgs),
}

/// `orbit token create`.
#[derive(Debug, Args)]
pub struct CreateTokenArgs {
    /// How long it works, such as 30m, 1h or 7d
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = seconds)]
    pub ttl: u64,
    /// How many machines may join with it
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub uses: u32,
    /// What they become
    #[arg(long, value_name = "ROLE", default_value = "star")]
    pub role: TokenRole,
}

/// What a node becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TokenRole {
    /// Holds files for the grid
    Star,
    /// Holds none, and may take part in electing the Nucleus
    Witness,
}

impl TokenRole {
    /// Its name in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Star => "star",
            Self::Witness => "witness",
        }
    }
}

/// A token.
#[derive(Debug, Args)]
pub struct OneTokenArgs {
    /// Id of the token, as `orbit token ls` shows it
    pub id: String,
}

/// `orbit constellation`.
#[derive(Debug, Args)]
pub struct ConstellationArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: ConstellationCommand,
}

/// What to do with constellations.
#[derive(Debug, Subcommand)]
pub enum ConstellationCommand {
    /// List the constellations and their nodes
    Ls,
    /// Make an empty one
    Create(OneConstellationArgs),
    /// Add nodes to one
    Add(AddToConstellationArgs),
    /// Take nodes out of one, or remove it
    Rm(RemoveFromConstellationArgs),
}

/// A constellation.
#[derive(Debug, Args)]
pub struct OneConstellationArgs {
    /// Name of the constellation
    #[arg(value_name = "CONSTELLATION")]
    pub name: String,
}

/// `orbit constellation add`.
#[derive(Debug, Args)]
pub struct AddToConstellationArgs {
    /// Which.
    #[command(flatten)]
    pub constellation: OneConstellationArgs,
    /// Names or ids of nodes
    #[arg(value_name = "NODE", required = true)]
    pub nodes: Vec<String>,
}

/// `orbit constellation rm`.
#[derive(Debug, Args)]
pub struct RemoveFromConstellationArgs {
    /// Which.
    #[command(flatten)]
    pub constellation: OneConstellationArgs,
    /// Names or ids of nodes to take out; without any the constellation itself goes
    #[arg(value_name = "NODE")]
    pub nodes: Vec<String>,
}

/// `orbit ca`.
#[derive(Debug, Args)]
pub struct AuthorityArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: AuthorityCommand,
}

/// What to do with the grid's certificate authorities.
#[derive(Debug, Subcommand)]
pub enum AuthorityCommand {
    /// List the authorities that the grid trusts
    Ls,
    /// Start a new authority; certificates of the old one are valid until they are renewed
    Rotate,
}

/// A time as people write it: a number with `s`, `m`, `h` or `d`.
pub(super) fn seconds(text: &str) -> Result<u64, String> {
    let told = || "write a number and s, m, h or d, such as 30m, 1h or 7d".to_owned();
    let at = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(told)?;
    let number: u64 = text[..at].parse().map_err(|_| told())?;
    let unit = match text[at..].trim() {
        "s" | "sec" => 1,
        "m" | "min" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(told()),
    };
    number.checked_mul(unit).filter(|seconds| *seconds > 0).ok_or_else(told)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_as_people_write_them() {
        for (text, read) in [("90s", 90), ("30m", 1800), ("1h", 3600), ("7d", 604_800), ("2 h", 7200)] {
            assert_eq!(seconds(text), Ok(read), "{text}");
        }
        for text in ["", "1", "h", "0h", "-1h", "1.5h", "1w", "99999999999999999999d", "999999999999999999d"]
        {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
