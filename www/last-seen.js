// Fills <last-seen user="…"> with when a user was last seen, and where. widget.js loads this with the first such
// element, and hands each one over. Failure is quiet: what is shown stays shown.

const source = new URL("v1/users.json", import.meta.url).href;
const labels = {
  online: ["online-label", "online now"],
  away: ["away-label", "away"],
  offline: ["label", "last seen {time}"],
};
const attributes = ["user", "refresh", "lang", "no-place", "place-label", ...Object.values(labels).map(([name]) => name)];
const elements = new Set();
const known = new Map(); // by id, which may be "__proto__": what was answered, null before
const formats = new Map(); // by language
const spans = [
  { unit: "second", length: 1e3, step: 1e4, end: 6e4 }, // nobody needs to see each second pass
  { unit: "minute", length: 6e4, step: 6e4, end: 36e5 },
  { unit: "hour", length: 36e5, step: 36e5, end: 864e5 },
];
let asking = false;
let asked = 0; // when the last answer came, or failed to
let failures = 0;
let skew = 0; // milliseconds by which the visitor's clock is slow
let soon, nextTick, nextRefresh; // timers

const observer = new MutationObserver((changes) => new Set(changes.map(({ target }) => target)).forEach(update));

/** Takes an element that has come into the page, or has changed. */
export function update(element) {
  if (!element.isConnected) return;
  if (!element.shadowRoot) {
    element.attachShadow({ mode: "open" }).append(make("slot")); // fallback markup
    observer.observe(element, { attributeFilter: attributes });
  }
  elements.add(element);
  soon ??= setTimeout(() => {
    soon = null;
    goOn();
  });
}

document.addEventListener("visibilitychange", () => {
  asked = -Infinity; // who looks again gets news at once
  goOn();
});

function goOn() {
  tick();
  schedule();
}

// One timer for all texts: it waits until the first of them is no longer true.
function tick() {
  clearTimeout(nextTick);
  if (document.hidden) return;
  const wait = Math.min(...Array.from(present(), render));
  if (wait < Infinity) nextTick = setTimeout(tick, wait);
}

// One question for all elements, at once where one is new.
function schedule() {
  clearTimeout(nextRefresh);
  const ids = wanted();
  if (asking || document.hidden || !ids.size) return;
  const seconds = Math.min(...Array.from(elements, refreshOf));
  const wait = failures ? Math.min(300, seconds * 2 ** failures) * (1 - Math.random() / 4) : seconds;
  const news = Array.from(ids).some((id) => !known.has(id));
  nextRefresh = setTimeout(refresh, news ? 0 : asked + wait * 1000 - performance.now());
}

async function refresh() {
  asking = true;
  const ids = wanted();
  for (const id of known.keys()) if (!ids.has(id)) known.delete(id);
  for (const id of ids) if (!known.has(id)) known.set(id, null);
  const answers = await Promise.allSettled(questions(ids).map(ask));
  failures = answers.some(({ status }) => status === "rejected") ? failures + 1 : 0;
  asking = false;
  asked = performance.now();
  goOn();
}

async function ask(question) {
  const response = await fetch(`${source}?${question}`, { cache: "no-cache", signal: AbortSignal.timeout?.(10000) });
  if (!response.ok) throw new Error(response.status);
  const date = Date.parse(response.headers.get("date")); // not to be read on another origin
  if (date) skew = date - Date.now();
  for (const user of (await response.json()).users) {
    if (user.last_seen !== null && isNaN(Date.parse(user.last_seen))) throw new Error(user.last_seen);
    known.set(user.id, user);
  }
}

// The service takes 100 ids at once, and whatever lies between may refuse a long address. Elements come in any order:
// sorted, the same question has the same address.
function questions(ids) {
  const all = [];
  let length = Infinity;
  for (const id of [...ids].sort()) {
    const part = String(new URLSearchParams({ id }));
    if (length + part.length > 8000 || all.at(-1).length === 100) {
      all.push([]);
      length = 0;
    }
    all.at(-1).push(part);
    length += part.length;
  }
  return all.map((parts) => parts.join("&"));
}

