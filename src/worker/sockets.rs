//! The platform's hibernating WebSockets, as far as we need them: an object may sleep while they stay open.

use js_sys::{Array, Date, Reflect, Uint8Array};
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast, JsValue};
use worker::State;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_name = DurableObjectState)]
    type Context;
    #[wasm_bindgen(method, catch, js_name = acceptWebSocket)]
    fn accept(this: &Context, socket: &web_sys::WebSocket) -> Result<(), JsValue>;
    #[wasm_bindgen(method, catch, js_name = getWebSockets)]
    fn all(this: &Context) -> Result<Array, JsValue>;
    #[wasm_bindgen(method, catch, js_name = setWebSocketAutoResponse)]
    fn answer_by_itself(this: &Context, exchange: &Exchange) -> Result<(), JsValue>;
    #[wasm_bindgen(method, catch, js_name = getWebSocketAutoResponseTimestamp)]
    fn answered_at(this: &Context, socket: &web_sys::WebSocket) -> Result<Option<Date>, JsValue>;

    #[wasm_bindgen(js_name = WebSocketRequestResponsePair)]
    type Exchange;
    #[wasm_bindgen(constructor, catch, js_class = WebSocketRequestResponsePair)]
    fn new(request: &str, response: &str) -> Result<Exchange, JsValue>;

    #[wasm_bindgen(js_name = WebSocketPair)]
    type Pair;
    #[wasm_bindgen(constructor, catch, js_class = WebSocketPair)]
    fn new() -> Result<Pair, JsValue>;

    #[wasm_bindgen(js_name = WebSocket)]
    type Socket;
    #[wasm_bindgen(method, catch, js_name = serializeAttachment)]
    fn attach(this: &Socket, value: &JsValue) -> Result<(), JsValue>;
    #[wasm_bindgen(method, catch, js_name = accept)]
    fn begin(this: &Socket) -> Result<(), JsValue>;
    #[wasm_bindgen(method, catch)]
    fn send(this: &Socket, message: &JsValue) -> Result<(), JsValue>;
    #[wasm_bindgen(method, catch, js_name = deserializeAttachment)]
    fn attached(this: &Socket) -> Result<JsValue, JsValue>;
}

/// The sockets of an object.
pub struct Sockets(Context);

impl Sockets {
    /// Those of the object with this state. `ping` is answered with `pong` without waking it.
    pub fn of(state: &State) -> Self {
        let context: &JsValue = state.as_raw().as_ref();
        let context: Context = context.clone().unchecked_into();
        // Where that fails, an object is woken by each ping, and answers.
        if let Ok(exchange) = Exchange::new("ping", "pong") {
            let _ = context.answer_by_itself(&exchange);
        }
        Self(context)
    }

    /// Those that are open.
    pub fn open(&self) -> impl Iterator<Item = web_sys::WebSocket> {
        let all = self.0.all().unwrap_or_default();
        all.into_iter().map(|socket| socket.unchecked_into())
    }

    /// A new one that is accepted here: our end, and the client's.
    pub fn accept(&self) -> Result<(web_sys::WebSocket, web_sys::WebSocket), JsValue> {
        let (server, client) = pair()?;
        self.0.accept(&server)?;
        Ok((server, client))
    }

    /// When it was last answered by itself, in milliseconds since the epoch.
    pub fn answered_at(&self, socket: &web_sys::WebSocket) -> Option<i64> {
        self.0.answered_at(socket).ok().flatten().map(|date| date.get_time() as i64)
    }
}

/// The client's end of a new one that is closed already.
pub fn closed(code: u16, why: &str) -> Result<web_sys::WebSocket, JsValue> {
    let (server, client) = pair()?;
    server.unchecked_ref::<Socket>().begin()?;
    server.close_with_code_and_reason(code, why)?;
    Ok(client)
}

fn pair() -> Result<(web_sys::WebSocket, web_sys::WebSocket), JsValue> {
    let pair = Pair::new()?;
    let end = |index| Ok::<web_sys::WebSocket, JsValue>(Reflect::get_u32(&pair, index)?.unchecked_into());
    Ok((end(1)?, end(0)?))
}

/// Sends a text that is the runtime's already: for thousands it is handed over once.
pub fn send(socket: &web_sys::WebSocket, message: &JsValue) {
    let _ = socket.unchecked_ref::<Socket>().send(message);
}

/// Keeps something with a socket, which outlives our memory. It does not outlive a deployment, which closes every socket, so
/// that its form may change with each release.
pub fn attach(socket: &web_sys::WebSocket, data: &[u8]) {
    let _ = socket.unchecked_ref::<Socket>().attach(&Uint8Array::from(data));
}

/// What is kept with it.
pub fn attached(socket: &web_sys::WebSocket) -> Option<Vec<u8>> {
    let kept = socket.unchecked_ref::<Socket>().attached().ok()?;
    Some(kept.dyn_into::<Uint8Array>().ok()?.to_vec())
}
