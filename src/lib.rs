//! **whos-online**: presence for any website, as a Cloudflare Worker.
//!
//! A request comes in at [`worker`](mod@worker), the shell; everything that is decided is decided by the pure modules:
//!
//! | room | what is in it |
//! | --- | --- |
//! | [`presence`] | the core: who is online, the ring, its stored form, the recorder's memory |
//! | [`identity`] | who is asking: the origin's word, tokens and cookies, guests, bots |
//! | [`http`] | requests to routes, outcomes to replies, problems, CORS, conditions; blocks in pages |
//! | [`protocol`] | the JSON of the public interface, the badge, the calls between Worker and objects |
//! | [`config`] | every setting, its default and its bounds |
//! | `worker` | the only code that sees the platform; on wasm32 alone |

pub mod config;
pub mod http;
pub mod identity;
pub mod presence;
pub mod protocol;
#[cfg(target_arch = "wasm32")]
mod worker;
