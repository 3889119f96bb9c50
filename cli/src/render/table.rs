//! [`Rows`]: tables, and pages of labelled lines.

use super::format::harmless;
use comfy_table::{CellAlignment, Table, presets};

/// Columns with a heading each, no rules, numbers to the right.
pub struct Rows(Table);

impl Rows {
    /// Under these headings; those that begin with `>` are of numbers.
    pub fn new(headings: &[&str]) -> Self {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_header(headings.iter().map(|heading| heading.trim_start_matches('>')));
        for (index, _) in headings.iter().enumerate().filter(|(_, heading)| heading.starts_with('>')) {
            if let Some(column) = table.column_mut(index) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        Self(table)
    }

    /// One more row.
    pub fn push(&mut self, cells: impl IntoIterator<Item = String>) {
        self.0.add_row(cells.into_iter().map(|cell| harmless(&cell).into_owned()));
    }

    /// The table, without white space around it.
    pub fn text(&self) -> String {
        let line = |line: String| line.strip_prefix(' ').unwrap_or(&line).trim_end().to_owned();
        self.0.lines().map(line).collect::<Vec<_>>().join("\n")
    }
}

/// Lines that begin with a label each; a value of several lines stays in its column.
#[derive(Default)]
pub struct Page(Vec<(&'static str, String)>);

impl Page {
    /// One more value. An empty one leaves its label out.
    pub fn push(&mut self, label: &'static str, value: impl Into<String>) {
        let value = value.into();
        if !value.is_empty() {
            self.0.push((label, value));
        }
    }

    /// The page.
    pub fn text(&self) -> String {
        let width = self.0.iter().map(|(label, _)| label.len()).max().unwrap_or(0);
        let value = |(label, value): &(&'static str, String)| {
            let between = format!("\n{:width$}  ", "");
            format!("{label:width$}  {}", value.lines().map(harmless).collect::<Vec<_>>().join(&between))
        };
        self.0.iter().map(value).collect::<Vec<_>>().join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_and_pages() {
        let mut rows = Rows::new(&["name", ">free", "state"]);
        rows.push(["nas1", "999 B", "ready"].map(str::to_owned));
        rows.push(["cellar-nas", "1.0 TB", "lost"].map(str::to_owned));
        let mut page = Page::default();
        page.push("name", "nas1");
        page.push("nothing", "");
        page.push("from afar", "\x1b[2J");
        page.push("addresses", "/ip4/192.0.2.7/tcp/4001\n/ip6/::1/tcp/4001");
        insta::assert_snapshot!(format!("{}\n{}", rows.text(), page.text()));
    }
}
