//! What was measured, beside its bars; and all of it as JSON in the end, so that two runs can be compared.

use serde_json::{Value, json};
use std::sync::Mutex;

/// Where the JSON goes.
const FILE: &str = "target/bench.json";

static FOUND: Mutex<Vec<Value>> = Mutex::new(Vec::new());

/// The middle of several figures, with the least and the most of them.
#[derive(Clone, Copy)]
pub struct Spread {
    pub middle: f64,
    pub least: f64,
    pub most: f64,
}

impl Spread {
    /// Of the figures of all rounds.
    pub fn of(figures: impl IntoIterator<Item = f64>) -> Self {
        let mut figures: Vec<f64> = figures.into_iter().collect();
        figures.sort_by(f64::total_cmp);
        Self { middle: figures[figures.len() / 2], least: figures[0], most: figures[figures.len() - 1] }
    }
}

/// What a figure has to be.
#[derive(Clone, Copy)]
pub enum Bar {
    AtLeast(f64),
    AtMost(f64),
}

/// Keeps a figure for the JSON.
pub fn figure(part: &str, what: &str, unit: &str, figure: Spread) {
    let Spread { middle, least, most } = figure;
    let row = json!({"part": part, "what": what, "unit": unit, "middle": middle, "least": least, "most": most});
    FOUND.lock().unwrap().push(row);
}

/// Prints a figure that has no bar.
pub fn plain(part: &str, what: &str, unit: &str, spread: Spread) {
    let Spread { middle, least, most } = spread;
    println!("  {what:<62} {middle:>9.2} ({least:.2}-{most:.2}) {unit}");
    figure(part, what, unit, spread);
}

/// Prints a figure beside its bar.
pub fn bar(part: &str, what: &str, unit: &str, figure: Spread, bar: Bar) {
    let (word, bound, held) = match bar {
        Bar::AtLeast(bound) => ("at least", bound, figure.middle >= bound),
        Bar::AtMost(bound) => ("at most", bound, figure.middle <= bound),
    };
    let Spread { middle, least, most } = figure;
    let verdict = if held { "" } else { "   MISSED" };
    println!("  {what:<62} {middle:>9.2} ({least:.2}-{most:.2}) {unit}; {word} {bound}{verdict}");
    let row = json!({"part": part, "what": what, "unit": unit, "middle": middle, "least": least, "most": most,
        word.replace(' ', "_"): bound, "held": held});
    FOUND.lock().unwrap().push(row);
}

/// Writes the JSON.
pub fn write() {
    let found = json!({"found": *FOUND.lock().unwrap()});
    std::fs::write(FILE, format!("{found:#}\n")).unwrap();
    println!("\nall of it as JSON: {FILE}");
}
