// Tells the service that this page is open, and the page who is online, as it happens. The tabs of a browser share what
// they hear: one of them leads, holds the connections, and passes on what is said either way. Failure is quiet, and
// tried again.

const base = new URL(".", import.meta.url).href;
const tab = crypto.getRandomValues(new Uint32Array(4)).join("-"); // randomUUID needs a secure context
const group = `whos-online ${base}`;
const { locks } = navigator; // none in an insecure context: there every tab leads itself

const PING = 25; // seconds; the service ends a connection from which nothing came for 60
const PATIENCE = 10; // for an answer
const ASLEEP = 300; // hidden for so long, a page is one that nobody uses
const IDLE = 300; // unless a page says otherwise

const feeds = new Map(); // what this page wants to know, by query
const tabs = new Map(); // what each tab says; the leader hears all of them
const lines = new Map(); // the leader's connections, by query
let awake, leads, channel, released, letGo, unheard, resigned;
let touchEvery = 60; // without a connection
let lastUsed = 0;
let lastSaid = 0;
let hiddenSince = Infinity;
let told; // what this tab said last

const now = () => performance.now() / 1000;
let reported;

/** Fulfilled when the service, or the tab that leads, has been told of this page. */
export const ready = new Promise((resolve) => (reported = resolve));

/** Calls `listener` with who is online, at first and whenever it changes, until the function that it gives back is called. */
export function subscribe(listener, { topic, path, limit = 50, names = true, refresh = 30, idle = IDLE } = {}) {
  const query = new URLSearchParams(names ? { limit } : { view: "count" });
  if (topic) query.set("topic", topic);
  if (path) query.set("path", path);
  const key = String(query);
  const feed = feeds.get(key) ?? { topic, limit, listeners: new Map() };
  feeds.set(key, feed);
  feed.listeners.set(listener, { refresh, idle });
  if (feed.shown) tell(listener, feed.shown);
  report();
  return () => {
    feed.listeners.delete(listener);
    if (!feed.listeners.size && feeds.get(key) === feed) feeds.delete(key);
    report();
  };
}

// What a page does with it is no business of the connection.
function tell(listener, shown) {
  try {
    listener(shown);
  } catch (error) {
    reportError(error);
  }
}

// The least that anybody has asked for.
const least = (what, listeners) => Math.min(...listeners.map((options) => options[what]));

// What is known, after a message; nothing where it cannot be told.
function learn(known, { type, version, counts, users = [], joins = [], updates = [], leaves = [] }) {
  if (type !== "diff") return { version, counts, users: new Map(users.map((user) => [user.id, user])) };
  if (!known) return;
  const gone = new Set(leaves);
  for (const { id } of [...joins, ...updates]) gone.add(id);
  const all = [...updates, ...joins, ...[...known.users.values()].filter(({ id }) => !gone.has(id))];
  // The latest first, where that is told.
  all.sort((a, b) => (a.last_seen < b.last_seen) - (a.last_seen > b.last_seen));
  return { version, counts, users: new Map(all.map((user) => [user.id, user])) };
}

// Whoever tells everything anew over a connection is right: where a site is kept in another way than before, versions start over.
const isOld = (known, { type, version }) => type !== "state" && version < known?.version;

function hear(key, message) {
  const known = feeds.get(key)?.known;
  if (!isOld(known, message)) show(key, learn(known, message), message);
}

// What is known now, and who came and went since.
function show(key, known, { joins = [], leaves = [] }) {
  const feed = feeds.get(key);
  if (!feed || !known) return;
  const gone = leaves.map((id) => feed.known?.users.get(id) ?? { id });
  feed.known = known;
  const { version, counts, users } = known;
  feed.shown = { version, counts, users: [...users.values()].slice(0, feed.limit), joins, leaves: gone };
  for (const listener of feed.listeners.keys()) tell(listener, feed.shown);
}

// `stream` drops half a character. Encoding mends lone surrogates, which are not JSON.
const cut = (text, bytes) =>
  new TextDecoder().decode(new TextEncoder().encode(text).subarray(0, bytes), { stream: true });

