//! Blocks in pages are shown or taken out, and the widget put in, by the runtime's own parser as the page streams through.

use crate::http::page::{Found, IF, IF_NOT, MARKER, first_marker, shows};
use crate::identity::access::Standing;
use futures_util::future::{FutureExt, LocalBoxFuture, Shared, ready};
use futures_util::{StreamExt, stream};
use js_sys::futures::{JsFuture, future_to_promise};
use js_sys::{ArrayBuffer, Object, Promise, Reflect, RegExp, Uint8Array};
use std::cell::{Cell, RefCell};
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use wasm_bindgen::prelude::{Closure, wasm_bindgen};
use wasm_bindgen::{JsCast, JsValue};
use worker::Error;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_name = HTMLRewriter)]
    type HtmlRewriter;
    #[wasm_bindgen(constructor, js_class = HTMLRewriter)]
    fn new() -> HtmlRewriter;
    #[wasm_bindgen(method, catch)]
    fn on(this: &HtmlRewriter, selector: &str, handlers: &Object) -> Result<HtmlRewriter, JsValue>;
    #[wasm_bindgen(method, catch, js_name = onDocument)]
    fn on_document(this: &HtmlRewriter, handlers: &Object) -> Result<HtmlRewriter, JsValue>;
    #[wasm_bindgen(method, catch)]
    fn transform(this: &HtmlRewriter, response: &web_sys::Response) -> Result<web_sys::Response, JsValue>;

    /// An element, a piece of text, a comment or the end of the document.
    #[wasm_bindgen(js_name = Object)]
    #[derive(Clone)]
    type Token;
    #[wasm_bindgen(method, getter, js_name = tagName)]
    fn tag_name(this: &Token) -> String;
    #[wasm_bindgen(method, getter)]
    fn text(this: &Token) -> String;
    #[wasm_bindgen(method, getter, js_name = lastInTextNode)]
    fn last_in_text_node(this: &Token) -> bool;
    #[wasm_bindgen(method, catch, js_name = getAttribute)]
    fn get_attribute(this: &Token, name: &str) -> Result<Option<String>, JsValue>;
    #[wasm_bindgen(method, catch)]
    fn remove(this: &Token) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, catch, js_name = removeAndKeepContent)]
    fn remove_and_keep_content(this: &Token) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, catch)]
    fn append(this: &Token, content: &str, options: &Object) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, catch)]
    fn replace(this: &Token, content: &str, options: &Object) -> Result<JsValue, JsValue>;

    #[wasm_bindgen(js_name = ReadableStream)]
    type Stream;
    #[wasm_bindgen(method, catch, js_name = getReader)]
    fn reader(this: &Stream) -> Result<StreamReader, JsValue>;
    #[wasm_bindgen(js_name = ReadableStreamDefaultReader)]
    type StreamReader;
    #[wasm_bindgen(method, catch)]
    fn read(this: &StreamReader) -> Result<Promise, JsValue>;

    #[wasm_bindgen(js_name = TextDecoder)]
    type TextDecoder;
    #[wasm_bindgen(constructor, js_class = TextDecoder, catch)]
    fn new(encoding: &str) -> Result<TextDecoder, JsValue>;
    #[wasm_bindgen(method, catch)]
    fn decode(this: &TextDecoder, bytes: &JsValue) -> Result<js_sys::JsString, JsValue>;
}

/// Elements whose content the parser takes for text, though a browser may show it as markup.
const RAW: &str = "noscript";

thread_local! {
    static FINDER: RegExp = RegExp::new(MARKER, "i");
    // One character a byte, whatever it means: the marker is ASCII.
    static DECODER: Option<TextDecoder> = TextDecoder::new("latin1").ok();
}

/// Who looks at a page, as soon as that is known.
pub type Viewer = Shared<LocalBoxFuture<'static, Rc<Standing>>>;

/// The body of a short page.
pub async fn body(response: &web_sys::Response) -> Result<ArrayBuffer, JsValue> {
    Ok(JsFuture::from(response.array_buffer()?).await?.unchecked_into())
}

/// Whether a page holds anything that looks like a block.
pub fn has_blocks(body: &ArrayBuffer) -> bool {
    let text = DECODER.with(|decoder| decoder.as_ref()?.decode(body).ok());
    // Where it cannot be read there may be one.
    text.is_none_or(|text| found(&text))
}

