//! How this machine's node came to be, and what it does next.

use super::format::harmless;
use super::json::write_line;
use super::screen::Screen;
use super::table::Page;
use orbit_node::api::types::ThisNode;
use orbit_node::daemon::{Founded, Joined};
use serde_json::json;
use std::io;
use std::path::Path;

/// A grid was founded. `runs` says whether the node is run at once.
pub fn founded(screen: &Screen, founded: &Founded, runs: bool) -> io::Result<()> {
    if screen.json {
        return screen.out(|out| write_line(out, founded));
    }
    if !screen.quiet {
        screen.line(&founded_text(founded, runs))?;
        screen.flush()?;
    }
    let next = if runs {
        "let other machines join: orbit token create"
    } else {
        "run it with orbit node run, and let other machines join with orbit token create"
    };
    hint(screen, next);
    Ok(())
}

/// A grid was joined, under the name wished for or another one.
pub fn joined(screen: &Screen, joined: &Joined, wished: Option<&str>, runs: bool) -> io::Result<()> {
    if screen.json {
        return screen.out(|out| write_line(out, joined));
    }
    if !screen.quiet {
        screen.line(&joined_text(joined, wished))?;
        screen.flush()?;
    }
    hint(screen, if runs { "see the grid: orbit node ls" } else { "run it: orbit node run" });
    Ok(())
}

/// The node runs.
pub fn ready(screen: &Screen, node: &ThisNode) -> io::Result<()> {
    if screen.json {
        screen.out(|out| write_line(out, node))?;
    } else if !screen.quiet {
        screen.line(&harmless(&ready_text(node)))?;
    }
    screen.flush()
}

/// The node left its grid, which ended with it or did not.
pub fn left(screen: &Screen, node: &ThisNode, ended: bool) -> io::Result<()> {
    if screen.json {
        let line = json!({"event": "left", "node": node.name, "grid": node.grid.name});
        return screen.out(|out| write_line(out, &line));
    }
    if screen.quiet { Ok(()) } else { screen.line(&harmless(&left_text(node, ended))) }
}

/// The grid was forgotten on this machine.
pub fn forgotten(screen: &Screen, data_dir: &Path) -> io::Result<()> {
    if screen.json {
        return screen.out(|out| write_line(out, &json!({"event": "forgotten", "data_dir": data_dir})));
    }
    if screen.quiet {
        return Ok(());
    }
    screen.line(&format!(
        "the grid is forgotten in {}; what lies on this machine's disks stays",
        data_dir.display()
    ))
}

fn hint(screen: &Screen, text: &str) {
    if !screen.quiet {
        screen.err(&format!("{} {text}\n", screen.err_style.helpful("hint:")));
    }
}

fn founded_text(founded: &Founded, runs: bool) -> String {
    let mut page = Page::default();
    page.push("node", &*founded.name);
    page.push("key", &*founded.peer);
    page.push("allowed", allowed(&founded.allowed_paths, &founded.data_dir));
    // A node that runs tells where it really listens.
    page.push("listens", if runs { String::new() } else { founded.listen.join("\n") });
    page.push("data", founded.data_dir.display().to_string());
    format!("founded the grid {}\n{}", harmless(&founded.grid), page.text())
}

fn joined_text(joined: &Joined, wished: Option<&str>) -> String {
    let mut page = Page::default();
    page.push(
        "node",
        match wished.filter(|wished| *wished != joined.name) {
            Some(wished) => format!("{}, as another node is named {wished}", joined.name),
            None => joined.name.clone(),
        },
    );
    page.push("key", &*joined.peer);
    page.push("allowed", allowed(&joined.allowed_paths, &joined.data_dir));
    page.push("through", &*joined.via);
    page.push("data", joined.data_dir.display().to_string());
    format!("joined the grid {}\n{}", harmless(&joined.grid), page.text())
}

fn allowed(paths: &[String], data_dir: &Path) -> String {
    if paths.is_empty() {
        format!("nothing: list directories under allowed_paths in {}", data_dir.join("star.toml").display())
    } else {
        paths.join("\n")
    }
}

fn ready_text(node: &ThisNode) -> String {
    let role = if node.is_nucleus { ", as its Nucleus" } else { "" };
    let mut text = format!("{} is ready in the grid {}{role}", node.name, node.grid.name);
    if !node.addresses.is_empty() {
        text.extend(["; it listens on ", &node.addresses.join(", ")]);
    }
    text
}

fn left_text(node: &ThisNode, ended: bool) -> String {
    if ended {
        format!("the grid {} is no more", node.grid.name)
    } else {
        format!("{} left the grid {}; what lies on its disks stays", node.name, node.grid.name)
    }
}

#[cfg(test)]
mod tests;
