//! Pages about connectors say what the options are.

use crate::workspace::read;
use chalk_graph::options::FLUVIO_OPTIONS;

#[test]
fn the_page_about_fluvio_has_its_options() {
    let row = |[name, values, usual, what]: [&str; 4]| format!("| `{name}` | {values} | {usual} | {what} |\n");
    let table: String = FLUVIO_OPTIONS.map(row).concat();
    let page = read("docs/connectors/fluvio.md");
    assert!(page.contains(&table), "docs/connectors/fluvio.md should have this table:\n{table}");
}