/// A page that is being rewritten.
pub struct Rewriting {
    rewriter: HtmlRewriter,
}

impl Rewriting {
    /// A page of which everything stays as it is.
    pub fn new() -> Self {
        Self { rewriter: HtmlRewriter::new() }
    }

    /// Shows blocks to those who may see them, and takes out the others.
    pub fn with_blocks(self, viewer: Viewer) -> Result<Self, JsValue> {
        let mut rewriter = self.rewriter;
        for block in [IF, IF_NOT] {
            let viewer = viewer.clone();
            rewriter = rewriter.on(block, &handler("element", move |element| settle(element, &viewer))?)?;
        }
        // A block in a comment is none, and what is in it is not for everybody either.
        let comment =
            handler(
                "comments",
                |comment: Token| {
                    if found(&comment.text().into()) { comment.remove() } else { Ok(JsValue::UNDEFINED) }
                },
            )?;
        let text = RefCell::new(String::new());
        let raw = handler("text", move |chunk: Token| {
            let mut text = text.borrow_mut();
            text.push_str(&chunk.text());
            if !chunk.last_in_text_node() {
                return chunk.remove();
            }
            let whole = std::mem::take(&mut *text);
            let shown = if found(&whole.as_str().into()) { "" } else { &whole };
            chunk.replace(shown, &as_html()?)
        })?;
        Ok(Self { rewriter: rewriter.on_document(&comment)?.on(RAW, &raw)? })
    }

    /// Puts a script into the page's head, or at its end where it has no head.
    pub fn with_script(self, address: &str) -> Result<Self, JsValue> {
        let (script, done) = (format!("<script src=\"{address}\" async></script>"), Rc::new(Cell::new(false)));
        let (again, done_already) = (script.clone(), done.clone());
        let head = handler("element", move |head: Token| {
            done.set(true);
            head.append(&script, &as_html()?)
        })?;
        let end =
            handler(
                "end",
                move |end: Token| {
                    if done_already.get() { Ok(JsValue::UNDEFINED) } else { end.append(&again, &as_html()?) }
                },
            )?;
        Ok(Self { rewriter: self.rewriter.on("head", &head)?.on_document(&end)? })
    }

    /// The page that comes of it.
    pub fn of(self, response: &web_sys::Response) -> Result<web_sys::Response, JsValue> {
        let headers = response.headers();
        let Some(named) = headers.get("content-type")? else { return self.rewriter.transform(response) };
        // Of an encoding that it does not know, all that matters is that it agrees with ASCII.
        let known = self.rewriter.transform(response);
        known.or_else(|_| {
            let init: &web_sys::ResponseInit = response.unchecked_ref();
            let body = response.body();
            let copy = web_sys::Response::new_with_opt_readable_stream_and_init(body.as_ref(), init)?;
            copy.headers().set("content-type", "text/html; charset=windows-1252")?;
            let page = self.rewriter.transform(&copy)?;
            page.headers().set("content-type", &named)?;
            Ok(page)
        })
    }
}

/// The same page, rewritten from its first block on: what comes before is not touched, and neither is a page without one.
/// The parser is particular, and a page that it would not take is none of its business if there is nothing to do.
pub fn from_first_block(
    response: &web_sys::Response,
    rewriting: impl FnOnce() -> Result<Rewriting, JsValue> + 'static,
) -> Result<web_sys::Response, JsValue> {
    let Some(body) = response.body() else { return response.clone() };
    let reader = Reader::of(&body)?;
    let like = Clone::clone(response);
    let stage = Stage::Before { reader, held: Vec::new(), rewriting: Box::new(rewriting) };
    let pieces = stream::try_unfold((stage, like), |(stage, like)| async move {
        let (piece, stage) = stage.next(&like).await.map_err(Error::from)?;
        Ok::<_, Error>(piece.map(|piece| (piece, (stage, like))))
    });
    let body: web_sys::Response = worker::Response::from_stream(pieces).map_err(JsValue::from)?.into();
    let init: &web_sys::ResponseInit = response.unchecked_ref();
    web_sys::Response::new_with_opt_readable_stream_and_init(body.body().as_ref(), init)
}

type Begin = Box<dyn FnOnce() -> Result<Rewriting, JsValue>>;

