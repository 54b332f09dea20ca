//! Server-sent events, for clients and proxies that lack WebSocket: the Worker holds the socket and passes on what it
//! hears, so that the object may sleep all the same.

use super::request::Asked;
use crate::http::cors::Caller;
use crate::http::reply::Reply;
use crate::presence::budget::SOCKET_UNREAD;
use crate::protocol::live::Event;
use futures_channel::mpsc::{Sender, channel};
use futures_util::StreamExt;
use js_sys::{Function, Reflect};
use std::cell::Cell;
use std::rc::Rc;
use wasm_bindgen::prelude::{Closure, wasm_bindgen};
use wasm_bindgen::{JsCast, JsValue};
use worker::{Error, Response, Result};

/// How often, in milliseconds, the lease is renewed, and the client's connection kept from being taken for dead.
const PING: u32 = 30_000;

/// How many messages may wait for a client that is slow, of as many bytes as for a socket; with one more it is cut off, and may
/// resume.
const MAX_WAITING: usize = 64;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(catch, js_name = setInterval)]
    fn set_interval(callback: &Function, millis: u32) -> Result<i32, JsValue>;
    #[wasm_bindgen(js_name = clearInterval)]
    fn clear_interval(timer: i32);

    #[wasm_bindgen(js_name = EventTarget)]
    #[derive(Clone)]
    type Target;
    #[wasm_bindgen(method, catch, js_name = addEventListener)]
    fn on(this: &Target, event: &str, listener: &Function) -> Result<(), JsValue>;

    #[wasm_bindgen(extends = Target, js_name = WebSocket)]
    #[derive(Clone)]
    type Socket;
    #[wasm_bindgen(method, catch)]
    fn accept(this: &Socket) -> Result<(), JsValue>;
    #[wasm_bindgen(method, catch)]
    fn send(this: &Socket, text: &str) -> Result<(), JsValue>;
    #[wasm_bindgen(method, catch)]
    fn close(this: &Socket, code: u16, reason: &str) -> Result<(), JsValue>;
}

/// What there is to pass on; `None` when the socket was closed.
type Heard = Option<String>;

/// The answer that tells what a socket does.
pub fn relay(opened: &web_sys::Response, asked: &Asked, caller: &Caller) -> Result<web_sys::Response> {
    let socket: Socket = Reflect::get(opened, &"webSocket".into())?.dyn_into().map_err(|_| broken())?;
    let (sender, heard) = channel::<Heard>(MAX_WAITING);
    let (mut to_say, mut to_ping, mut to_end) = (sender.clone(), sender.clone(), sender);
    // How many bytes wait for the client, and how long the longest message was.
    let unread = Rc::new(Cell::new(0_usize));
    let (waiting, mut longest) = (unread.clone(), 0);
    listen(&socket, "message", move |event| {
        let text = Reflect::get(&event, &"data".into()).ok().and_then(|data| data.as_string());
        let Some(text) = text.filter(|text| text != "pong") else { return true };
        if waiting.get() > longest + SOCKET_UNREAD {
            to_say.close_channel();
            return false;
        }
        longest = longest.max(text.len());
        waiting.set(waiting.get() + text.len());
        pass_on(&mut to_say, Some(text))
    })?;
    listen(&socket, "close", move |_| pass_on(&mut to_end, None))?;
    // The runtime does not cancel a stream whose client has gone, but says so by the request's signal.
    let signal: Target = Reflect::get(&asked.raw, &"signal".into())?.unchecked_into();
    let gone = socket.clone();
    listen(&signal, "abort", move |_| gone.close(1000, "").is_ok())?;
    socket.accept()?;
    // A timer of the runtime's own: our `Delay` wakes whoever polled it first, which is another one with each event.
    let timer = Rc::new(Cell::new(None));
    let (own, over) = (timer.clone(), socket.clone());
    let ping: Closure<dyn FnMut()> = Closure::own_assert_unwind_safe(move || {
        if !pass_on(&mut to_ping, Some("ping".to_owned())) {
            own.get().into_iter().for_each(clear_interval);
            let _ = over.close(1000, "");
        }
    });
    timer.set(set_interval(ping.into_js_value().unchecked_ref(), PING).ok());
    let heard = heard.take_while(|heard| std::future::ready(heard.is_some()));
    let events = heard.filter_map(move |heard| {
        let text = heard.unwrap_or_default();
        let event = match text.as_str() {
            // A comment, so that whatever lies between sees that we are there.
            "ping" => socket.send("ping").is_ok().then(|| ":\n\n".to_owned()),
            _ => {
                unread.set(unread.get().saturating_sub(text.len()));
                Event::of(&text).map(|event| event.to_string())
            }
        };
        std::future::ready(event.map(|event| Ok::<_, Error>(event.into_bytes())))
    });
    let response: web_sys::Response = Response::from_stream(events)?.into();
    let headers = response.headers();
    let reply = Reply::new(200, "text/event-stream", "").with("cache-control", "no-store");
    for (name, value) in &caller.allow(reply).headers {
        headers.set(name, value)?;
    }
    Ok(response)
}

/// Passes something on, unless the client is too slow: then the stream ends with what it has.
fn pass_on(sender: &mut Sender<Heard>, heard: Heard) -> bool {
    let kept = sender.try_send(heard).is_ok();
    if !kept {
        sender.close_channel();
    }
    kept
}

fn listen(target: &Target, event: &str, listener: impl FnMut(JsValue) -> bool + 'static) -> Result<()> {
    let listener: Closure<dyn FnMut(JsValue) -> bool> = Closure::own_assert_unwind_safe(listener);
    // It is the target's from now on, and goes with it.
    Ok(target.on(event, listener.into_js_value().unchecked_ref())?)
}

fn broken() -> Error {
    Error::RustError("there is no socket in the answer".into())
}
