//! Text for people to read, made fit to be shown beside other people's: names and titles come from whoever writes them.
//!
//! What is cleaned shows all that is in it, from left to right or right to left as its letters go, and stays within its line. By
//! the standard library's tables alone: those of a crate that cuts text at graphemes would be 21 KB of the compressed wasm.

/// More combining marks than that on one letter climb into the lines around it.
const MAX_MARKS: usize = 2;

/// The tags that follow a black flag to make it that of a country in a country, with the one that ends them.
const MAX_TAGS: usize = 7;

const JOINER: char = '\u{200d}';
const BLACK_FLAG: char = '\u{1f3f4}';

/// Cleans a text, and cuts it to at most `max` bytes where one character ends, as people see characters; `None` if nothing is
/// left that can be seen.
///
/// Dropped is whatever has no shape of its own: control characters, marks of direction, characters without width (a joiner
/// stays inside an emoji, and in the scripts of India that need it), characters that no font has, and more than two combining
/// marks in a row. Blanks of any kind become spaces, several of them one, and those at the ends go.
pub fn clean(text: &str, max: usize) -> Option<String> {
    let mut cleaned = Cleaned::default();
    let mut rest = text.chars().peekable();
    while let Some(character) = rest.next() {
        let character = if character.is_whitespace() { ' ' } else { character };
        if !cleaned.takes(character, rest.peek().copied()) {
            continue;
        }
        if cleaned.text.len() + character.len_utf8() > max {
            cleaned.cut_before(character);
            break;
        }
        cleaned.push(character);
    }
    let end = cleaned.text.trim_end().len();
    cleaned.text.truncate(end);
    (end > 0).then_some(cleaned.text)
}

/// What was taken of a text so far.
#[derive(Default)]
struct Cleaned {
    text: String,
    /// Where the last character begins, as people see characters.
    begun: usize,
    last: Option<char>,
    /// How many combining marks, tags or halves of flags there are at the end.
    run: usize,
}

impl Cleaned {
    fn takes(&self, character: char, next: Option<char>) -> bool {
        let Some(last) = self.last else { return character != ' ' && begins(character) };
        match character {
            ' ' => last != ' ',
            JOINER => next.is_some_and(|next| joins(last, next)),
            // How the picture before it is drawn.
            '\u{fe0e}' | '\u{fe0f}' => is_picture(last),
            '\u{e0020}'..='\u{e007f}' => (last == BLACK_FLAG || is_tag(last)) && self.run < MAX_TAGS,
            _ if is_mark(character) => last != ' ' && self.run < MAX_MARKS,
            _ => is_shown(character),
        }
    }

    /// Ends the text before this character, and before what people see it as a part of, unless there is nothing else.
    fn cut_before(&mut self, character: char) {
        if self.is_continued_by(character) && self.begun > 0 {
            self.text.truncate(self.begun);
        }
    }

    fn is_continued_by(&self, character: char) -> bool {
        let second_half = is_half_flag(character) && self.last.is_some_and(is_half_flag) && !self.run.is_multiple_of(2);
        second_half || self.last.is_some_and(|last| continues(last, character))
    }

    fn push(&mut self, character: char) {
        if !self.is_continued_by(character) {
            self.begun = self.text.len();
        }
        let runs = |is: fn(char) -> bool| is(character) && self.last.is_some_and(is);
        let starts_run = is_mark(character) || is_tag(character) || is_half_flag(character);
        let goes_on = runs(is_mark) || runs(is_tag) || runs(is_half_flag);
        let run = if goes_on { self.run + 1 } else { usize::from(starts_run) };
        (self.run, self.last) = (run, Some(character));
        self.text.push(character);
    }
}

/// Whether a text may begin with it.
fn begins(character: char) -> bool {
    is_shown(character) && !is_mark(character)
}