/// How far a page has come.
enum Stage {
    /// No block yet. Last bytes that may begin a marker are held.
    Before { reader: Reader, held: Vec<u8>, rewriting: Begin },
    /// What comes out of the parser, or after the end.
    After(Option<Reader>),
}

impl Stage {
    /// The next piece; `None` at the end.
    async fn next(self, like: &web_sys::Response) -> Result<(Option<Vec<u8>>, Self), JsValue> {
        let (reader, mut held, rewriting) = match self {
            Self::Before { reader, held, rewriting } => (reader, held, rewriting),
            Self::After(None) => return Ok((None, Self::After(None))),
            Self::After(Some(reader)) => {
                let piece = reader.read().await?;
                return Ok((piece.map(|piece| piece.to_vec()), Self::After(Some(reader))));
            }
        };
        let Some(piece) = reader.read().await? else { return Ok((Some(held), Self::After(None))) };
        held.extend(piece.to_vec());
        let found = first_marker(&held);
        if let Some(Found::Whole(at)) = found {
            let rest = held.split_off(at);
            let first = stream::once(ready(Ok::<_, Error>(rest)));
            let others = stream::try_unfold(reader, |reader| async move {
                let piece = reader.read().await.map_err(Error::from)?;
                Ok(piece.map(|piece| (piece.to_vec(), reader)))
            });
            let rest: web_sys::Response = worker::Response::from_stream(first.chain(others))?.into();
            let init: &web_sys::ResponseInit = like.unchecked_ref();
            let rest = web_sys::Response::new_with_opt_readable_stream_and_init(rest.body().as_ref(), init)?;
            let rewritten = rewriting()?.of(&rest)?;
            let reader = rewritten.body().map(|body| Reader::of(&body)).transpose()?;
            return Ok((Some(held), Self::After(reader)));
        }
        let rest = if let Some(Found::Begun(at)) = found { held.split_off(at) } else { Vec::new() };
        Ok((Some(held), Self::Before { reader, held: rest, rewriting }))
    }
}

/// Reads a stream piece by piece.
struct Reader(StreamReader);

impl Reader {
    fn of(body: &web_sys::ReadableStream) -> Result<Self, JsValue> {
        Ok(Self(body.unchecked_ref::<Stream>().reader()?))
    }

    async fn read(&self) -> Result<Option<Uint8Array>, JsValue> {
        let read = JsFuture::from(self.0.read()?).await?;
        Ok(Reflect::get(&read, &"value".into())?.dyn_into().ok())
    }
}

/// Shows a block or takes it out, as soon as it is known who looks.
fn settle(block: Token, viewer: &Viewer) -> Result<JsValue, JsValue> {
    if let Some(standing) = viewer.peek() {
        return act(&block, standing);
    }
    let viewer = viewer.clone();
    Ok(future_to_promise(AssertUnwindSafe(async move { act(&block, &*viewer.await) })).into())
}

fn act(block: &Token, standing: &Standing) -> Result<JsValue, JsValue> {
    let (can, on) = (block.get_attribute("can")?, block.get_attribute("on")?);
    let shown = shows(&block.tag_name(), can.as_deref(), on.as_deref(), standing);
    if shown { block.remove_and_keep_content() } else { block.remove() }
}

/// Handlers with one of a name. It is the runtime's from now on, which lets go of it with the page.
fn handler(name: &str, handle: impl FnMut(Token) -> Result<JsValue, JsValue> + 'static) -> Result<Object, JsValue> {
    let closure: Closure<dyn FnMut(Token) -> Result<JsValue, JsValue>> = Closure::own_assert_unwind_safe(handle);
    let handlers = Object::new();
    Reflect::set(&handlers, &name.into(), &closure.into_js_value())?;
    Ok(handlers)
}

fn as_html() -> Result<Object, JsValue> {
    let options = Object::new();
    Reflect::set(&options, &"html".into(), &JsValue::TRUE)?;
    Ok(options)
}

fn found(text: &js_sys::JsString) -> bool {
    FINDER.with(|finder| text.search(finder) >= 0)
}

/// Somebody of whom is known already what they may do.
pub fn known(standing: Rc<Standing>) -> Viewer {
    futures_util::future::ready(standing).boxed_local().shared()
}
