//! What one hostile client can cost a site: rows, memory, and other people's place on the lists.

use std::collections::HashSet;
use whos_online::presence::attention::Attention;
use whos_online::presence::bounds::Bounds;
use whos_online::presence::id::{ClientId, GuestKey, PagePath, TabId, Title, Topic, UserId};
use whos_online::presence::member::{Kind, MemberKey, Place, Profile, Signal, State, Touch};
use whos_online::presence::recorder::Recorder;
use whos_online::presence::reports::Report;
use whos_online::presence::site::{Filter, Outcome, Site};
use whos_online::presence::time::{Millis, Seconds, Timestamp};

const WINDOW: Seconds = Seconds(330);
const ATTACKER: ClientId = ClientId(666);

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(1_795_203_180_000 + millis)
}

fn guest(client: ClientId, browser: u32) -> MemberKey {
    MemberKey::Guest(GuestKey::new(client, browser))
}

fn user(name: &str) -> MemberKey {
    MemberKey::User(UserId::parse(name).unwrap())
}

fn touch(key: MemberKey) -> Touch {
    Touch::of(key)
}

fn place(path: &str, title: Option<&str>, topic: Option<&str>) -> Option<Place> {
    let title = title.and_then(|title| Title::parse(title).ok());
    Some(Place { path: PagePath::parse(path).unwrap(), title, topic: topic.and_then(|topic| Topic::parse(topic).ok()) })
}

/// What a hostile client sends as its request of that number: everything is another one each time.
fn hostile(number: u32) -> Signal {
    let key = if number.is_multiple_of(7) {
        MemberKey::Bot(GuestKey::new(ATTACKER, number))
    } else {
        guest(ATTACKER, number % 1009)
    };
    if number.is_multiple_of(5) {
        return Signal::Leave { key, tab: None };
    }
    let (path, text) = (format!("/{number}"), number.to_string());
    let (place, tab) = (place(&path, Some(&text), Some(&format!("user:{}", number % 10_000))), Some(TabId(number)));
    let state = if number.is_multiple_of(2) { State::Away } else { State::Online };
    Signal::Touch(Touch { place, tab, state, ..touch(key) })
}

/// Isolates that record, and the site that they record for.
struct World {
    isolates: Vec<(Recorder, Option<i64>)>,
    site: Site,
    rows: usize,
    batches: usize,
}

impl World {
    fn new(isolates: usize) -> Self {
        let recorder = |_| (Recorder::new(Seconds(30), WINDOW, at(0)).with_budgets(64), None);
        let bounds = Bounds { client_guests: Some(64), ..Bounds::from(WINDOW) };
        let isolates = (0..isolates).map(recorder).collect();
        Self { isolates, site: Site::new(bounds, at(0)), rows: 0, batches: 0 }
    }

    fn take(&mut self, isolate: usize, millis: i64, signal: Signal) {
        let (recorder, due) = &mut self.isolates[isolate];
        if let Some(hold) = recorder.take(at(millis), signal) {
            let next = millis + i64::from(hold.0);
            *due = Some(due.map_or(next, |due| due.min(next)));
        }
    }

    /// Sends what is due.
    fn go_on(&mut self, millis: i64) {
        for isolate in 0..self.isolates.len() {
            let (recorder, due) = &mut self.isolates[isolate];
            if due.is_some_and(|due| due <= millis) {
                *due = None;
                let reports = recorder.drain(at(millis));
                self.batches += 1;
                let outcome = self.site.apply(at(millis), reports);
                // Somebody asks all the time, so that nothing waits.
                self.isolates[isolate].0.heed(at(millis), at(millis), Attention::Asked);
                self.keep(outcome);
            }
        }
    }

    fn keep(&mut self, outcome: Outcome) {
        self.rows += outcome.writes.len() + outcome.views.len() + outcome.hidden.len();
    }

    fn count(&self, kind: Kind) -> usize {
        self.site.list(kind, &Filter::default(), None, usize::MAX).0.len()
    }

