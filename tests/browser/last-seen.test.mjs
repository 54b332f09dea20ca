// <last-seen> in a real browser: before the real Worker, and before a service that says whatever a test needs.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { gzipSync } from "node:zlib";
import { eventually, html, open, openTab, openWithRealTabs, root, startMembers, startMembersSite, startSite, startWorker } from "./support.mjs";

const SECOND = 1000, MINUTE = 60 * SECOND, HOUR = 60 * MINUTE;
const before = (milliseconds, now = Date.now()) => new Date(now - milliseconds).toISOString();
const offline = (last_seen, title = null) => ({ online: false, state: "offline", last_seen, location: { path: "/a", title } });
/** Always so long ago, however long the browser takes. */
const gone = (milliseconds, title = null) => Object.defineProperty(offline(null, title), "last_seen", { enumerable: true, get: () => before(milliseconds) });
const online = (title = null) => ({ online: true, state: "online", last_seen: before(0), location: { path: "/a", title } });
const never = { online: false, state: "offline", last_seen: null, since: null, location: null };

/** What a reader sees: the fallback where that is shown. */
const shown = (page, element = "last-seen") =>
  page.locator(element).evaluateAll((all) => all.map(({ shadowRoot, textContent }) => (shadowRoot?.querySelector("slot") === null ? shadowRoot.textContent : textContent)));
const shows = (page, ...texts) => eventually(async () => assert.deepEqual(await shown(page), texts));
/** The ids of each question so far. */
const questions = (site) => site.asked.filter((path) => path.startsWith("/who/v1/users")).map((path) => {
  assert.ok(path.startsWith("/who/v1/users.json?"), path);
  return new URL(path, "http://site").searchParams.getAll("id");
});

/**
 * A page, and below `/who` the scripts and a service with these users; `/elsewhere` embeds them from 127.0.0.1 whatever its
 * own host is. What it gives can be changed while it runs.
 */
async function startService(t, { users = {}, body = `<last-seen user="sally">Sally</last-seen>`, lang } = {}) {
  const service = { users: new Map(Object.entries(users)), failure: undefined, now: Date.now, headers: {} };
  const site = await startSite(t, ({ pathname, searchParams }) => {
    if (pathname === "/") return { body: html({ lang, body, script: "/who/widget.js" }) };
    if (pathname === "/elsewhere") return { body: html({ lang, body, script: `http://127.0.0.1:${site.port}/who/widget.js` }) };
    const file = /^\/who\/([\w-]+\.js)$/.exec(pathname);
    const headers = { "access-control-allow-origin": "*", date: new Date(service.now()).toUTCString(), ...service.headers };
    if (file) return { headers: { ...headers, "content-type": "text/javascript" }, body: readFileSync(join(root, "www", file[1])) };
    if (pathname !== "/who/v1/users.json") return { status: 204 };
    if (service.failure !== undefined) return service.failure;
    const found = searchParams.getAll("id").map((id) => ({ id, name: null, ...(service.users.get(id) ?? never) }));
    return { headers: { ...headers, "content-type": "application/json", "cache-control": "public, max-age=600" }, body: JSON.stringify({ users: found }) };
  });
  return Object.assign(service, site);
}

/** Opens it in a browser in which the test moves the clock. */
async function openWithClock(t, url, { time, stopped, opened, ...options } = {}) {
  const page = opened ?? (await open(t, "about:blank", options));
  const { clock } = page.context();
  await clock.install(stopped ? { time: time - HOUR } : { time });
  if (stopped) await clock.pauseAt(time);
  await page.addInitScript(() => {
    const original = window.fetch;
    window.calls = { begun: 0, ended: 0 };
    window.fetch = (address, options) => {
      if (!String(address).includes("users.json")) return original(address, options);
      window.calls.begun++;
      return original(address, options).finally(() => setTimeout(() => window.calls.ended++));
    };
  });
  await page.goto(url);
  return page;
}

/** The same where time stands still: a little has to pass for anything to happen. */
const showsInTime = (page, ...texts) => eventually(async () => {
  await page.clock.runFor(1);
  assert.deepEqual(await shown(page), texts);
});

