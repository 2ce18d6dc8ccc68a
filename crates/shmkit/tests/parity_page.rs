//! What `docs/parity.md` says is shown by a test is one.

use std::fs;
use std::path::Path;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/parity.md");

/// The names of tests that follow each link to a file: "[file](path): `one`, `another`".
fn citations(page: &str) -> impl Iterator<Item = (&str, Vec<&str>)> {
    page.split("](").skip(1).filter_map(|after| {
        let (path, rest) = after.split_once("): ")?;
        let mut names = Vec::new();
        let mut rest = rest.trim_end();
        while let Some((name, behind)) = rest.strip_prefix('`').and_then(|rest| rest.split_once('`')) {
            names.push(name);
            rest = behind.strip_prefix(", ").unwrap_or("");
        }
        path.ends_with(".rs").then_some((path, names))
    })
}

#[test]
fn each_test_that_the_page_names_is_where_it_says() {
    let page = fs::read_to_string(PAGE).expect("the page is in the repository");
    let mut count = 0;
    for (path, names) in citations(&page) {
        let file = Path::new(PAGE).with_file_name(path);
        let code = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{path}: {error}"));
        for name in names {
            assert!(code.contains(&format!("fn {name}(")), "there is no test {name} in {path}");
            count += 1;
        }
    }
    assert!(count > 100, "{count} tests were found on the page: it is written differently now");
}
