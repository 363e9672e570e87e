//! A Markdown table whose columns line up, so that it is read as it is, too.

use std::fmt;

/// See the module. The first column is text, the others are figures.
#[derive(Debug)]
pub(in crate::bench) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// With these heads.
    pub(super) fn new<'a>(first: &'a str, others: impl Iterator<Item = &'a str>) -> Self {
        let head = std::iter::once(first)
            .chain(others)
            .map(str::to_owned)
            .collect();
        Self { rows: vec![head] }
    }

    /// Adds a row; what is not known is a dash.
    pub(super) fn row(&mut self, first: &str, others: impl IntoIterator<Item = Option<String>>) {
        let others = others
            .into_iter()
            .map(|cell| cell.unwrap_or_else(|| "-".into()));
        self.rows
            .push(std::iter::once(first.to_owned()).chain(others).collect());
    }

    fn width(&self, column: usize) -> usize {
        let cells = self.rows.iter().filter_map(|row| row.get(column));
        cells
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or(0)
            .max(2)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, row) in self.rows.iter().enumerate() {
            let mut line = String::new();
            let mut ruler = String::new();
            for (column, cell) in row.iter().enumerate() {
                let width = self.width(column);
                if column == 0 {
                    line += &format!("| {cell:width$} |");
                    ruler += &format!("|{:-<1$}|", "", width + 2);
                } else {
                    line += &format!(" {cell:>width$} |");
                    ruler += &format!("{:->1$}:|", "", width + 1);
                }
            }
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{line}")?;
            if index == 0 {
                write!(f, "\n{ruler}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut table = Table::new("a", ["µs", "long head"].into_iter());
        table.row("first", [Some("12345".into()), None]);
        assert_eq!(
            table.to_string(),
            "| a     |    µs | long head |\n\
             |-------|------:|----------:|\n\
             | first | 12345 |         - |"
        );
    }
}
