//! The example `process`.

mod common;

#[test]
fn it_prints_what_its_comment_says() {
    assert_eq!(common::stdout_of(&mut common::example("process")), common::documented_output("process.rs"));
}

#[test]
fn the_usual_text_of_the_panic_appears_as_well() {
    let output = common::example("process").output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("attempt to divide by zero"));
}
