//! The example `pool_map`.

mod common;

#[test]
fn it_prints_what_its_comment_says() {
    let stdout = common::stdout_of(&mut common::example("pool_map"));
    assert_eq!(stdout, "[1, 4, 9, 16, 25]\n");
    assert_eq!(stdout, common::documented_output("pool_map.rs"));
}