    fn of_client(&self, client: ClientId) -> usize {
        let (views, _) = self.site.list(Kind::Guest, &Filter::default(), None, usize::MAX);
        views.iter().filter(|view| matches!(view.key, MemberKey::Guest(key) if key.client() == client)).count()
    }
}

#[test]
fn a_minute_of_a_thousand_requests_a_second_of_one_client_costs_few_rows_and_nobody_their_place() {
    let mut world = World::new(1);
    for number in 0..100 {
        world.take(
            0,
            0,
            Signal::Touch(Touch { place: place("/forum", None, None), ..touch(guest(ClientId(number), 0)) }),
        );
    }
    for number in 0..20 {
        // They sit behind the same address: what a user may cost is their own.
        let here = place("/forum", Some("Forum"), Some("user:u0"));
        world.take(0, 0, Signal::Touch(Touch { place: here, ..touch(user(&format!("u{number}"))) }));
    }
    world.go_on(1000);
    let before = world.rows;
    for millis in 1000..61_000_u32 {
        world.take(0, millis.into(), hostile(millis));
        world.go_on(millis.into());
    }
    world.go_on(70_000);
    assert!(world.rows - before <= 80, "{} rows", world.rows - before);
    assert!(world.batches <= 60, "{} batches", world.batches);
    assert_eq!((world.count(Kind::User), world.of_client(ATTACKER) <= 64), (20, true));
    assert_eq!(world.count(Kind::Guest) - world.of_client(ATTACKER), 100);
    assert!(world.count(Kind::Bot) <= 64);
    assert!(world.site.peak().unwrap().total <= 120 + 64);
}

#[test]
fn whoever_is_served_by_many_isolates_costs_hardly_more() {
    let mut world = World::new(50);
    world.take(0, 0, Signal::Touch(touch(guest(ClientId(1), 0))));
    world.go_on(1000);
    let before = world.rows;
    for millis in 1000..61_000_u32 {
        world.take(millis as usize % 50, millis.into(), hostile(millis));
        world.go_on(millis.into());
    }
    world.go_on(70_000);
    assert!(world.rows - before <= 180, "{} rows", world.rows - before);
    assert!(world.batches > 500, "or it shows nothing: {}", world.batches);
    assert_eq!((world.of_client(ATTACKER) <= 64, world.of_client(ClientId(1))), (true, 1));
}

#[test]
fn one_more_guest_of_a_client_than_there_may_be_is_not_recorded_until_another_one_goes() {
    let bounds = Bounds { client_guests: Some(3), ..Bounds::from(WINDOW) };
    let mut site = Site::new(bounds, at(0));
    let tell = |site: &mut Site, millis, signal| site.apply(at(millis), vec![Report { age: Millis(0), signal }]);
    for browser in 0..5 {
        tell(&mut site, i64::from(browser), Signal::Touch(touch(guest(ATTACKER, browser))));
        tell(&mut site, i64::from(browser), Signal::Touch(touch(MemberKey::Bot(GuestKey::new(ATTACKER, browser)))));
    }
    tell(&mut site, 6, Signal::Touch(touch(guest(ClientId(1), 0))));
    let counts = site.counts();
    assert_eq!((counts.guests, counts.bots, site.totals.shed), (4, 3, 4), "each sort has room of its own");
    tell(&mut site, 7, Signal::Leave { key: guest(ATTACKER, 0), tab: None });
    site.advance(at(20_000));
    tell(&mut site, 20_000, Signal::Touch(touch(guest(ATTACKER, 9))));
    assert_eq!(site.counts().guests, 4);
    // A guest who signs in makes room for another one, too.
    tell(&mut site, 20_001, Signal::Touch(Touch { was: Some(guest(ATTACKER, 9)), ..touch(user("sally")) }));
    tell(&mut site, 20_002, Signal::Touch(touch(guest(ATTACKER, 10))));
    assert_eq!((site.counts().guests, site.counts().users), (4, 1));
}

