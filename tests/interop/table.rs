//! The committed table has the cells that the matrix has.

use std::collections::BTreeSet;

use super::cell;

const TABLE: &str = include_str!("../../docs/INTEROP.md");

#[test]
fn the_table_is_that_of_this_matrix() {
    let rows = TABLE.lines().filter_map(|line| {
        let row = line.strip_prefix('|')?.strip_suffix('|')?;
        let columns: Vec<_> = row.split('|').map(str::trim).collect();
        (columns.len() == 7).then_some(columns)
    });
    // Its head, and the line under that.
    let rows: Vec<_> = rows.skip(2).collect();
    let in_table: BTreeSet<_> = rows.iter().map(|row| row[..6].join("/")).collect();
    assert_eq!(in_table.len(), rows.len(), "a row is there twice");
    let in_matrix: BTreeSet<_> = cell::of_each_run().map(|cell| cell.to_string()).collect();
    assert_eq!(in_table, in_matrix, "write it anew: cargo xtask interop");
    assert!(rows.iter().all(|row| row[6].ends_with(" s")), "{rows:?}");
}