// Where the page was, if the site says that nobody is to know who is there: of its own answer a page can read no other header.
const [{ serverTiming = [] } = {}] = performance.getEntriesByType("navigation");
const isNowhere = ({ name, description }) => name === "presence" && description === "nowhere";
const unplaced = serverTiming.some(isNowhere) && location.pathname;

// A path or topic that is too long is left out: cut, it is another one.
function here() {
  const path = location.pathname === unplaced ? "" : location.pathname;
  const topic = [...feeds.values()].find((feed) => feed.topic)?.topic;
  const listeners = [...feeds.values()].flatMap((feed) => [...feed.listeners.values()]);
  const idle = listeners.length ? least("idle", listeners) : IDLE;
  return {
    path: /^\/.{0,511}$/.test(path) ? path : undefined,
    title: (path && cut(document.title, 256)) || undefined,
    topic: path && topic && cut(topic, 128) === topic ? topic : undefined,
    tab,
    state: document.hidden || now() - lastUsed > idle ? "away" : "online",
  };
}

// Says where this tab is and what it wants to know, if that is anything new.
function report() {
  if (!awake) return;
  const wants = Array.from(feeds, ([key, { listeners }]) => [key, least("refresh", [...listeners.values()])]);
  const said = { from: tab, touch: here(), wants };
  const text = JSON.stringify(said);
  if (text === told) return;
  told = text;
  if (leads) {
    note(said);
    // What another tab has asked for first is known already.
    for (const [key, feed] of feeds) if (!feed.shown) show(key, lines.get(key)?.known, {});
    return;
  }
  channel.postMessage(said);
  unheard ??= setTimeout(takeOver, PATIENCE * 1000);
}

function wake() {
  if (awake) return;
  awake = true;
  released = new Promise((resolve) => (letGo = resolve));
  lastUsed = now();
  if (locks) {
    channel = new BroadcastChannel(group);
    channel.onmessage = ({ data }) => (data.from ? leads && answer(data) : leads || follow(data));
    // By it the leader knows that this tab is there, however it ends.
    locks.request(`${group} ${tab}`, () => released).catch(() => {});
    queue();
    report();
  } else {
    lead();
  }
}

function sleep() {
  if (!awake) return;
  awake = false;
  unheard = clearTimeout(unheard);
  if (leads) resign();
  channel?.close();
  letGo();
}

// Leads as soon as nobody else does.
function queue(steal) {
  const stop = new AbortController();
  const held = released;
  held.then(() => stop.abort());
  locks.request(group, steal ? { steal } : { signal: stop.signal }, () => {
    if (!awake || held !== released) return;
    lead();
    return held;
  }).catch(({ name }) => {
    if (held !== released || !awake) return;
    if (name !== "AbortError") return alone();
    resign(); // taken for dead
    queue();
  });
}

// Where a page may keep nothing, as in a sandbox or without cookies, it has no locks either.
function alone() {
  unheard = clearTimeout(unheard);
  channel.close();
  channel = null;
  lead();
}

// A leader that says nothing may be frozen.
function takeOver() {
  unheard = null;
  if (awake && !leads) queue(true);
}

function lead() {
  leads = true;
  resigned = new AbortController();
  unheard = clearTimeout(unheard);
  told = null;
  channel?.postMessage({ again: true }); // the others say where they are
  report();
}

// The service hears by the end of the connection that this page is closed. The next leader tells of the others.
function resign() {
  if (!carrier()) navigator.sendBeacon(base + "v1/leave", JSON.stringify({ tab }));
  leads = false;
  resigned.abort();
  for (const line of lines.values()) line.end();
  lines.clear();
  tabs.clear();
  told = null;
}

// Who follows hears the leader,
function follow({ again, to, key, message }) {
  if (to && to !== tab) return;
  unheard = clearTimeout(unheard);
  if (to) reported();
  if (message) hear(key, message);
  if (!again) return;
  told = null;
  report();
}

// and the leader those who follow.
function answer(said) {
  const { from, wants } = said;
  if (!tabs.has(from)) locks.request(`${group} ${from}`, { signal: resigned.signal }, () => forget(from)).catch(() => {});
  channel.postMessage({ to: from });
  for (const [key] of wants) {
    const known = lines.get(key)?.known;
    if (known) channel.postMessage({ to: from, key, message: { ...known, users: [...known.users.values()] } });
  }
  note(said);
}