#[test]
fn a_client_that_moves_too_often_stays_where_it_was_and_stays_online() {
    let mut recorder = Recorder::new(Seconds(30), WINDOW, at(0)).with_budgets(64);
    let go_to = |number: u32| {
        Signal::Touch(Touch { place: place(&format!("/{number}"), None, None), ..touch(guest(ATTACKER, 0)) })
    };
    for number in 0..1000 {
        recorder.take(at(number.into()), go_to(number));
    }
    let sent = Vec::<Report>::from(recorder.drain(at(2000))).len();
    assert!((200..300).contains(&sent), "{sent}");
    recorder.take(at(40_000), go_to(7));
    let sent: Vec<Report> = recorder.drain(at(50_000)).into();
    let Signal::Touch(last) = &sent[0].signal else { panic!("a touch") };
    assert_eq!(last.place.as_ref().unwrap().path.as_str(), "/7", "and half a minute later goes on");
}

#[test]
fn who_hides_or_signs_out_does_so_whatever_they_have_spent() {
    let bounds = Bounds { client_guests: Some(64), ..Bounds::from(WINDOW) };
    let mut site = Site::new(bounds, at(0));
    let mut rows = 0;
    let mut tell = |site: &mut Site, millis: i64, signal| {
        let outcome = site.apply(at(millis), vec![Report { age: Millis(0), signal }]);
        rows += outcome.writes.len();
        rows
    };
    let here = |number: i64| Touch { place: place(&format!("/{number}"), None, None), ..touch(user("sally")) };
    (0..1000).for_each(|number| _ = tell(&mut site, number, Signal::Touch(here(number))));
    let spent = tell(&mut site, 1000, Signal::Touch(here(1000)));
    assert!((240..260).contains(&spent), "{spent}");
    let hides = |invisible| Some(Profile { invisible, ..Profile::default() });
    tell(&mut site, 1001, Signal::Touch(Touch { profile: hides(true), ..here(1001) }));
    assert_eq!(site.invisible(), 1);
    let hidden = tell(&mut site, 1002, Signal::Touch(Touch { profile: hides(true), ..here(1002) }));
    assert_eq!(tell(&mut site, 1003, Signal::Touch(Touch { profile: hides(true), ..here(1003) })), hidden);
    tell(&mut site, 1004, Signal::SignOut { user: UserId::parse("sally").unwrap(), device: None });
    assert_eq!(site.counts().total, 0);
}

#[test]
fn of_what_is_looked_at_so_much_is_kept_for_a_client_and_for_each_user() {
    let bounds = Bounds { client_guests: Some(64), ..Bounds::from(WINDOW) };
    let views = |key: MemberKey| {
        let mut site = Site::new(bounds, at(0));
        let look =
            |number: i64| Touch { place: place("/a", None, Some(&format!("thread:{number}"))), ..touch(key.clone()) };
        let reports = (0..300).map(|number| Report { age: Millis(0), signal: Signal::Touch(look(number)) });
        let outcome = site.apply(at(0), reports.collect::<Vec<_>>());
        outcome.views.iter().map(|view| view.topic.clone()).collect::<HashSet<_>>().len()
    };
    assert_eq!((views(guest(ATTACKER, 0)), views(user("sally"))), (20, 119));
}

/// So many thousand members where each costs most: on pages, under titles and about topics of their own, with several tabs,
/// and all of them touched at once.
fn crowd(thousands: u32) -> Site {
    let mut site = Site::new(Bounds { places: usize::MAX, ..Bounds::from(WINDOW) }, at(0));
    for some in 0..thousands {
        let of = |number: u32| {
            let (path, text) = (format!("/page/{number}"), format!("{number}"));
            let topic = format!("user:{}", number % (thousands * 100));
            let key = if number.is_multiple_of(2) { user(&text) } else { guest(ClientId(number), 0) };
            let look = |tab| Touch {
                place: place(&path, Some(&text), Some(&topic)),
                tab: Some(TabId(tab)),
                ..touch(key.clone())
            };
            let other = Touch { place: place("/", None, None), tab: Some(TabId(2)), ..touch(key.clone()) };
            [look(1), other, look(3)].map(|touch| Report { age: Millis(0), signal: Signal::Touch(touch) })
        };
        site.apply(at(0), (some * 1000..(some + 1) * 1000).flat_map(of).collect::<Vec<_>>());
    }
    site
}

