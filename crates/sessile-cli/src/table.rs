//! Tables for people: aligned, without lines, and as wide as the terminal. Where the output goes elsewhere nothing is cut
//! off. On a terminal a long text ends in `…`, and where even that does not fit, columns that say the least are left out.

use comfy_table::{ColumnConstraint, ContentArrangement, Row, TableStyle};

use crate::output::{Text, Tone, harmless_cell, width};

/// Between two columns.
const GAP: u16 = 2;

/// What a column that can be cut off needs at least.
const LEAST: u16 = 8;

/// What becomes of a column on a narrow terminal.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fit {
    /// It stays as it is.
    Whole,
    /// Its texts are cut off.
    Cut,
    /// It is left out, the last of these first.
    Droppable,
}

/// Rows under their heads.
pub(crate) struct Table {
    columns: Vec<(&'static str, Fit)>,
    rows: Vec<(Vec<String>, Tone)>,
}

impl Table {
    /// An empty head makes a table without any.
    pub(crate) fn new(columns: impl Into<Vec<(&'static str, Fit)>>) -> Self {
        Self { columns: columns.into(), rows: Vec::new() }
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) -> &mut Self {
        self.toned(Tone::Plain, cells)
    }

    pub(crate) fn toned(&mut self, tone: Tone, cells: impl IntoIterator<Item = String>) -> &mut Self {
        self.rows.push((cells.into_iter().map(|cell| harmless_cell(&cell)).collect(), tone));
        self
    }

    pub(crate) fn text(&self) -> Text {
        let mut text = Text::default();
        let has_head = self.columns.iter().any(|(head, _)| !head.is_empty());
        let tones = has_head.then_some(Tone::Head).into_iter().chain(self.rows.iter().map(|(_, tone)| *tone));
        for (line, tone) in self.lines(width(), has_head).into_iter().zip(tones) {
            text.paint(tone, line.trim_end()).say("\n");
        }
        text
    }

    /// One line for each row.
    fn lines(&self, width: Option<u16>, has_head: bool) -> Vec<String> {
        let shown = self.shown(width);
        let pick = |cells: Vec<String>| {
            let cells = cells.into_iter().enumerate().filter(|(index, _)| shown.contains(index)).map(|(_, cell)| cell);
            let mut row = Row::from(cells.collect::<Vec<_>>());
            if width.is_some() {
                row.max_height(1);
            }
            row
        };
        let mut table = comfy_table::Table::new();
        table.load_style(TableStyle::new()).set_truncation_indicator("…");
        let heads = self.columns.iter().map(|(head, _)| (*head).to_owned()).collect();
        table.add_rows(
            std::iter::once(heads)
                .filter(|_| has_head)
                .chain(self.rows.iter().map(|(cells, _)| cells.clone()))
                .map(pick),
        );
        self.arrange(&mut table, &shown, width);
        table.lines().collect()
    }

    fn arrange(&self, table: &mut comfy_table::Table, shown: &[usize], width: Option<u16>) {
        table.set_content_arrangement(ContentArrangement::Disabled);
        if let Some(width) = width {
            table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
        }
        for (at, index) in shown.iter().enumerate() {
            let Some(column) = table.column_mut(at) else { continue };
            // Cutting at spaces alone would leave little of a long name.
            column.set_padding((0, GAP)).set_delimiter('\u{0}');
            if self.columns.get(*index).is_some_and(|(_, fit)| *fit != Fit::Cut) {
                column.set_constraint(ColumnConstraint::ContentWidth);
            }
        }
    }

    /// Which columns there is room for.
    fn shown(&self, width: Option<u16>) -> Vec<usize> {
        let mut shown: Vec<usize> = (0..self.columns.len()).collect();
        let Some(width) = width else { return shown };
        let needs = |shown: &[usize]| shown.iter().map(|index| self.needed(*index)).sum::<u16>();
        while needs(&shown) > width {
            let Some(last) = shown.iter().rposition(|index| self.columns[*index].1 == Fit::Droppable) else { break };
            shown.remove(last);
        }
        shown
    }

    fn needed(&self, index: usize) -> u16 {
        let (head, fit) = self.columns[index];
        let cells = self.rows.iter().filter_map(|(cells, _)| cells.get(index).map(String::as_str));
        let widest = cells.chain([head]).map(console::measure_text_width).max().unwrap_or(0);
        let widest = u16::try_from(widest).unwrap_or(u16::MAX / 16).min(u16::MAX / 16);
        GAP + if fit == Fit::Cut { widest.min(LEAST) } else { widest }
    }
}

/// What is known of one thing, a line for each.
pub(crate) fn facts(facts: impl IntoIterator<Item = (String, String)>) -> Text {
    let mut table = Table::new([("", Fit::Whole), ("", Fit::Whole)]);
    for (name, fact) in facts {
        table.row([name, fact]);
    }
    table.text()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new([("NAME", Fit::Whole), ("WORDS", Fit::Cut), ("WHEN", Fit::Droppable)]);
        table.row(["one", "a long text of several words, 漢字 among them", "today"].map(str::to_owned));
        table.row(["two", "short", "yesterday"].map(str::to_owned));
        table
    }

    #[test]
    fn everything_is_there_where_nobody_looks() {
        let lines = table().lines(None, true);
        assert_eq!(lines[0].trim_end(), "NAME  WORDS                                          WHEN");
        assert_eq!(lines[1].trim_end(), "one   a long text of several words, 漢字 among them  today");
        assert_eq!(lines[2].trim_end(), "two   short                                          yesterday");
    }

    #[test]
    fn a_terminal_cuts_texts_off_and_then_columns() {
        let lines = table().lines(Some(40), true);
        assert!(lines.iter().all(|line| console::measure_text_width(line.trim_end()) <= 40), "{lines:#?}");
        assert!(lines.len() == 3 && lines[1].contains('…') && lines[1].contains("today"), "{lines:#?}");
        let lines = table().lines(Some(20), true);
        assert!(lines.len() == 3 && lines[1].contains('…') && !lines[0].contains("WHEN"), "{lines:#?}");
    }
}