/// Whether it has a shape of its own, or as a mark on another one.
fn is_shown(character: char) -> bool {
    // Default_Ignorable_Code_Point and the other format characters (Cf), private use, and the pattern of Braille without a dot.
    let shapeless = matches!(character,
        '\u{ad}' | '\u{34f}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{890}' | '\u{891}' | '\u{8e2}'
        | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{e000}'..='\u{f8ff}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{110bd}' | '\u{110cd}'
        | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{10ffff}');
    !shapeless && !character.is_control()
}

/// Whether it is a mark on the letter before it without a width of its own (Grapheme_Extend): of what has a shape the standard
/// library writes such alone as an escape, as it would climb onto the quotes, and what Unicode has not assigned yet.
fn is_mark(character: char) -> bool {
    !character.is_ascii() && is_shown(character) && character.escape_debug().count() > 1
}

fn is_tag(character: char) -> bool {
    ('\u{e0020}'..='\u{e007f}').contains(&character)
}

/// Two of these are a flag.
fn is_half_flag(character: char) -> bool {
    ('\u{1f1e6}'..='\u{1f1ff}').contains(&character)
}

/// Whether it is a picture or a symbol, or the colour of a skin.
fn is_picture(character: char) -> bool {
    matches!(character, '\u{2190}'..='\u{2bff}' | '\u{1f000}'..='\u{1faff}')
}

/// Whether a joiner between the two changes what is seen: two pictures make one, and so do consonants in the scripts of India.
fn joins(last: char, next: char) -> bool {
    let indic = |character| ('\u{900}'..='\u{dff}').contains(&character);
    let pictures = (is_picture(last) || last == '\u{fe0f}') && is_picture(next);
    pictures || (indic(last) && is_mark(last) && indic(next) && !is_mark(next))
}

/// Whether people see it as a part of the one before (UAX 29, as far as tables of our own go).
fn continues(last: char, character: char) -> bool {
    let skin = ('\u{1f3fb}'..='\u{1f3ff}').contains(&character);
    let jamo = ('\u{1160}'..='\u{11ff}').contains(&character);
    let joined = last == JOINER || character == JOINER;
    let style = matches!(character, '\u{fe0e}' | '\u{fe0f}');
    joined || style || skin || jamo || is_tag(character) || is_mark(character) || is_vowel_sign(character)
}

/// Signs that stand beside their consonant. The scripts from Devanagari to Malayalam have theirs at the same places of their
/// blocks of 128.
fn is_vowel_sign(character: char) -> bool {
    match u32::from(character) {
        0x900..=0xd7f => matches!(u32::from(character) % 0x80, 1..=3 | 0x3c | 0x3e..=0x4d),
        0xd81..=0xd83 | 0xdca..=0xddf | 0xe33 | 0xeb3 | 0x102b..=0x103e | 0x17b6..=0x17d3 => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const VARIATION: char = '\u{fe0f}';

    fn cleaned(text: &str) -> String {
        clean(text, 128).unwrap_or_default()
    }

    #[test]
    fn what_is_fit_to_be_shown_stays_as_it_is() {
        for text in [
            "Sally",
            "O'Neill \"Tim\" \\o/",
            "Zoë Čapek",
            "e\u{301}\u{323}",
            "山田 太郎",
            "محمد",
            "דָּוִד",
            "नमस्ते",
            "ක්\u{200d}ෂ",
            "ကျော်",
            "🏄",
            "👩\u{200d}👩\u{200d}👧\u{200d}👦",
            "👩🏽\u{200d}🚒",
            "🏳\u{fe0f}\u{200d}🌈",
            "❤\u{fe0f}\u{200d}🔥",
            "🇩🇪🇫🇷",
            "\u{1f3f4}\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f}",
        ] {
            assert_eq!(cleaned(text), text);
        }
    }

    #[test]
    fn what_has_no_shape_is_dropped() {
        for (text, shown) in [
            ("  Sally\u{a0}\u{3000} M. \n", "Sally M."),
            ("\u{202e}yllaS\u{202c}", "yllaS"),
            ("\u{2066}a\u{2069}\u{200e}b\u{200f}c\u{61c}", "abc"),
            ("Sal\u{200b}ly\u{feff}\u{2060}\u{ad}\u{200c}", "Sally"),
            ("Sal\u{200d}ly", "Sally"),
            ("Sally\u{200d}🏄", "Sally🏄"),
            ("Sally\u{fe0f}", "Sally"),
            ("a\0b\tc\u{85}d", "ab c d"),
            ("a\u{301}\u{301}\u{301}\u{301}b", "a\u{301}\u{301}b"),
            ("\u{301}\u{301}Sally", "Sally"),
            ("a \u{301}b", "a b"),
            ("Sally\u{e0041}\u{e0042}", "Sally"),
            ("Sally\u{3164}\u{ffa0}\u{2800}\u{34f}\u{180e}", "Sally"),
            ("Sally\u{e000}\u{10ffff}\u{fff9}", "Sally"),
        ] {
            assert_eq!(cleaned(text), shown, "{text:?}");
        }
    }

    #[test]
    fn nothing_that_can_be_seen_is_nothing() {
        for text in
            ["", "  ", "\u{3164}", "\u{200b}\u{200d}", "\u{2800}\u{2800}", "\u{301}", "\u{fe0f}", "\u{202e} \u{202c}"]
        {
            assert_eq!(clean(text, 128), None, "{text:?}");
        }
    }

    #[test]
    fn what_is_too_long_is_cut_where_a_character_ends_as_people_see_it() {
        for (text, max, shown) in [
            ("Sally", 4, "Sall"),
            ("Sally Miller", 6, "Sally"),
            ("ae\u{301}", 3, "a"),
            ("a👩\u{200d}👩\u{200d}👧", 12, "a"),
            ("🏄👩🏽", 8, "🏄"),
            ("🇩🇪🇫🇷", 12, "🇩🇪"),
            ("कका", 8, "क"),
            ("e\u{301}", 2, "e"),
            ("❤\u{fe0f}", 5, "❤"),
        ] {
            assert_eq!(clean(text, max).unwrap(), shown, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn cleaned_text_is_within_its_bounds_and_clean(text in "(\\PC|[\u{200b}-\u{200f}\u{202a}-\u{202e}\u{300}-\u{310}\u{fe0f} ❤👩🏽🇩]){0,60}", max in 1..130usize) {
            if let Some(shown) = clean(&text, max) {
                prop_assert!((1..=max).contains(&shown.len()));
                prop_assert_eq!(shown.trim(), shown.as_str());
                let shapeless = |c: char| c.is_control() || "\u{200b}\u{200c}\u{200e}\u{200f}\u{202a}\u{202e}".contains(c);
                prop_assert!(!shown.chars().any(shapeless));
                let marks: Vec<bool> = shown.chars().map(|c| is_mark(c) && c != VARIATION).collect();
                prop_assert!(!marks.windows(3).any(|three| three.iter().all(|mark| *mark)));
                prop_assert_eq!(clean(&shown, max), Some(shown));
            }
        }
    }
}