function note({ from, touch, wants }) {
  const known = tabs.get(from)?.touch;
  tabs.set(from, { touch, wants });
  connect();
  if (JSON.stringify(known) !== JSON.stringify(touch)) say(touch);
}

function forget(from) {
  if (!leads || !tabs.delete(from)) return;
  channel.postMessage({ to: from, again: true }); // it may have come back meanwhile
  carrier()?.send({ type: "leave", tab: from });
  connect();
}

// One connection for each thing that somebody wants to know.
function connect() {
  const wanted = new Map();
  for (const { wants } of tabs.values()) {
    for (const [key, refresh] of wants) wanted.set(key, Math.min(refresh, wanted.get(key) ?? refresh));
  }
  for (const [key, refresh] of wanted) {
    if (!lines.has(key)) lines.set(key, new Line(key));
    lines.get(key).refresh = refresh;
  }
  const before = carrier();
  for (const [key, line] of lines) {
    if (wanted.has(key)) continue;
    lines.delete(key);
    line.end();
  }
  if (carrier() !== before) sayAll();
}

const carrier = () => [...lines.values()].find((line) => line.isOpen);

// By a connection, or by one that will be there in a moment.
function say(touch) {
  lastSaid = now();
  const line = carrier();
  if (line) {
    line.send({ type: "touch", ...touch });
    return reported();
  }
  if ([...lines.values()].some((line) => line.isNew)) return;
  // A string goes as text/plain: no CORS preflight.
  const options = { method: "POST", credentials: "include", keepalive: document.hidden, body: JSON.stringify(touch) };
  request("v1/touch", options).catch(() => {}).then(reported);
}

function sayAll() {
  for (const { touch } of tabs.values()) say(touch);
}

async function request(path, options) {
  const response = await fetch(base + path, { signal: AbortSignal.timeout?.(PATIENCE * 1000), ...options });
  if (!response.ok) throw response.status;
  return response.text();
}

class Line {
  isNew = true; // nothing is known yet of whether it will work
  known; // what has been heard
  #query;
  #key;
  #socket;
  #over;
  #nudge;
  #refill;
  #failures = 0;
  #next = 0; // when to connect

