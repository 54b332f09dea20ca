//! Rewrites an answer as it streams: its blocks are cut for whoever looks, and the widget's script is put in.

use crate::http::blocks::{Cutter, Next};
use crate::http::inject::Injector;
use crate::http::page::Coding;
use crate::identity::access::Standing;
use futures_util::future::LocalBoxFuture;
use futures_util::stream;
use js_sys::futures::JsFuture;
use js_sys::{Promise, Reflect, Uint8Array};
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast, JsValue};
use worker::{Error, console_error};

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_name = ReadableStream)]
    type Stream;
    #[wasm_bindgen(method, catch, js_name = getReader)]
    fn reader(this: &Stream) -> Result<StreamReader, JsValue>;
    #[wasm_bindgen(method, catch, js_name = pipeThrough)]
    fn pipe_through(this: &Stream, transform: &DecompressionStream) -> Result<Stream, JsValue>;

    #[wasm_bindgen(js_name = ReadableStreamDefaultReader)]
    type StreamReader;
    #[wasm_bindgen(method, catch)]
    fn read(this: &StreamReader) -> Result<Promise, JsValue>;
    #[wasm_bindgen(method, catch)]
    fn cancel(this: &StreamReader) -> Result<Promise, JsValue>;

    type DecompressionStream;
    #[wasm_bindgen(constructor, catch)]
    fn new(format: &str) -> Result<DecompressionStream, JsValue>;
}

/// What is done to an answer.
pub struct Rewriting {
    /// Cuts its blocks.
    pub cutter: Cutter,
    /// What has to be undone before that.
    pub coding: Coding,
    /// Who looks. Nobody asks for it before the first block.
    pub viewer: LocalBoxFuture<'static, Standing>,
    /// Puts the script in.
    pub injector: Option<Injector>,
    /// What the log says where the answer ends early.
    pub path: String,
}

impl Rewriting {
    /// The answer that comes of it. It has the headers of the one before.
    pub fn of(self, response: &web_sys::Response) -> Result<web_sys::Response, JsValue> {
        let init: &web_sys::ResponseInit = response.unchecked_ref();
        let body: Option<Stream> = response.body().map(JsCast::unchecked_into);
        let reader = match (body, self.coding) {
            (None, _) | (_, Coding::Empty) => {
                return web_sys::Response::new_with_opt_readable_stream_and_init(None, init);
            }
            (Some(body), Coding::Plain) => body.reader()?,
            (Some(body), Coding::Stream(format)) => body.pipe_through(&DecompressionStream::new(format)?)?.reader()?,
        };
        let state = State { rewriting: self, reader, standing: None, ended: false };
        let pieces = stream::try_unfold(state, |mut state| async move {
            let piece = state.next().await.map_err(Error::from)?;
            Ok::<_, Error>(piece.map(|piece| (piece, state)))
        });
        let body: web_sys::Response = worker::Response::from_stream(pieces).map_err(JsValue::from)?.into();
        web_sys::Response::new_with_opt_readable_stream_and_init(body.body().as_ref(), init)
    }
}

/// How far an answer has come.
struct State {
    rewriting: Rewriting,
    reader: StreamReader,
    standing: Option<Standing>,
    ended: bool,
}

impl State {
    /// The next piece; `None` at the end.
    async fn next(&mut self) -> Result<Option<Vec<u8>>, JsValue> {
        while !self.ended {
            let Rewriting { cutter, injector, viewer, path, .. } = &mut self.rewriting;
            let out = match cutter.next(self.standing.as_ref()) {
                Next::Bytes(bytes) => match injector {
                    Some(injector) => injector.push(bytes),
                    None => bytes,
                },
                Next::Piece => {
                    match read(&self.reader).await? {
                        Some(piece) => cutter.push(&piece),
                        None => cutter.finish(),
                    }
                    continue;
                }
                Next::Viewer => {
                    self.standing = Some(viewer.await);
                    continue;
                }
                Next::End(fault) => {
                    self.ended = true;
                    if let Some(fault) = fault {
                        console_error!("{path} was cut off at {fault}");
                        // What is left of it matters no more, nor whether that can be said.
                        let _ = self.reader.cancel().map(JsFuture::from);
                    }
                    injector.as_mut().map(Injector::finish).unwrap_or_default()
                }
            };
            if !out.is_empty() {
                return Ok(Some(out));
            }
        }
        Ok(None)
    }
}

async fn read(reader: &StreamReader) -> Result<Option<Vec<u8>>, JsValue> {
    let read = JsFuture::from(reader.read()?).await?;
    let piece: Option<Uint8Array> = Reflect::get(&read, &"value".into())?.dyn_into().ok();
    Ok(piece.map(|piece| piece.to_vec()))
}
