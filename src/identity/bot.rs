//! Which browsers are none.

use iscrawl::is_crawler;

/// Whether a user agent is a crawler's, a feed reader's or a script's. Somebody who names none is a bot too: every
/// browser does.
pub fn is_bot(user_agent: &str) -> bool {
    // The crate remembers its answers by a text's address, length and both ends. User agents are alike in all of
    // these, and memory is used again, so that one could get another's answer: digits that depend on every byte are
    // put at the end. They are no part of any pattern.
    let digest =
        user_agent.bytes().fold(2_166_136_261_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(16_777_619));
    // What is longer than the crate reads is judged by its beginning.
    let text = user_agent.get(..user_agent.floor_char_boundary(480)).unwrap_or_default();
    if text.trim().is_empty() {
        return true;
    }
    is_crawler(&format!("{text} {:08}", digest % 100_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn crawlers_feed_readers_and_scripts_are_bots() {
        for agent in [
            "",
            " ",
            "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
            "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm) Chrome/116.0.1938.76 Safari/537.36",
            "UniversalFeedParser/4.2-pre-314-svn +http://feedparser.org/",
            "curl/8.5.0",
            "python-requests/2.31.0",
            "Wget/1.21",
            "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)",
        ] {
            assert!(is_bot(agent), "{agent}");
        }
    }

    #[test]
    fn browsers_are_not() {
        for agent in [
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:144.0) Gecko/20100101 Firefox/144.0",
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1",
            "Mozilla/4.0 (compatible; MSIE 8.0; Windows NT 5.1; Trident/4.0)",
        ] {
            assert!(!is_bot(agent), "{agent}");
        }
    }

    #[test]
    fn two_agents_alike_at_both_ends_in_one_place_are_told_apart() {
        let people = "Mozilla/5.0 (Windows NT 10.0; x64) AppleWebKit/537.36 something Safari/537.36";
        let crawler = "Mozilla/5.0 (Windows NT 10.0; x64) AppleWebKit/537.36 somebot/1 Safari/537.36";
        assert_eq!(people.len(), crawler.len());
        for _ in 0..100 {
            assert!(!is_bot(people));
            assert!(is_bot(crawler));
        }
    }

    #[test]
    fn a_very_long_agent_is_judged_by_its_beginning() {
        let long = |begin: &str| format!("{begin}{}", "é".repeat(5000));
        assert!(is_bot(&long("Googlebot/2.1 ")));
        let _ = is_bot(&long("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 "));
    }

    proptest! {
        #[test]
        fn any_agent_is_judged_without_a_panic_and_always_alike(agent in ".{0,600}") {
            prop_assert_eq!(is_bot(&agent), is_bot(&agent));
        }
    }
}
