//! What the README quotes is what the tests have run.

use std::fs::read_to_string;
use std::path::Path;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

#[test]
fn the_django_chapter_quotes_the_site() {
    let readme = read_to_string(Path::new(ROOT).join("README.md")).unwrap();
    let (_, rest) = readme.split_once("### Django\n").unwrap();
    let (chapter, _) = rest.split_once("### Express\n").unwrap();
    let mut site = String::new();
    for file in [
        "presence.py",
        "settings.py",
        "sessions.py",
        "sign_on.py",
        "views.py",
        "blocks.py",
        "templatetags/permitted.py",
        "templates/group.html",
    ] {
        site += &read_to_string(Path::new(ROOT).join("tests/django/club").join(file)).unwrap();
    }
    let quotes: Vec<&str> =
        chapter.split("```").skip(1).step_by(2).map(|quote| quote.split_once('\n').unwrap().1).collect();
    assert!(quotes.len() > 5, "{quotes:#?}");
    for quote in quotes {
        assert!(site.contains(quote), "the site has no such lines:\n{quote}");
    }
}
