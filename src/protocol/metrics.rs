//! What was done for a site and who is there, in the text format of Prometheus (exposition format 0.0.4).

use crate::presence::id::SiteName;
use crate::presence::site::{Counts, Site};
use crate::presence::totals::{Histogram, Totals};
use serde::{Deserialize, Serialize};
use std::fmt::Write;
use std::iter::Sum;

/// The type of such a text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What was done, and who is there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Figures {
    /// Who is online, invisible users among the guests.
    pub counts: Counts,
    /// The most users and guests that were ever online at once.
    pub peak: u32,
    /// What was done.
    pub totals: Totals,
    /// How many connections those have who watch.
    pub watchers: usize,
    /// How many guests and bots are only counted.
    pub merged: (usize, usize),
}

impl Figures {
    /// Of a site that so many watch.
    pub fn of(site: &Site, watchers: usize) -> Self {
        let peak = site.peak().map_or(0, |peak| peak.total);
        Self { counts: site.counts(), peak, totals: site.totals, watchers, merged: site.merged() }
    }
}

impl Sum for Figures {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, figures| Self {
            counts: [sum.counts, figures.counts].into_iter().sum(),
            peak: sum.peak.max(figures.peak),
            totals: sum.totals.plus(&figures.totals),
            watchers: sum.watchers + figures.watchers,
            merged: (sum.merged.0 + figures.merged.0, sum.merged.1 + figures.merged.1),
        })
    }
}

/// Writes all of it.
pub fn text(name: &SiteName, figures: &Figures) -> String {
    let Figures { counts, peak, totals, watchers, merged } = figures;
    let mut text = Text { site: escaped(name.as_str()), written: String::new() };
    text.family("members", "gauge", "Who is online, invisible users among the guests.");
    for (kind, count) in [("user", counts.users), ("guest", counts.guests), ("bot", counts.bots)] {
        text.line("members", &format!("kind=\"{kind}\""), count as f64);
    }
    text.family("members_merged", "gauge", "Those of them who are only counted, as there were too many to keep.");
    for (kind, count) in [("guest", merged.0), ("bot", merged.1)] {
        text.line("members_merged", &format!("kind=\"{kind}\""), count as f64);
    }
    text.one("watchers", "gauge", "Connections of those who watch.", *watchers as f64);
    text.one("members_peak", "gauge", "The most users and guests that were ever online at once.", f64::from(*peak));
    for (name, help, total) in [
        ("signals_received_total", "Touches, leaves and sign-outs that requests and messages meant.", totals.received),
        ("signals_suppressed_total", "Of these, touches that told nothing new and were not sent.", totals.suppressed),
        ("signals_shed_total", "Signals dropped, as more came than batches have room for.", totals.shed),
        ("rows_written_total", "Rows written by the site's object, as they are billed.", totals.rows),
        ("wakes_total", "How often the site was built from its rows.", totals.wakes),
    ] {
        text.one(name, "counter", help, total as f64);
    }
    text.family("errors_total", "counter", "What went wrong, by kind.");
    for (kind, total) in [("batch_not_taken", totals.failed), ("row_unreadable", totals.unreadable)] {
        text.line("errors_total", &format!("kind=\"{kind}\""), total as f64);
    }
    text.histogram("batch_signals", "How many signals batches held.", &totals.sizes, 1.0);
    text.histogram("batch_seconds", "How long it took until a batch was answered.", &totals.answered_in, 1000.0);
    text.written
}

struct Text {
    site: String,
    written: String,
}

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to memory has no way to fail.
        let _ = writeln!(self.written, "# HELP whos_online_{name} {help}\n# TYPE whos_online_{name} {kind}");
    }

    fn line(&mut self, name: &str, labels: &str, value: f64) {
        let comma = if labels.is_empty() { "" } else { "," };
        let _ = writeln!(self.written, "whos_online_{name}{{site=\"{}\"{comma}{labels}}} {value}", self.site);
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, value: f64) {
        self.family(name, kind, help);
        self.line(name, "", value);
    }

    fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram, unit: f64) {
        self.family(name, "histogram", help);
        let mut so_far = 0;
        for (bound, count) in Histogram::BOUNDS.iter().zip(histogram.counts) {
            so_far += count;
            self.line(&format!("{name}_bucket"), &format!("le=\"{}\"", *bound as f64 / unit), so_far as f64);
        }
        so_far += histogram.beyond;
        self.line(&format!("{name}_bucket"), "le=\"+Inf\"", so_far as f64);
        self.line(&format!("{name}_sum"), "", histogram.sum as f64 / unit);
        self.line(&format!("{name}_count"), "", so_far as f64);
    }
}

/// A label's value may not end it.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::presence::time::{Millis, Seconds, Timestamp};
    use crate::presence::totals::Counted;

    #[test]
    fn metrics_unchanged() {
        let mut site = Site::new(Seconds(330), Timestamp::from_millis(0));
        let answered_in = Some(Millis(12));
        let counted = Counted { received: 9, suppressed: 5, shed: 1, failed: 2, answered_in, ..Counted::default() };
        site.totals.add(counted, 3);
        site.totals.add(Counted { answered_in: Some(Millis(2000)), ..Counted::default() }, 1);
        let written = text(&SiteName::parse("a \"site\"").unwrap(), &Figures::of(&site, 4));
        assert_eq!(written, include_str!("../../tests/golden/metrics.txt"));
    }

    #[test]
    fn several_objects_have_done_what_each_of_them_has() {
        let mut site = Site::new(Seconds(330), Timestamp::from_millis(0));
        site.totals.add(Counted { received: 9, answered_in: Some(Millis(12)), ..Counted::default() }, 3);
        let both: Figures = [Figures::of(&site, 4), Figures::of(&site, 1)].into_iter().sum();
        let Figures { totals, watchers, .. } = both;
        assert_eq!((totals.received, totals.sizes.sum, totals.sizes.counts[1], watchers), (18, 6, 2, 5));
        assert_eq!((totals.answered_in.sum, totals.answered_in.counts[3]), (24, 2));
    }
}