#[test]
fn what_a_search_finds_is_what_is_there() {
    let site = crowd(5);
    let filter = |path, topic| Filter { path, topic, invisible: false };
    let total = |path, topic| site.counts_of(&filter(path, topic)).total;
    assert_eq!((total(Some("/page/7"), None), total(Some("/"), None), total(Some("/none"), None)), (1, 0, 0));
    assert_eq!((total(None, Some("user:7")), total(None, Some("user:none"))), (10, 0));
    assert_eq!((total(Some("/page/7"), Some("user:7")), total(Some("/page/7"), Some("user:8"))), (1, 0));
    let (listed, next) = site.list(Kind::User, &filter(None, Some("user:8")), None, 4);
    let (rest, end) = site.list(Kind::User, &filter(None, Some("user:8")), next, 100);
    assert_eq!((listed.len(), rest.len(), end), (4, 6, None));
    assert!(listed.iter().chain(&rest).all(|view| view.place.unwrap().topic.as_ref().unwrap().as_str() == "user:8"));
    assert_eq!((site.pages(7).len(), site.pages(usize::MAX).len(), site.pages(0).len()), (7, 5000, 0));
}

/// Asserts nothing, as machines differ: run it in release to see.
#[test]
#[ignore = "measures"]
fn what_each_question_costs() {
    let site = crowd(100);
    let time = |name: &str, ask: &dyn Fn() -> usize| {
        let start = std::time::Instant::now();
        let found: usize = (0..20).map(|_| ask()).sum();
        println!("{name}: {:?} (found {})", start.elapsed() / 20, found / 20);
    };
    let list = |kind, path, topic| site.list(kind, &Filter { path, topic, invisible: false }, None, 1000).0.len();
    time("pages", &|| site.pages(1000).len());
    time("pages of a part", &|| site.pages(8000).len());
    time("list", &|| list(Kind::User, None, None));
    time("list by path", &|| list(Kind::User, Some("/page/70"), None));
    time("list and counts by topic", &|| {
        site.list_and_counts(Kind::User, &Filter { topic: Some("user:70"), ..Filter::default() }, None, 1000).0.len()
    });
    time("list by a topic that nobody looks at", &|| list(Kind::User, None, Some("user:nobody")));
    time("list by topic", &|| list(Kind::User, None, Some("user:70")));
    time("list of guests by topic", &|| list(Kind::Guest, None, Some("user:71")));
    time("count by path", &|| site.counts_of(&Filter { path: Some("/page/7"), ..Filter::default() }).total);
    time("count by topic", &|| site.counts_of(&Filter { topic: Some("user:7"), ..Filter::default() }).total);
    let topic = Topic::parse("user:70").unwrap();
    time("viewers", &|| site.viewers(&topic).count());
}

/// With the site's session alone, and none of the cookies that the Worker gives: so each page signs them in, and the next one out.
#[test]
fn who_signs_in_and_out_all_the_time_costs_few_rows_and_is_out_in_the_end() {
    let mut world = World::new(1);
    let sally = || UserId::parse("sally").unwrap();
    for millis in 0..60_000_u32 {
        let profile = Some(Profile { invisible: millis.is_multiple_of(5), ..Profile::default() });
        let was = Some(guest(ATTACKER, millis % 9));
        let here = Touch { was, profile, place: place(&format!("/{millis}"), None, None), ..touch(user("sally")) };
        let signal = if millis.is_multiple_of(3) {
            Signal::SignOut { user: sally(), device: None }
        } else {
            Signal::Touch(here)
        };
        world.take(0, millis.into(), signal);
        world.go_on(millis.into());
    }
    world.take(0, 60_000, Signal::SignOut { user: sally(), device: None });
    world.go_on(61_000);
    assert!(world.rows <= 180, "{} rows", world.rows);
    assert_eq!(world.site.counts().total, 0);
}
