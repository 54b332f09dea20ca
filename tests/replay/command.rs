//! Replays an access log in the combined format against a running Worker, in compressed time: each line as a request
//! of its client address and user agent. Prints what the Worker says was online along the way.

mod log;
mod senders;

use chrono::DateTime;
use log::Line;
use senders::{Senders, Worker};
use serde_json::Value;
use std::collections::HashSet;
use std::fmt::Display;
use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::{Duration, Instant};

const USAGE: &str = "usage: npm run replay -- LOG[.gz] [URL] [--speed 600] [--lines N] [--every 60]
  LOG      an access log in the combined format, in the order of time; it may be compressed with gzip
  URL      where the Worker runs (http://localhost:8787)
  --speed  how many seconds of the log pass in one (600)
  --lines  how many lines to replay (all)
  --every  after how many minutes of the log to print what is online (60)";

fn main() -> ExitCode {
    match Options::read(std::env::args().skip(1)).and_then(|options| replay(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

struct Options {
    log: PathBuf,
    base: String,
    speed: f64,
    lines: usize,
    every: i64,
}

impl Options {
    fn read(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self {
            log: PathBuf::new(),
            base: "http://localhost:8787".into(),
            speed: 600.0,
            lines: usize::MAX,
            every: 60,
        };
        let mut places = Vec::new();
        while let Some(argument) = arguments.next() {
            let mut number = || {
                let value = arguments.next().unwrap_or_default();
                let number = value.parse::<f64>().ok().filter(|number| *number >= 1.0 && *number <= 1e9);
                number.ok_or_else(|| format!("{argument} must be a number from 1 to 1000000000; it is {value:?}"))
            };
            match argument.as_str() {
                "--speed" => options.speed = number()?,
                "--lines" => options.lines = number()? as usize,
                "--every" => options.every = number()? as i64,
                "--help" | "-h" => return Err(USAGE.into()),
                unknown if unknown.starts_with('-') => return Err(format!("{unknown} is not known\n{USAGE}")),
                _ => places.push(argument),
            }
        }
        let mut places = places.into_iter();
        options.log = places.next().ok_or(USAGE)?.into();
        if let Some(url) = places.next() {
            options.base = url.trim_end_matches('/').to_owned();
        }
        if !options.base.starts_with("http://") {
            return Err(format!("the URL must start with http://; it is {:?}", options.base));
        }
        match places.next() {
            Some(more) => Err(format!("{more:?} is one argument too many\n{USAGE}")),
            None => Ok(options),
        }
    }
}

fn replay(options: &Options) -> Result<(), String> {
    let unreadable = |error: &dyn Display| format!("{} cannot be read: {error}", options.log.display());
    let mut log = log::open(&options.log).map_err(|error| unreadable(&error))?;
    let worker = Worker::new(&options.base);
    tell_the_window(&worker, options)?;
    let senders = Senders::start(&worker);
    let (mut sent, mut bad, mut visitors) = (0, 0, HashSet::new());
    let mut pace: Option<Pace> = None;
    let mut text = Vec::new();
    while sent + bad < options.lines {
        text.clear();
        if log.read_until(b'\n', &mut text).map_err(|error| unreadable(&error))? == 0 {
            break;
        }
        let line = Line::parse(text.trim_ascii_end());
        let request = line.as_ref().and_then(|line| line.request(&options.base).ok());
        let (Some(line), Some(request)) = (line, request) else {
            bad += 1;
            continue;
        };
        let pace = pace.get_or_insert_with(|| Pace::new(line.second, options));
        pace.wait_until(line.second, &worker)?;
        visitors.insert((line.address.clone(), line.agent.clone()));
        senders.send(&line, request)?;
        sent += 1;
    }
    let failed = senders.finish()?;
    let Some(pace) = pace else {
        return Err(format!("{} has no line in the combined format", options.log.display()));
    };
    pace.print(pace.reached, &worker)?;
    let took = pace.start.elapsed().as_secs_f64();
    let span = (pace.reached - pace.first) as f64;
    println!(
        "{sent} requests of {} visitors; {bad} lines skipped, as they are not in the combined format",
        visitors.len()
    );
    println!("{} of the log in {}: {:.0} times as fast", spell(span), spell(took), span / took.max(0.001));
    if failed > 0 {
        println!("{failed} requests were answered with a server error");
    }
    let online = worker.read("online.json?limit=0")?;
    println!("the most that the Worker has seen online at once: {}", online["peak"]["total"]);
    Ok(())
}

/// Says what the Worker's online window is in the time of the log.
fn tell_the_window(worker: &Worker, options: &Options) -> Result<(), String> {
    let online = worker.read("online.json?limit=0")?;
    let timeout = online["online_timeout"].as_f64().ok_or("the Worker does not tell its online_timeout")?;
    println!(
        "{:.0} seconds of the log pass in one: the online window of {timeout} s is {} of the log",
        options.speed,
        spell(timeout * options.speed)
    );
    let comparable = (300.0 / options.speed).ceil();
    if timeout > 2.0 * comparable {
        println!(
            "for a window of {}, start the Worker with ONLINE_TIMEOUT={comparable:.0} TOUCH_RESOLUTION=0 npm start",
            spell(comparable * options.speed)
        );
    }
    println!("\n{:19} {:>6} {:>6} {:>6} {:>6}  most are on", "log time (UTC)", "total", "users", "guests", "bots");
    Ok(())
}

/// A span of time in the unit that suits it.
fn spell(seconds: f64) -> String {
    match seconds {
        0.0..120.0 => format!("{seconds:.0} s"),
        120.0..7200.0 => format!("{:.0} minutes", seconds / 60.0),
        _ => format!("{:.1} hours", seconds / 3600.0),
    }
}

/// How the log's time passes.
struct Pace {
    start: Instant,
    speed: f64,
    every: i64,
    first: i64,
    reached: i64,
    next_print: i64,
}

impl Pace {
    fn new(first: i64, options: &Options) -> Self {
        let every = options.every.saturating_mul(60);
        // On the full hour where it is every hour, and so on.
        let next_print = (first.div_euclid(every) + 1).saturating_mul(every);
        Self { start: Instant::now(), speed: options.speed, every, first, reached: first, next_print }
    }

    /// Waits until it is that second of the log, and prints what is online whenever it is time to.
    fn wait_until(&mut self, second: i64, worker: &Worker) -> Result<(), String> {
        while self.next_print <= second {
            self.sleep_until(self.next_print);
            self.print(self.next_print, worker)?;
            self.next_print = self.next_print.saturating_add(self.every);
        }
        self.sleep_until(second);
        // A log may be a little out of order.
        self.reached = self.reached.max(second);
        Ok(())
    }

    fn sleep_until(&self, second: i64) {
        let due = Duration::from_secs_f64((second - self.first).max(0) as f64 / self.speed);
        sleep(due.saturating_sub(self.start.elapsed()));
    }

    fn print(&self, second: i64, worker: &Worker) -> Result<(), String> {
        // Where people are is told where `ACCESS` lets everybody see it.
        let (count, pages) = (worker.read("count.json")?, worker.read("pages.json?limit=3").unwrap_or_default());
        let time = DateTime::from_timestamp(second, 0).unwrap_or_default().format("%Y-%m-%d %H:%M:%S").to_string();
        let number = |name: &str| count[name].as_u64().unwrap_or_default();
        let pages: Vec<_> = pages["pages"].as_array().into_iter().flatten().map(page).collect();
        println!(
            "{time:19} {:>6} {:>6} {:>6} {:>6}  {}",
            number("total"),
            number("users"),
            number("guests"),
            number("bots"),
            pages.join(", ")
        );
        std::io::stdout().flush().map_err(|error| error.to_string())
    }
}

fn page(page: &Value) -> String {
    format!("{} ({})", page["path"].as_str().unwrap_or_default(), page["total"])
}