function present() {
  for (const element of elements) if (!element.isConnected) elements.delete(element);
  return elements;
}

// Without what cannot be an id: the service would refuse it together with all the others.
function wanted() {
  const possible = (id) => /^\P{Cc}+$/u.test(id) && new TextEncoder().encode(id).length <= 128;
  return new Set(Array.from(present(), (element) => element.getAttribute("user") ?? "").filter(possible));
}

function refreshOf(element) {
  const seconds = parseInt(element.getAttribute("refresh"), 10);
  return isNaN(seconds) ? 60 : Math.min(86400, Math.max(10, seconds));
}

// Shows what is known. Gives the milliseconds for which it stays true.
function render(element) {
  const user = known.get(element.getAttribute("user"));
  if (!user?.online && !user?.last_seen) return show(element, make("slot"), Infinity);
  const say = (name, otherwise) => element.getAttribute(name) ?? otherwise;
  const label = say(...(labels[user.state] ?? labels.offline));
  const { time, wait } = user.last_seen ? timeOf(user.last_seen, element) : { time: new Text(), wait: Infinity };
  const text = make("span", { part: user.state }, ...fill(label, "{time}", time));
  text.style.overflowWrap = "anywhere"; // a title may be one long word
  const title = user.location?.title;
  if (title && !element.hasAttribute("no-place")) {
    text.append(make("span", { part: "place" }, ...fill(say("place-label", ", in {place}"), "{place}", make("bdi", {}, title))));
  }
  return show(element, text, label.includes("{time}") ? wait : Infinity);
}

// What is unchanged is left alone: somebody may be selecting it, or reading the exact time.
function show(element, content, wait) {
  const shown = element.shadowRoot.firstChild;
  if (!shown.isEqualNode(content)) shown.replaceWith(content);
  return wait;
}

function timeOf(datetime, element) {
  const { relative, exact } = formatsOf(element);
  const seen = Date.parse(datetime);
  const now = Math.max(seen, Date.now() + skew); // nobody was seen in the future
  const { count, unit, wait } = since(seen, now);
  const time = make("time", { part: "time", datetime, title: exact.format(seen) }, relative.format(-count, unit));
  return { time, wait };
}

// From a day on it is the calendar that counts: 25 hours before half past midnight is not yesterday. "Last week" is not
// said, as it would mean the calendar's too.
function since(seen, now) {
  const age = now - seen;
  for (const { unit, length, step, end } of spans) {
    const wait = step - (age % step);
    if (age < end) return { count: (age + wait - step) / length, unit, wait };
  }
  const midnight = (time, hours) => new Date(time).setHours(hours, 0, 0, 0);
  const days = Math.round((midnight(now, 0) - midnight(seen, 0)) / 864e5); // some have 23 hours, some 25
  const wait = midnight(now, 24) - now;
  return days < 14 ? { count: days, unit: "day", wait } : { count: Math.floor(days / 7), unit: "week", wait };
}

function formatsOf(element) {
  const language = languageOf(element);
  if (!formats.has(language)) {
    formats.set(language, {
      relative: new Intl.RelativeTimeFormat(language, { numeric: "auto" }),
      exact: new Intl.DateTimeFormat(language, { dateStyle: "full", timeStyle: "short" }),
    });
  }
  return formats.get(language);
}

// A page may say "de_DE", or nothing, neither of which is a language.
function languageOf(element) {
  for (const language of [element.closest("[lang]")?.lang ?? "", document.documentElement.lang, navigator.language]) {
    try {
      return Intl.getCanonicalLocales(language)[0];
    } catch {}
  }
}

// "a {mark} b", with the node for the mark.
function fill(template, mark, node) {
  return template.split(mark).flatMap((text, index) => (index ? [node.cloneNode(true), text] : [text]));
}

// What visitors write is never markup. <bdi>: the direction of a title must not reorder what stands around it.
function make(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const name in attributes) node.setAttribute(name, attributes[name]);
  node.append(...children);
  return node;
}
