//! Requests to the Worker, several at a time.

use crate::log::Line;
use serde_json::Value;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;
use ureq::Agent;
use ureq::http::{Request, Response};

/// How many requests are on their way at once.
const SENDERS: usize = 4;

/// How many requests may wait for each sender; beyond that the replay takes longer than was asked.
const WAITING: usize = 64;

/// The Worker, with connections that are kept open.
pub struct Worker {
    base: String,
    agent: Agent,
}

impl Worker {
    /// The Worker at an address.
    pub fn new(base: &str) -> Self {
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .allow_non_standard_methods(true)
            .timeout_global(Some(Duration::from_secs(30)))
            // A visitor without a user agent is to stay so.
            .user_agent("")
            .build();
        Self { base: base.to_owned(), agent: agent.into() }
    }

    /// Sends a request. One that met a connection which was just being closed is sent again.
    fn send(&self, request: Request<()>) -> Result<Response<Vec<u8>>, String> {
        let attempt = || {
            let (head, mut body) = self.agent.run(request.clone())?.into_parts();
            Ok::<_, ureq::Error>(Response::from_parts(head, body.read_to_vec()?))
        };
        attempt()
            .or_else(|_| attempt())
            .map_err(|error| format!("the Worker at {} cannot be reached: {error}", self.base))
    }

    /// Asks the Worker about presence.
    pub fn read(&self, what: &str) -> Result<Value, String> {
        let url = format!("{}/_presence/v1/{what}", self.base);
        let request = Request::get(&url).body(()).map_err(|error| format!("{url}: {error}"))?;
        let answer = self.send(request)?;
        serde_json::from_slice(answer.body())
            .ok()
            .filter(|_| answer.status().is_success())
            .ok_or_else(|| format!("{url} answered {} and no presence: is the Worker there?", answer.status()))
    }
}

/// Threads that send requests. Those of one visitor go through one of them, and so stay in order.
pub struct Senders {
    queues: Vec<SyncSender<Request<()>>>,
    threads: Vec<JoinHandle<()>>,
    failure: Arc<OnceLock<String>>,
    errors: Arc<AtomicU64>,
}

impl Senders {
    /// Starts the threads.
    pub fn start(worker: &Worker) -> Self {
        let mut senders = Self { queues: vec![], threads: vec![], failure: Arc::default(), errors: Arc::default() };
        for _ in 0..SENDERS {
            let (queue, requests) = sync_channel(WAITING);
            let worker = Worker::new(&worker.base);
            let (failure, errors) = (senders.failure.clone(), senders.errors.clone());
            senders.queues.push(queue);
            senders.threads.push(std::thread::spawn(move || send_all(&worker, &requests, &failure, &errors)));
        }
        senders
    }

    /// Has a line's request sent, when it is its turn.
    pub fn send(&self, line: &Line, request: Request<()>) -> Result<(), String> {
        let visitor = BuildHasherDefault::<DefaultHasher>::default().hash_one((&line.address, &line.agent));
        let queue = self.queues.get(visitor as usize % SENDERS);
        match queue.is_some_and(|queue| queue.send(request).is_ok()) {
            true => Ok(()),
            false => Err(self.failure()),
        }
    }

    /// Waits until everything is sent, and says how many requests were answered with a server error.
    pub fn finish(mut self) -> Result<u64, String> {
        self.queues.clear();
        for thread in std::mem::take(&mut self.threads) {
            thread.join().map_err(|_| self.failure())?;
        }
        match self.failure.get() {
            Some(failure) => Err(failure.clone()),
            None => Ok(self.errors.load(Ordering::Relaxed)),
        }
    }

    fn failure(&self) -> String {
        self.failure.get().cloned().unwrap_or_else(|| "a sender stopped".into())
    }
}

/// Sends until there is no more to send, or the Worker cannot be reached.
fn send_all(worker: &Worker, requests: &Receiver<Request<()>>, failure: &OnceLock<String>, errors: &AtomicU64) {
    for request in requests {
        match worker.send(request) {
            Ok(answer) => {
                errors.fetch_add(u64::from(answer.status().is_server_error()), Ordering::Relaxed);
            }
            Err(error) => {
                let _ = failure.set(error);
                return;
            }
        }
    }
}
