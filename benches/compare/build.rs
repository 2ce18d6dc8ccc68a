//! Tells the program which compiler built it, since a report without that is worth little.

use std::process::Command;

fn main() {
    let compiler = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = Command::new(compiler).arg("--version").output().ok();
    let version = version.and_then(|output| String::from_utf8(output.stdout).ok()).unwrap_or_default();
    println!("cargo::rustc-env=COMPARE_RUSTC={}", version.trim());
    println!("cargo::rerun-if-changed=build.rs");
}
