//! Somebody comes to watch.

use super::calls::{self, Opened};
use super::relay_object::RELAYS;
use super::request::Asked;
use super::{clock, events, keys, recording, sites, sockets, who};
use crate::config::Config;
use crate::http::Headers;
use crate::http::cors::Caller;
use crate::http::problem::Problem;
use crate::http::report::Seen;
use crate::http::route::Live;
use crate::identity::access::Standing;
use crate::identity::memory::Memory;
use crate::identity::{Known, User};
use crate::presence::id::{SiteName, TabId};
use crate::presence::member::{Evidence, MemberKey, State};
use crate::presence::shards::Shards;
use crate::presence::time::{Millis, Seconds, Timestamp};
use crate::protocol::call::{Entry, Refusal, Watcher};
use crate::protocol::live::View;
use std::cell::RefCell;
use worker::{Env, Response, console_error};

/// For how long it is believed that relays are full, and which is not.
const ROOMY_FOR: Seconds = Seconds(10);

thread_local! {
    static ROOMY: RefCell<Memory<SiteName, u32>> = RefCell::new(Memory::default());
}

/// For how long somebody watches by a login that was looked up: then it is to be looked up again.
const RECHECK: Seconds = Seconds(3600);

/// Lets somebody watch, if they may.
pub async fn open(live: Live, asked: &Asked, config: &Config, env: &Env) -> Result<web_sys::Response, Problem> {
    let socket = asked.get("upgrade").is_some_and(|to| to.eq_ignore_ascii_case("websocket"));
    if !socket && !asked.get("accept").is_some_and(|types| types.contains("text/event-stream")) {
        return Err(Problem::UpgradeRequired);
    }
    let asked = asked.with_token(live.token.clone());
    // A client that was cut off says by itself what it heard last.
    let heard = asked.get("last-event-id").and_then(|id| id.parse().ok());
    let live = Live { since: heard.or(live.since), ..live };
    let site = asked.site(config)?;
    // A page elsewhere could else watch with its reader's cookies.
    let caller = Caller::of(&asked, &asked.host, &config.allowed_origins)?;
    if !sites::register(&site, config, env).await {
        return Err(Problem::Unavailable);
    }
    let mut entry = entry(live, &asked, &site, config, env).await?;
    // The page may have been asked for a moment ago: it tells that, too.
    let along = recording::take_along(&site, entry.who.key.borrow());
    entry.signals.splice(0..0, along.iter().cloned());
    let opened = match config.shards {
        Shards::ONE => calls::open(env, calls::Object::Presence(&site, 0), &entry).await,
        _ => open_relay(&site, &entry, env).await,
    };
    if !matches!(opened, Ok(Opened::Socket(_))) {
        recording::take_back(&site, along);
    }
    let answer = match opened {
        Ok(Opened::Socket(opened)) if socket => Ok(opened),
        Ok(Opened::Socket(opened)) => events::relay(&opened, &asked, &caller),
        Ok(Opened::Refused(refusal)) if socket => closed(&refusal),
        Ok(Opened::Refused(_) | Opened::Elsewhere) => return Err(Problem::TooManyAttempts(Seconds(60))),
        Err(error) => Err(error),
    };
    answer.map_err(|error| {
        console_error!("nobody could watch: {error}");
        Problem::Unavailable
    })
}

/// Opens a WebSocket to a relay that has room, beginning with the one that had some last.
async fn open_relay(site: &SiteName, entry: &Entry, env: &Env) -> worker::Result<Opened> {
    let first = ROOMY.with_borrow(|roomy| roomy.recall(site, clock::now())).flatten().unwrap_or_default();
    for number in first..RELAYS {
        match calls::open(env, calls::Object::Relay(site, number), entry).await? {
            Opened::Elsewhere => {
                let next = clock::now().plus(ROOMY_FOR);
                ROOMY.with_borrow_mut(|roomy| roomy.keep(site.clone(), next, Some(number + 1)));
            }
            opened => return Ok(opened),
        }
    }
    Ok(Opened::Elsewhere)
}

/// An answer with a WebSocket that is closed at once: a page is not told why one was never opened.
fn closed(refusal: &Refusal) -> worker::Result<web_sys::Response> {
    let client = sockets::closed(refusal.code, &refusal.why)?;
    Ok(Response::from_websocket(client.into())?.into())
}

async fn entry(live: Live, asked: &Asked, site: &SiteName, config: &Config, env: &Env) -> Result<Entry, Problem> {
    let subjects = live.watch.subjects();
    let asker = asked.asker(site.clone(), config);
    let standing = match config.access.restricts(&subjects) {
        true => who::standing(asked, site, config, env).await?,
        false if asker.has_credentials() => who::standing_if_known(asked, site, config, env).await,
        false => Standing::default(),
    };
    let scope = config.access.scope(&subjects, &standing);
    let scope = scope.map_err(|denied| who::refusal(denied, asked, config))?;
    // Where they see no more than any user does, or show the admin token, nothing has to be looked up again.
    let plain = standing.user.clone().map(|user| User { perms: Vec::new(), ..user });
    let plain = Standing { user: plain, ..Standing::default() };
    let depends = !standing.admin && config.access.scope(&subjects, &plain) != Ok(scope);
    let perms = standing.user.filter(|_| depends).map(|user| user.perms);
    let view = View { watch: live.watch, scope };
    let keys = keys::get(config, site, env, calls::PATIENCE).await.map_err(|error| {
        console_error!("no keys: {error}");
        calls::problem(&error, "The site's secret")
    })?;
    let known = who::look_up(&asker, &keys, &config.access, false, env).await.unwrap_or_default();
    let (now, window, keys) = (clock::now(), config.window(), &*keys);
    let visitor = who::visitor(&asker, known.as_ref(), keys, config);
    let tab = match live.tab {
        Some(tab) => tab,
        None => TabId(random()?),
    };
    let signals = visitor.touch(Seen { place: None, tab: Some(tab), state: State::Online, arrives: true });
    let (who, good_until) = match &known {
        Some(known) => {
            let user = known.user();
            let key = MemberKey::User(user.id.clone());
            let evidence = known.evidence();
            let said = Some(Evidence { said: evidence.said.or(Some(now)), ..evidence });
            let who = Watcher { key, profile: user.profile.clone(), said };
            match known {
                Known::Signed(claims) => (who, claims.until),
                Known::LoggedIn { .. } => (who, now.plus(RECHECK)),
            }
        }
        None => {
            let midnight = Timestamp::from_millis((now.day() + 1) * 86_400_000);
            // Within half a window after midnight who they were is still known; and not all of them at once.
            let later = Millis(random()? % window.0.saturating_mul(500).max(1));
            (Watcher { key: asker.stranger(keys, now), profile: None, said: None }, midnight.plus(later))
        }
    };
    Ok(Entry { view, perms, good_until, since: live.since, who, tab, signals })
}

fn random() -> Result<u32, Problem> {
    let mut bytes = [0; 4];
    getrandom::fill(&mut bytes).map_err(|_| Problem::Internal)?;
    Ok(u32::from_le_bytes(bytes))
}
