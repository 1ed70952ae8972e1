//! What the house's papers must say.

use chatlane_tests_workspace::{children, read, root, rust_files};

#[test]
fn the_readme_names_every_folder() {
    let readme = read("README.md");
    let folders = children("").into_iter().filter(|(name, is_folder)| *is_folder && !name.starts_with('.') && name != "target");
    for (name, _) in folders {
        // A line of the folder list begins with the folder, whatever marks it up.
        let listed = readme.lines().any(|line| line.trim_start_matches(|c: char| !c.is_alphanumeric()).starts_with(&format!("{name}/")));
        assert!(listed, "README.md: no line begins with `{name}/`");
    }
}

/// The lines of the tables whose name ends in `dependencies`.
fn dependency_lines(manifest: &str) -> Vec<&str> {
    let mut inside = false;
    let mut found = Vec::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            inside = line.trim_end_matches(']').ends_with("dependencies");
        } else if inside && !line.is_empty() && !line.starts_with('#') {
            found.push(line);
        }
    }
    found
}

#[test]
fn every_dependency_has_its_reason_in_the_root_manifest() {
    let manifest = read("Cargo.toml");
    let lines = dependency_lines(&manifest);
    assert!(lines.len() > 10, "the dependencies were not found");
    for line in lines.into_iter().filter(|line| !line.contains("path = ")) {
        let reason = line.rsplit_once('#').map_or("", |(_, reason)| reason.trim());
        assert!(reason.len() >= 5, "no reason behind: {line}");
    }
}

#[test]
fn every_package_takes_versions_and_lints_from_the_workspace() {
    let members = ["crates", "tests"].into_iter().flat_map(|folder| {
        let packages = children(folder).into_iter().filter(|(_, is_folder)| *is_folder);
        let manifests = packages.map(move |(name, _)| format!("{folder}/{name}/Cargo.toml"));
        manifests.filter(|path| root().join(path).exists()) // tests/stranger is Python
    });
    let members: Vec<String> = members.chain(["functions/Cargo.toml".to_owned()]).collect();
    assert!(members.len() >= 8, "{members:?}");
    for path in members {
        let manifest = read(&path);
        assert!(manifest.contains("[lints]\nworkspace = true"), "{path}: no [lints] workspace = true");
        for line in dependency_lines(&manifest) {
            let of_workspace = line.contains("workspace = true") || line.contains("path = \".\"");
            assert!(of_workspace, "{path}: {line}");
        }
    }
}

/// A page that names a test which is not there proves nothing. What `docs/GUARANTEES.md` names is written from the tests themselves.
#[test]
fn every_test_that_the_pages_name_exists() {
    let sources = ["crates", "functions", "tests"].into_iter().flat_map(rust_files).map(|path| read(&path)).collect::<String>();
    let mut named = 0;
    for page in ["docs/FIDELITY.md", "crates/session/README.md"] {
        for name in read(page).split('`').skip(1).step_by(2) {
            let words = name.split('_').count();
            if words >= 4 && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_') {
                let defined = sources.contains(&format!("fn {name}(")) || sources.contains(&format!("fn {name}<"));
                assert!(defined, "{page} names `{name}`");
                named += 1;
            }
        }
    }
    assert!(named > 100, "{named} names were found");
}
