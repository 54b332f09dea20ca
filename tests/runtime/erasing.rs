//! That somebody is forgotten costs nobody else anything, whoever asks for it.

use crate::harness::*;
use base64ct::{Base64UrlUnpadded, Encoding};
use hmac::{Hmac, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use std::sync::atomic::{AtomicBool, Ordering};

const SECRET: &str = "a-secret-of-thirty-two-characters";
const ADMIN: &str = "an-admin-token-of-some-length";
const NOON: i64 = 1_795_176_000_000;

fn setup() -> Setup {
    Setup::hooked().var("PRESENCE_SECRET", SECRET).var("ADMIN_TOKEN", ADMIN).var("SITE", "club")
}

fn token(user: &str) -> String {
    let part = |value: Value| Base64UrlUnpadded::encode_string(value.to_string().as_bytes());
    let text = format!("{}.{}", part(json!({"alg": "HS256"})), part(json!({"sub": user, "exp": 4_000_000_000_i64})));
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(text.as_bytes());
    format!("{text}.{}", Base64UrlUnpadded::encode_string(&mac.finalize().into_bytes()))
}

/// Somebody has themselves erased.
fn erase(server: &Server, user: &str, second: i64) -> Answer {
    let client = server.by("10.0.0.66").with("x-test-now", &(NOON + second * 1000).to_string());
    let client = client.with("authorization", &format!("Bearer {}", token(user)));
    client.send("DELETE", &format!("/_presence/v1/users/{user}"), None)
}

#[test]
fn who_has_made_up_accounts_erased_is_held_up_and_breaks_nothing_of_others() {
    let server = setup().start();
    let admin = || server.by("10.8.8.8").with("authorization", &format!("Bearer {ADMIN}"));
    let keys: Vec<String> = (0..40)
        .map(|_| admin().post("/_presence/v1/sessions", r#"{"value": "v"}"#).json()["key"].as_str().unwrap().to_owned())
        .collect();
    let done = AtomicBool::new(false);
    let answers = std::thread::scope(|scope| {
        // Meanwhile the site's own servers and its readers go on, and none of them is told of any failure.
        let others = scope.spawn(|| {
            let mut asked = 0;
            while !done.load(Ordering::Relaxed) {
                let key = &keys[asked % keys.len()];
                assert_eq!(admin().get(&format!("/_presence/v1/sessions/{key}")).status, 200);
                assert_eq!(admin().get("/_presence/v1/app-passwords").status, 200);
                assert_eq!(server.by("10.0.0.9").get("/_presence/v1/count.json").status, 200);
                asked += 1;
            }
            asked
        });
        let answers: Vec<_> = (0..14).map(|number| erase(&server, &format!("made-up-{number}"), 0).status).collect();
        done.store(true, Ordering::Relaxed);
        assert!(others.join().unwrap() > 0);
        answers
    });
    assert_eq!(answers[..10], [204; 10]);
    assert_eq!(answers[10..], [429; 4]);
    // The site's own server may all the same.
    let by_admin = admin().with("x-test-now", &NOON.to_string()).send("DELETE", "/_presence/v1/users/made-up-12", None);
    assert_eq!(by_admin.status, 204);
    assert_eq!(erase(&server, "made-up-13", 6).status, 204, "one each six seconds");
}

#[test]
fn whoever_watches_keeps_watching_while_others_are_erased() {
    let server = setup().start();
    let id = "somebody-to-be-forgotten";
    let touch = |user: &str| {
        let client = server.by("10.0.0.1").with("authorization", &format!("Bearer {}", token(user)));
        client.touch(&format!(r#"{{"path":"/of/{user}"}}"#))
    };
    touch(id);
    touch("bob");
    server.by("10.0.0.9").get("/_presence/v1/count");
    let (mut socket, _) = tungstenite::connect(server.url("/_presence/v1/live").replace("http", "ws")).unwrap();
    assert!(socket.read().unwrap().to_text().unwrap().contains(id));
    assert!(!files_with(&server.storage(), id).is_empty(), "else this would show nothing");
    let themselves = server.by("10.0.0.1").with("authorization", &format!("Bearer {}", token(id)));
    assert_eq!(themselves.send("DELETE", &format!("/_presence/v1/users/{id}"), None).status, 204);
    // Reads keep the object awake: its files are scrubbed while they are open.
    eventually(Vec::<String>::new(), || {
        server.by("10.0.0.9").get("/_presence/v1/users/nobody.json");
        files_with(&server.storage(), id)
    });
    assert_eq!(server.built(), 1, "nothing was started anew for it");
    touch("carol");
    while !socket.read().expect("it stays open").to_text().unwrap().contains("carol") {}
    assert_eq!(server.json("/_presence/v1/users/bob.json")["online"], true);
}