  constructor(key) {
    this.#key = key;
    this.#query = new URLSearchParams(key);
    queueMicrotask(() => this.#run());
  }

  get isOpen() {
    return this.#socket?.readyState === 1 && !this.isNew;
  }

  send(message) {
    this.#socket.send(JSON.stringify(message));
  }

  /** Looks whether it still works, or tries again. */
  check() {
    this.#next = 0;
    this.#nudge?.();
  }

  end() {
    this.#over = true;
    clearTimeout(this.#refill);
    this.#nudge?.();
    this.#socket?.close();
  }

  // While there is no connection, it is asked now and then.
  async #run() {
    let misses = 0;
    let nextPoll = 0;
    while (!this.#over) {
      const began = now();
      let opened = false;
      if (began >= this.#next) {
        opened = await this.#listen().catch(() => false);
        this.isNew = false;
        if (this.#over) return;
        this.#failures = opened && now() - began > PATIENCE ? 0 : this.#failures + 1;
        this.#next = now() + backoff(this.#failures);
        sayAll();
      }
      if (!opened && now() >= nextPoll) {
        misses = await this.#poll().then(() => 0, (status) => this.#denied(status) ? 0 : misses + 1);
        nextPoll = now() + (misses ? backoff(misses + 3) : this.refresh);
      }
      const until = opened ? this.#next : Math.min(this.#next, nextPoll);
      await new Promise((resolve) => {
        this.#nudge = resolve;
        setTimeout(resolve, (until - now()) * 1000);
      });
    }
  }

  // Ends when the connection does, and says whether there was one.
  #listen() {
    return new Promise((resolve) => {
      const since = this.known ? `&since=${this.known.version}` : "";
      const socket = new WebSocket(`${base.replace(/^http/, "ws")}v1/live?${this.#query}&tab=${tab}${since}`);
      let opened = false;
      let pings, silence;
      const expect = (what) => {
        socket.send(what);
        silence ??= setTimeout(done, PATIENCE * 1000);
      };
      const done = () => {
        clearInterval(pings);
        clearTimeout(silence);
        socket.onmessage = socket.onclose = this.#socket = null;
        socket.close();
        resolve(opened);
      };
      silence = setTimeout(done, PATIENCE * 1000);
      this.#socket = socket;
      this.#nudge = () => this.isOpen && !this.#over && expect("ping");
      socket.onclose = ({ code }) => {
        if (code === 4401) this.known = null; // what somebody else was told is not for them, or not all
        done();
      };
      socket.onmessage = ({ data }) => {
        silence = clearTimeout(silence);
        if (data === "pong") return;
        try {
          this.#take(JSON.parse(data));
        } catch {
          this.known = null; // and everything anew
          return done();
        }
        if (opened) return;
        opened = true;
        this.isNew = false;
        pings = setInterval(expect, PING * 1000, "ping");
        sayAll();
      };
    });
  }

  async #poll() {
    const names = !this.#query.has("view");
    const query = new URLSearchParams(this.#query);
    if (!names) query.set("limit", 0);
    query.delete("view");
    const source = names || query.size > 1 ? `v1/online.json?${query}` : "v1/count.json";
    const data = JSON.parse(await request(source, { cache: "no-cache" })); // not what was true a page ago
    const { version = this.known?.version ?? 0, counts = data, users } = data;
    this.#take({ type: this.isOpen ? "poll" : "state", version, counts, users });
    touchEvery = Math.max(1, Math.min(60, data.online_timeout / 2 || 60));
  }

  // Who may not see the names may see the counts.
  #denied(status) {
    if (!/^40[13]$/.test(status) || this.#query.has("view")) return false;
    this.#query.set("view", "count");
    this.#query.delete("limit");
    if (this.known) this.known = { ...this.known, users: new Map() };
    this.#next = 0;
    return true;
  }

  #take(message) {
    if (this.#over) return;
    const { counts, leaves } = message;
    if (!(counts?.total >= 0)) throw new Error("there are no counts in it");
    if (isOld(this.known, message)) return; // asked for meanwhile, and newer
    this.known = learn(this.known, message);
    show(this.#key, this.known, message);
    if (tabs.size > 1) channel.postMessage({ key: this.#key, message });
    const wanted = Math.min(this.#query.get("limit") ?? 0, counts.users);
    if (leaves && this.known.users.size < wanted) this.#ask();
  }

  // So many have gone that there is room on the list for some of whom nothing was told.
  #ask() {
    this.#refill ??= setTimeout(() => {
      this.#refill = null;
      this.#poll().catch(() => {});
    }, 2000 + Math.random() * 5000);
  }
}

// At random, so that those who were cut off together do not come back together.
const backoff = (failures) => Math.random() * Math.min(300, 2 ** (failures + 1));

function tick() {
  if (document.hidden && now() - hiddenSince > ASLEEP) sleep();
  report(); // a page may move without a word, and its reader fall silent
  if (leads && !carrier() && now() - lastSaid > touchEvery) sayAll();
}

function look() {
  hiddenSince = document.hidden ? Math.min(hiddenSince, now()) : Infinity;
  if (!document.hidden) {
    lastUsed = now();
    wake();
    for (const line of lines.values()) line.check();
  }
  report();
}

function start() {
  for (const event of ["pointerdown", "pointermove", "keydown", "wheel", "scroll"]) {
    addEventListener(event, () => (lastUsed = now()), { passive: true, capture: true });
  }
  document.addEventListener("visibilitychange", look);
  document.addEventListener("freeze", sleep);
  document.addEventListener("resume", look);
  addEventListener("pagehide", sleep);
  addEventListener("pageshow", wake);
  addEventListener("online", look);
  setInterval(tick, 2000);
  wake();
  look();
}

// Once the title is known, and the page is looked at.
const event = document.prerendering ? "prerenderingchange" : document.readyState === "loading" && "DOMContentLoaded";
event ? document.addEventListener(event, start) : start();