const begun = (page) => page.evaluate(() => window.calls.begun);

/** Lets time pass on the page, in steps in which an answer can come. */
async function pass(page, milliseconds) {
  for (let left = milliseconds; left > 0; left -= 5 * SECOND) {
    await page.clock.runFor(Math.min(left, 5 * SECOND));
    await eventually(async () => {
      await page.clock.runFor(1);
      assert.ok(await page.evaluate(() => window.calls.begun === window.calls.ended));
    });
  }
}

describe("the last-seen element", { concurrency: 5, timeout: 600_000 }, () => {
  test("is 4096 bytes gzip at most", () => {
    const { length } = gzipSync(readFileSync(join(root, "www/last-seen.js")), { level: 9 });
    assert.ok(length <= 4096, `it is ${length}`);
  });

  test("is served with the widget, to pages anywhere, and is a 304 when it is known", async (t) => {
    const worker = await startWorker(t);
    const [widget, script] = await Promise.all(["widget", "last-seen"].map((name) => fetch(worker.url(`/_presence/${name}.js`))));
    for (const name of ["content-type", "cache-control", "access-control-allow-origin", "x-content-type-options"]) {
      assert.equal(script.headers.get(name), widget.headers.get(name), name);
    }
    assert.equal(script.headers.get("access-control-allow-origin"), "*");
    assert.equal(await script.text(), readFileSync(join(root, "www/last-seen.js"), "utf8"));
    const tag = script.headers.get("etag");
    assert.notEqual(tag, widget.headers.get("etag"));
    assert.equal((await fetch(script.url, { headers: { "if-none-match": tag } })).status, 304);
  });

  test("says online now, and where, then when, once they have left", async (t) => {
    const body = ["sally", "ann", "nobody"].map((id) => `<last-seen user="${id}">Who knows?</last-seen> `).join("");
    const worker = await startMembers(t, { body, vars: { ONLINE_TIMEOUT: "5", TOUCH_RESOLUTION: "0" } });
    const opened = await open(t, "about:blank");
    const visit = () => worker.visit("/forum?as=sally&name=Sally", { title: "Surf guitars" });
    await visit();
    // However long the browser takes.
    const stay = setInterval(() => visit().catch(() => {}), 1000);
    t.after(() => clearInterval(stay));
    const page = await openWithClock(t, worker.url("/home?as=ann"), { opened });
    await shows(page, "online now, in Surf guitars", "online now, in Page /home", "Who knows?");
    clearInterval(stay);
    await eventually(async () => assert.equal((await worker.json("/v1/users/sally.json")).state, "offline"));
    await pass(page, MINUTE);
    await eventually(async () => {
      const [sally, , nobody] = await shown(page);
      assert.match(sally, /^last seen .*(now|ago), in Surf guitars$/);
      assert.equal(nobody, "Who knows?");
    });
    const { last_seen } = await worker.json("/v1/users/sally.json");
    assert.equal(await page.locator("last-seen time").first().getAttribute("datetime"), last_seen);
    assert.deepEqual(page.problems, []);
  });

  test("asks once for all on the page, and loads nothing where there is none", async (t) => {
    const users = { ann: online("Market"), bob: gone(3.5 * MINUTE, "Surf guitars"), cleo: gone(2.5 * HOUR) };
    const ids = ["ann", "bob", "cleo", "bob"];
    const body = `<script src="/who/widget.js"></script><script src="/who/widget.js?again" async></script>
      ${ids.map((id) => `<last-seen user="${id}"></last-seen>`).join("")}`;
    const service = await startService(t, { users, body });
    const page = await open(t, service.origin);
    await shows(page, "online now, in Market", "last seen 3 minutes ago, in Surf guitars", "last seen 2 hours ago", "last seen 3 minutes ago, in Surf guitars");
    assert.deepEqual(questions(service), [["ann", "bob", "cleo"]]);
    assert.equal(service.asked.filter((path) => path === "/who/last-seen.js").length, 1);
    assert.deepEqual(page.problems, []);

    const without = await startService(t, { body: "Nobody" });
    const other = await open(t, without.origin);
    await eventually(() => assert.ok(without.asked.includes("/who/v1/touch")));
    assert.equal(await other.evaluate(() => customElements.get("last-seen") !== undefined), true);
    assert.ok(!without.asked.includes("/who/last-seen.js"));
  });

  test("asks several times where there are too many for one question", async (t) => {
    const short = Array.from({ length: 230 }, (_, index) => `user-${index}`);
    const long = Array.from({ length: 40 }, (_, index) => `${"é".repeat(62)}${index}`); // 400 characters in an address
    const body = [...short, ...long].map((id) => `<last-seen user="${id}"></last-seen>`).join("");
    const service = await startService(t, { body, users: Object.fromEntries([...short, ...long].map((id) => [id, online()])) });
    const page = await open(t, service.origin);
    await shows(page, ...Array(270).fill("online now"));
    assert.deepEqual(questions(service).flat().sort(), [...short, ...long].sort());
    assert.ok(questions(service).every((ids) => ids.length <= 100));
    assert.ok(service.asked.every((path) => path.length < 8200));
    assert.equal(questions(service).length, 4);
  });

  test("asks for those who come later, and for another where the name changes", async (t) => {
    const users = { sally: online("Home"), bob: gone(3.5 * MINUTE), ines: online() };
    const service = await startService(t, { users, body: `<main></main>` });
    const page = await open(t, service.origin);
    await page.evaluate(() => (document.querySelector("main").innerHTML = `<last-seen user="sally">Sally</last-seen><last-seen user="bob">Bob</last-seen>`));
    await shows(page, "online now, in Home", "last seen 3 minutes ago");
    await page.evaluate(() => document.querySelector("main").insertAdjacentHTML("beforeend", `<last-seen user="sally">Sally</last-seen>`));
    await shows(page, "online now, in Home", "last seen 3 minutes ago", "online now, in Home");
    assert.deepEqual(questions(service), [["bob", "sally"]], "she is known");
    await page.locator("last-seen").first().evaluate((element) => element.setAttribute("user", "ines"));
    await shows(page, "online now", "last seen 3 minutes ago", "online now, in Home");
    await page.locator("last-seen").first().evaluate((element) => element.setAttribute("user", "who"));
    await shows(page, "Sally", "last seen 3 minutes ago", "online now, in Home");
    await eventually(() => assert.deepEqual(questions(service).at(-1), ["bob", "sally", "who"]));
    service.users.set("ines", online("Market"));
    await page.locator("last-seen").first().evaluate((element) => element.setAttribute("user", "ines"));
    await shows(page, "online now, in Market", "last seen 3 minutes ago", "online now, in Home");
    await page.locator("last-seen").first().evaluate((element) => element.remove());
    await page.evaluate(() => document.querySelector("last-seen").setAttribute("user", "ann"));
    await eventually(() => assert.deepEqual(questions(service).at(-1), ["ann", "sally"]));
    assert.deepEqual(page.problems, []);
  });

  test("speaks the language of the page, or the reader's where it names none", async (t) => {
    const users = { sally: gone(3.5 * MINUTE, "Surfgitarren") };
    const body = `<last-seen user="sally" label="zuletzt gesehen {time}"></last-seen>
      <last-seen user="sally" lang="fr" label="vu {time}" place-label=" ({place})"></last-seen>
      <p lang="es"><last-seen user="sally" label="visto {time}" no-place></last-seen></p>
      <p lang="de_DE"><last-seen user="sally" label="{time}" no-place></last-seen></p>`;
    const service = await startService(t, { users, body, lang: "de" });
    const page = await open(t, service.origin, { locale: "it-IT" });
    await shows(page, "zuletzt gesehen vor 3 Minuten, in Surfgitarren", "vu il y a 3 minutes (Surfgitarren)", "visto hace 3 minutos", "vor 3 Minuten");
    await page.evaluate(() => {
      document.documentElement.removeAttribute("lang");
      for (const element of document.querySelectorAll("last-seen")) element.setAttribute("label", "{time}.");
    });
    await shows(page, "3 minuti fa., in Surfgitarren", "il y a 3 minutes. (Surfgitarren)", "hace 3 minutos.", "3 minuti fa.");
    assert.deepEqual(page.problems, []);
  });

  test("counts by the calendar from a day on, and never says a future time", async (t) => {
    const berlin = (now, ages) => async () => {
      const users = Object.fromEntries(Object.keys(ages).map((age) => [age, offline(before(Number(age), Date.parse(now)))]));
      const body = Object.keys(ages).map((age) => `<last-seen user="${age}" label="{time}"></last-seen>`).join("");
      const service = await startService(t, { users, body });
      service.now = () => Date.parse(now);
      const page = await openWithClock(t, service.origin, { time: now, timezoneId: "Europe/Berlin" });
      await shows(page, ...Object.values(ages));
    };
    const DAY = 24 * HOUR;
    await Promise.all([
      berlin("2026-11-21T00:30:00+01:00", {
        [-HOUR]: "now",
        0: "now",
        [51 * SECOND]: "50 seconds ago",
        [MINUTE]: "1 minute ago",
        [59.2 * MINUTE]: "59 minutes ago",
        [HOUR]: "1 hour ago",
        [23.9 * HOUR]: "23 hours ago",
        [DAY]: "yesterday",
        [25 * HOUR]: "2 days ago",
        [13 * DAY]: "13 days ago",
        [14 * DAY]: "2 weeks ago",
        [400 * DAY]: "57 weeks ago",
      }),
      // The day before had 25 hours; the other had 23.
      berlin("2026-10-26T12:00:00+01:00", { [36 * HOUR]: "yesterday", [37.5 * HOUR]: "2 days ago" }),
      berlin("2026-03-30T12:00:00+02:00", { [34 * HOUR]: "yesterday", [35.5 * HOUR]: "2 days ago" }),
    ].map((check) => check()));
  });

  test("goes by the clock of the service where that can be read", async (t) => {
    const service = await startService(t, { users: { sally: gone(3.5 * MINUTE) } });
    const elsewhere = `http://localhost:${service.port}/elsewhere`;
    for (const time of ["2001-01-01T00:00:00Z", "2099-01-01T00:00:00Z"]) {
      await shows(await openWithClock(t, service.origin, { time }), "last seen 3 minutes ago");
    }
    await shows(await openWithClock(t, elsewhere, { time: "2001-01-01T00:00:00Z" }), "last seen now");
    await shows(await openWithClock(t, elsewhere, { time: new Date(Date.now() + HOUR) }), "last seen 1 hour ago");
    service.headers = { "access-control-expose-headers": "date" };
    await shows(await openWithClock(t, elsewhere, { time: "2001-01-01T00:00:00Z" }), "last seen 3 minutes ago");
  });

  test("tells the exact time, in the reader's zone, to who points at it", async (t) => {
    const service = await startService(t, { users: { sally: offline("2026-11-20T22:35:16.935Z") } });
    const page = await open(t, service.origin, { timezoneId: "Asia/Tokyo" });
    const time = page.locator("last-seen").getByRole("time");
    assert.equal(await time.getAttribute("datetime"), "2026-11-20T22:35:16.935Z");
    assert.match(await time.getAttribute("title"), /^Saturday, November 21, 2026\D+7:35\sAM$/);
    await page.locator("last-seen").evaluate((element) => element.setAttribute("lang", "de"));
    await eventually(async () => assert.match(await time.getAttribute("title"), /^Samstag, 21\. November 2026\D+07:35$/));
  });

  test("leaves the fallback for who was never seen, or is not to be shown", async (t) => {
    const users = { hidden: { ...never, location: { path: "/a", title: "Home" } }, bob: online() };
    const body = ["never", "hidden", ""].map((id) => `<last-seen user="${id}"><b>${id || "no id"}</b></last-seen>`).join(" ");
    const service = await startService(t, { users, body: `${body} <last-seen><b>no user</b></last-seen> <last-seen user="bob">Bob</last-seen>` });
    const page = await open(t, service.origin);
    await shows(page, "never", "hidden", "no id", "no user", "online now");
    for (const text of ["never", "hidden", "no id", "no user"]) assert.ok(await page.getByText(text, { exact: true }).isVisible(), text);
    assert.ok(!(await page.getByText("Bob", { exact: true }).isVisible()));
    assert.deepEqual(questions(service), [["bob", "hidden", "never"]]);
  });

  test("shows whatever a title or a label holds as text", async (t) => {
    const titles = ["<img src=x onerror=\"document.title='broken'\">", "</bdi><script>document.title='broken'</script>", "\u202Egnp.exe", "{time} $& {place}", "W".repeat(256)];
    const users = Object.fromEntries(titles.map((title, index) => [`user-${index}`, online(title)]));
    const label = "<i>here</i>";
    const body = titles.map((_, index) => `<last-seen user="user-${index}" online-label="${label}"></last-seen>`).join("");
    const service = await startService(t, { users, body });
    const page = await open(t, service.origin, { viewport: { width: 320, height: 600 } });
    await shows(page, ...titles.map((title) => `${label}, in ${title}`));
    assert.deepEqual(await page.locator("last-seen [part=place] bdi").allTextContents(), titles);
    assert.equal(await page.locator("last-seen").locator("img, script, i, bdi *").count(), 0);
    assert.equal(await page.title(), "A page");
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), "long titles wrap");
    assert.deepEqual(page.problems, []);
  });

  test("asks for whatever an id may be, and for nothing else", async (t) => {
    const ids = ["__proto__", "constructor", "a/b", "..", ".", "%2e%2e", "a&id=b", "a b+c", "#?", "é🎸", "x".repeat(128)];
    const impossible = ["x".repeat(129), "é".repeat(65), "a\nb", "\u0085"];
    const service = await startService(t, { body: "<main></main>" });
    for (const id of ids) service.users.set(id, online(id));
    const page = await open(t, service.origin);
    await page.evaluate((all) => {
      for (const id of all) {
        const element = document.createElement("last-seen");
        element.setAttribute("user", id);
        element.textContent = "fallback";
        document.querySelector("main").append(element);
      }
    }, [...impossible, ...ids]);
    await shows(page, ...impossible.map(() => "fallback"), ...ids.map((id) => `online now, in ${id}`));
    assert.deepEqual(questions(service), [ids.toSorted()]);
    for (const id of ["constructor", "__proto__"]) {
      const alone = await startService(t, { body: `<last-seen user="${id}"></last-seen>` });
      alone.users.set(id, online());
      await shows(await open(t, alone.origin), "online now");
    }
    // The real one takes them, every one.
    const worker = await startWorker(t);
    const { users } = await worker.json(`/v1/users.json?${new URLSearchParams(ids.map((id) => ["id", id]))}`);
    assert.deepEqual(users.map(({ id, last_seen }) => [id, last_seen]), ids.map((id) => [id, null]));
    for (const id of impossible) assert.equal((await fetch(worker.url(`/_presence/v1/users.json?${new URLSearchParams({ id })}`))).status, 400);
  });

  test("moves on without a question, as often as the words change", async (t) => {
    const now = Date.now() - (Date.now() % SECOND); // as the service's header says it
    const users = { sally: offline(before(0, now)), bob: offline(before(3 * HOUR, now)) };
    const body = ["sally", "bob"].map((id) => `<last-seen user="${id}" refresh="86400"></last-seen>`).join("");
    const service = await startService(t, { users, body });
    service.now = () => now;
    const page = await openWithClock(t, service.origin, { time: now, stopped: true });
    await eventually(async () => {
      await page.clock.runFor(1);
      assert.deepEqual(await shown(page), ["last seen now", "last seen 3 hours ago"]);
    });
    await page.evaluate(() => {
      window.texts = [];
      window.timers = 0;
      const seen = (changes) => window.texts.push(...changes.flatMap(({ addedNodes }) => [...addedNodes].map(({ textContent }) => textContent)));
      for (const { shadowRoot } of document.querySelectorAll("last-seen")) new MutationObserver(seen).observe(shadowRoot, { childList: true });
      const { format } = Intl.RelativeTimeFormat.prototype;
      Intl.RelativeTimeFormat.prototype.format = function (...args) {
        window.timers += 1 / 2; // two elements, one timer
        return format.apply(this, args);
      };
    });
    const past = async (milliseconds) => {
      await page.clock.runFor(milliseconds);
      return page.evaluate(() => [window.texts.splice(0), window.timers]);
    };
    const seconds = [10, 20, 30, 40, 50].map((count) => `last seen ${count} seconds ago`);
    assert.deepEqual(await past(MINUTE), [[...seconds, "last seen 1 minute ago"], 6]);
    const minutes = Array.from({ length: 58 }, (_, index) => `last seen ${index + 2} minutes ago`);
    const [texts, timers] = await past(59 * MINUTE);
    assert.deepEqual(texts.sort(), [...minutes, "last seen 1 hour ago", "last seen 4 hours ago"].sort());
    assert.ok(timers <= 6 + 60, `${timers} timers`);
    assert.equal(await begun(page), 1);
  });

  test("asks again as often as the page wants, at least 10 seconds apart", async (t) => {
    for (const [refresh, seconds] of [["", 60], ["20", 20], ["1", 10], ["soon", 60]]) {
      const service = await startService(t, { users: { sally: online("Home") }, body: `<last-seen user="sally" refresh="${refresh}"></last-seen>` });
      const page = await openWithClock(t, service.origin, { time: Date.now(), stopped: true });
      await showsInTime(page, "online now, in Home");
      const place = await page.locator("[part=place]").elementHandle();
      assert.equal(await begun(page), 1);
      await page.clock.runFor((seconds - 4) * SECOND);
      assert.equal(await begun(page), 1, `${refresh}: too soon`);
      await pass(page, 5 * SECOND);
      assert.equal(await begun(page), 2, `${refresh}: too late`);
      assert.ok(await place.evaluate((node) => node.isConnected), "what has not changed is left alone");
      service.users.set("sally", online("Market"));
      await pass(page, (seconds + 1) * SECOND);
      await showsInTime(page, "online now, in Market");
    }
  });

  test("asks nothing while nobody looks, and at once when somebody does again", async (t) => {
    const service = await startService(t, { users: { sally: gone(3.5 * MINUTE, "Home") } });
    const opened = await openWithRealTabs(t, "about:blank");
    const page = await openWithClock(t, service.origin, { opened });
    const hide = async () => {
      const cover = await openTab(page.context(), "about:blank");
      await eventually(async () => assert.ok(await page.evaluate(() => document.hidden)));
      return cover;
    };
    await shows(page, "last seen 3 minutes ago, in Home");
    await pass(page, MINUTE + 5 * SECOND);
    assert.equal(await begun(page), 2, "while somebody looks");
    const cover = await hide();
    const left = await shown(page);
    await pass(page, 5 * MINUTE);
    assert.equal(await begun(page), 2);
    assert.deepEqual(await shown(page), left, "nothing is done for nobody");
    for (const [title, uncover] of [["Market", cover], ["Forum", null]]) {
      service.users.set("sally", online(title));
      await (uncover ?? (await hide())).close();
      await shows(page, `online now, in ${title}`);
    }
    assert.equal(questions(service).length, 4);
  });

  test("stays as it is while the service is away, and asks less and less", async (t) => {
    const body = `<last-seen user="sally">Sally</last-seen>`;
    const garbled = { users: [{ id: "sally", online: false, state: "offline", last_seen: "lately", location: null }] };
    const failures = [null, { status: 500 }, { status: 404 }, { status: 403, body: JSON.stringify({ users: [] }) }, { body: "<html>" }, { body: "{}" }, { body: JSON.stringify(garbled) }];
    await Promise.all(failures.map(async (failure) => {
      const service = await startService(t, { users: { sally: online("Home") }, body });
      service.failure = failure;
      const page = await openWithClock(t, service.origin);
      await eventually(async () => assert.ok(await page.evaluate(() => window.calls.ended > 0)));
      assert.deepEqual(await shown(page), ["Sally"]);
      service.failure = undefined;
      const failed = await begun(page);
      await pass(page, 2 ** failed * MINUTE);
      assert.ok((await begun(page)) > failed, "it asks again in its time");
      // In time for another failure: a browser may break off a question by itself.
      await pass(page, 4 * MINUTE);
      await shows(page, "online now, in Home");
      service.failure = failure;
      const first = await begun(page);
      await pass(page, 20 * MINUTE);
      assert.deepEqual(await shown(page), ["online now, in Home"]);
      const asked = (await begun(page)) - first;
      assert.ok(asked >= 4 && asked <= 8, `asked ${asked} times`);
      service.failure = undefined;
      service.users.set("sally", online("Market"));
      await pass(page, 5 * MINUTE);
      await shows(page, "online now, in Market");
      assert.deepEqual(page.problems.filter((problem) => !/Failed to load resource/.test(problem)), []);
    }));
  });

  for (const [kind, policy, attributes] of [
    ["names its address", (script) => `${script}; require-trusted-types-for 'script'; trusted-types 'none'`, ""],
    ["goes by a nonce", () => "'nonce-abc'", `" nonce="abc`],
    ["trusts what a trusted script loads", () => "'nonce-abc' 'strict-dynamic'", `" nonce="abc`],
  ]) {
    test(`works on another site whose policy ${kind}`, async (t) => {
      const members = await startMembersSite(t);
      let worker;
      const site = await startSite(t, () => {
        const address = worker.url("/_presence/");
        const headers = { "content-security-policy": `default-src 'none'; img-src data:; connect-src ${address}; script-src ${policy(address)}` };
        return { headers, body: html({ script: `${worker.url("/_presence/widget.js")}${attributes}`, body: `<last-seen user="sally">Sally</last-seen>` }) };
      });
      const origin = `http://localhost:${site.port}`;
      worker = await startWorker(t, { ORIGIN: members.origin, ALLOWED_ORIGINS: origin });
      await worker.visit("/?as=sally&name=Sally", { title: "Home" });
      const page = await open(t, origin);
      await shows(page, "online now, in Home");
      assert.deepEqual(page.problems, []);
    });
  }

  test("takes its words and its looks from the page", async (t) => {
    const away = { ...online("Home"), state: "away" };
    const users = { sally: gone(3.5 * MINUTE, "Surf guitars"), ann: away, bob: online() };
    const body = `<style>body { color: rgb(1, 2, 3) } last-seen::part(online) { color: rgb(4, 5, 6) } last-seen::part(time) { font-weight: 700 }</style>
      <p>Sally: <last-seen user="sally"></last-seen></p> <last-seen user="ann"></last-seen> <last-seen user="bob" online-label="here since {time}"></last-seen>
      <last-seen user="ann" away-label="{time} gone" place-label=" from {place}, {place}"></last-seen>`;
    const service = await startService(t, { users, body });
    const page = await open(t, service.origin);
    await shows(page, "last seen 3 minutes ago, in Surf guitars", "away, in Home", "here since now", "now gone from Home, Home");
    const look = (selector, property) => page.locator(selector).first().evaluate((node, property) => getComputedStyle(node)[property], property);
    assert.equal(await look("last-seen [part=offline]", "color"), "rgb(1, 2, 3)");
    assert.equal(await look("last-seen [part=online]", "color"), "rgb(4, 5, 6)");
    assert.equal(await look("last-seen [part=time]", "fontWeight"), "700");
    assert.equal(await look("last-seen", "display"), "inline");
    assert.equal(
      await page.locator("p").ariaSnapshot(),
      `- paragraph:
  - text: "Sally: last seen"
  - time: 3 minutes ago
  - text: ", in Surf guitars"`,
    );
    assert.equal(await page.locator("last-seen").locator("[aria-live], [role]").count(), 0);
  });

  test("is fresh on a page that was left and came back", async (t) => {
    const service = await startService(t, { users: { sally: online("Home") } });
    const page = await open(t, service.origin);
    await shows(page, "online now, in Home");
    await page.evaluate(() => (window.kept = true));
    await page.goto("about:blank");
    service.users.set("sally", online("Market"));
    await page.goBack({ waitUntil: "commit" });
    await shows(page, "online now, in Market");
    assert.equal(await page.evaluate(() => window.kept), true, "it is the page that was left");
  });
});
