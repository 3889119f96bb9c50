//! Join tokens.

use super::format::{counted, harmless};
use super::json::write_line;
use super::screen::Screen;
use super::table::Rows;
use super::time::{ahead, date};
use orbit_node::api::types::{TokenCreated, TokenView};
use orbit_node::standalone::state::now_ms;
use serde_json::json;
use std::io;

/// A token was made: the line to type alone on stdout, so that it can be piped, and what it is good for beside it.
pub fn created(screen: &Screen, created: &TokenCreated) -> io::Result<()> {
    if screen.json {
        return screen.out(|out| write_line(out, created));
    }
    screen.line(&harmless(&created.join_command))?;
    screen.flush()?;
    if !screen.quiet {
        let hint = screen.err_style.helpful("hint:");
        screen.err(&format!("{hint} {}\n", explanation(created, now_ms())));
    }
    Ok(())
}

/// The tokens.
pub fn list(screen: &Screen, tokens: &[TokenView]) -> io::Result<()> {
    if screen.json {
        return tokens.iter().try_for_each(|token| screen.out(|out| write_line(out, token)));
    }
    if tokens.is_empty() {
        return if screen.quiet { Ok(()) } else { screen.line("no join tokens") };
    }
    screen.line(&table(tokens, now_ms()))
}

/// A token was removed.
pub fn removed(screen: &Screen, id: &str) -> io::Result<()> {
    if screen.json {
        return screen.out(|out| write_line(out, &json!({"event": "removed", "token": id})));
    }
    if screen.quiet { Ok(()) } else { screen.line(&format!("join token {id} is removed")) }
}

fn explanation(created: &TokenCreated, now_ms: i64) -> String {
    let token = &created.listed;
    let machines = counted(token.uses.into(), "machine", "machines");
    let role = &token.role;
    let until = date(token.expires_ms);
    let mut text = format!(
        "type this line on the other machine; it lets {machines} join as a {role}, until {until} ({})",
        ahead(token.expires_ms, now_ms)
    );
    if created.join_command.contains("--allow /PATH") {
        text.push_str(
            "\n      in place of /PATH name a directory the grid may reach there, or write --no-files for none",
        );
    }
    text
}

fn table(tokens: &[TokenView], now_ms: i64) -> String {
    let mut rows = Rows::new(&["id", "role", "state", ">used", "ends", "made", "on"]);
    for token in tokens {
        rows.push([
            token.id.clone(),
            token.role.clone(),
            token.state.clone(),
            format!("{} of {}", token.uses.saturating_sub(token.uses_left), token.uses),
            ahead(token.expires_ms, now_ms),
            date(token.created_ms),
            token.created_on.clone(),
        ]);
    }
    rows.text()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: i64 = 1_714_566_896_789;

    fn token(id: &str, state: &str, expires_in_s: i64) -> TokenView {
        TokenView {
            id: id.into(),
            role: "star".into(),
            uses: 3,
            uses_left: 2,
            state: state.into(),
            created_ms: NOW_MS - 7_200_000,
            expires_ms: NOW_MS + expires_in_s * 1000,
            created_on: "nas1".into(),
        }
    }

    #[test]
    fn a_table_and_what_a_token_is_good_for() {
        let tokens = [token("a1b2c3d4e5f6", "usable", 3600), token("0f0f0f0f0f0f", "expired", -90)];
        let created = |join_command: &str, uses| TokenCreated {
            token: "orbit-join-abc".into(),
            join_command: join_command.into(),
            listed: TokenView { uses, ..token("a1b2c3d4e5f6", "usable", 3600) },
        };
        let shown = [
            table(&tokens, NOW_MS),
            explanation(&created("orbit node join orbit-join-abc --allow /PATH --run", 1), NOW_MS),
            explanation(&created("orbit node join orbit-join-abc --no-files --run", 3), NOW_MS),
        ];
        insta::assert_snapshot!(shown.join("\n\n"));
    }
}
