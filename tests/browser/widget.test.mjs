// The widget in a real browser, with the real Worker behind it.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { gzipSync } from "node:zlib";
import { eventually, html, open, openTab, openWithRealTabs, root, startMembers, startSite, startWorker, throughout } from "./support.mjs";

const region = (page, element = "whos-online") => page.locator(element).getByRole("region");
const names = (page, element = "whos-online") => page.locator(`${element} [part=name]`).allInnerTexts();
/** What the widget shows, line by line. */
const lines = async (page, element) => (await region(page, element).innerText()).split("\n").map((line) => line.trim()).filter(Boolean);
const members = async (worker, kind = "user") => (await worker.json(`/v1/online.json?kind=${kind}`)).users;

describe("the widget", { concurrency: 5, timeout: 600_000 }, () => {
  test("is 4096 bytes gzip at most", () => {
    const { length } = gzipSync(readFileSync(join(root, "www/widget.js")), { level: 9 });
    assert.ok(length <= 4096, `it is ${length}`);
  });

  test("makes whom the site signed in one member, with the page's title", async (t) => {
    const worker = await startMembers(t);
    const page = await open(t, worker.url("/forum?as=sally&name=Sally%20M."));
    await eventually(async () => assert.deepEqual(await lines(page), ["1 online", "Sally M.", "Page /forum"]));
    const { users, counts } = await worker.json("/v1/online.json");
    assert.deepEqual(counts, { total: 1, users: 1, guests: 0, bots: 0 });
    assert.deepEqual(users.map(({ id, name, location, tabs }) => [id, name, location, tabs]), [
      ["sally", "Sally M.", { path: "/forum", title: "Page /forum" }, 1],
    ]);
    const [cookie] = await page.context().cookies();
    assert.deepEqual([cookie.name, cookie.httpOnly, cookie.sameSite], ["presence", true, "Lax"]);
    assert.match(cookie.value, /^[\w-]+\.[\w-]+\.[\w-]+$/, "a signed token");
    assert.equal(await page.evaluate(() => document.cookie), "");
    assert.deepEqual(page.problems, []);
  });

  test("makes a guest who signs in that member alone, and a guest again after signing out", async (t) => {
    const worker = await startMembers(t);
    const page = await open(t, worker.url("/"));
    await eventually(async () => assert.deepEqual(await lines(page), ["1 online", "1 guest"]));
    await page.goto(worker.url("/?as=sally&name=Sally"));
    await eventually(async () => assert.deepEqual(await lines(page), ["1 online", "Sally", "Page /"]));
    await page.goto(worker.url("/?as="));
    await eventually(async () => assert.deepEqual(await lines(page), ["1 online", "1 guest"]));
    assert.deepEqual(await page.context().cookies(), []);
    assert.deepEqual(page.problems, []);
  });

  test("shows whatever a name holds as text", async (t) => {
    const worker = await startMembers(t);
    const hostile = [
      "<img src=x onerror=\"document.title='broken'\">",
      "</bdi></li><script>document.title='broken'</script>",
      "\u202Egnp.exe \u2066x",
      "🎸".repeat(32), // 128 bytes
      "محمد (1)",
      "W".repeat(128),
      "{n} $& {id}",
    ];
    for (const [index, name] of hostile.entries()) {
      await worker.visit(`/?as=${index}&name=${encodeURIComponent(name)}`, { title: `<b>${name.slice(0, 20)}` });
    }
    await worker.visit(`/?as=${encodeURIComponent("../<i>&?#")}`);
    const page = await open(t, worker.url("/"), { viewport: { width: 320, height: 600 } });
    // Marks of direction go no further than the border.
    const expected = ["../<i>&?#", ...hostile.toReversed().map((name) => name.replace(/[\u202E\u2066]/g, ""))];
    const shown = () => page.locator("whos-online [part=name] bdi").evaluateAll((all) => all.map((name) => name.textContent));
    await eventually(async () => assert.deepEqual(await shown(), expected));
    const markup = await region(page).evaluate((region) => region.querySelectorAll("img, script, [onerror], bdi *").length);
    assert.equal(markup, 0);
    assert.equal(await page.title(), "Page /");
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), "long names wrap");
    assert.deepEqual(page.problems, []);
  });

  test("shows the count alone to those who may not see names", async (t) => {
    const ACCESS = JSON.stringify({ names: "users", locations: "perm:staff" });
    const worker = await startMembers(t, { vars: { ACCESS } });
    await worker.visit("/?as=sally&name=Sally");
    const guest = await open(t, worker.url("/"));
    await eventually(async () => assert.deepEqual(await lines(guest), ["2 online", "1 guest"]));
    assert.ok(guest.problems.every((problem) => /40[13]|Authentication/.test(problem)), `${guest.problems}`);
    const bob = await open(t, worker.url("/?as=bob&name=Bob"), { who: "Second" });
    await eventually(async () => assert.deepEqual(await lines(bob), ["3 online", "Bob", "Sally", "and 1 guest"]));
    assert.deepEqual(bob.problems, []);
  });

  test("leaves what stands in the page while the service cannot be reached", async (t) => {
    const scripts = ["widget.js", "client.js"].map((name) => [`/dead/${name}`, readFileSync(join(root, "www", name))]);
    for (const failure of [null, { status: 500, body: "no" }, { status: 200, body: "<html>" }, { status: 200, body: "{}" }]) {
      const site = await startSite(t, ({ pathname }) => {
        if (pathname === "/") return { body: html({ script: "/dead/widget.js", body: "<whos-online><b>Who is online?</b></whos-online>" }) };
        const [, body] = scripts.find(([path]) => path === pathname) ?? [];
        return body ? { headers: { "content-type": "text/javascript" }, body } : failure;
      });
      const page = await open(t, site.origin);
      await eventually(() => assert.ok(site.asked.some((path) => path.startsWith("/dead/v1/online.json"))));
      await throughout(500, async () => assert.ok(await page.getByText("Who is online?").isVisible()));
      assert.deepEqual(page.problems.filter((problem) => !/Failed to load resource|WebSocket/.test(problem)), []);
    }
  });

  test("keeps the last list when the Worker is killed, and goes on after a restart with nobody forgotten", async (t) => {
    const worker = await startMembers(t);
    await worker.visit("/?as=bob&name=Bob", { title: "Home" });
    const page = await open(t, worker.url("/forum?as=sally&name=Sally"));
    const list = ["2 online", "Sally", "Page /forum", "Bob", "Home"];
    await eventually(async () => assert.deepEqual(await lines(page), list));
    const since = async () => (await members(worker)).map(({ id, since }) => [id, since]).sort();
    const before = await since();

    const failed = page.waitForEvent("requestfailed");
    await worker.kill();
    await failed;
    assert.deepEqual(await lines(page), list);

    await worker.start();
    await eventually(async () => assert.deepEqual(await since(), before));
    await worker.visit("/?as=ines&name=Ines", { title: "Home" });
    await eventually(async () => assert.deepEqual((await names(page)).sort(), ["Bob", "Ines", "Sally"]));
    assert.equal((await since()).length, 3);
    assert.deepEqual(page.problems.filter((problem) => !/Failed to load resource|WebSocket/.test(problem)), []);
  });

  test("works when it is loaded twice, and in several elements that ask once for the same", async (t) => {
    const body = `<script src="/_presence/widget.js"></script><script src="/_presence/widget.js?again" async></script>
      <whos-online id="all"></whos-online><whos-online id="same"></whos-online><whos-online id="two" limit="2"></whos-online>
      <whos-online id="count" no-names></whos-online>`;
    const worker = await startMembers(t, { body });
    for (const id of ["ann", "bob", "cleo"]) await worker.visit(`/?as=${id}&name=${id}`, { title: "Home" });
    const page = await open(t, "about:blank");
    const asked = [];
    page.on("request", (request) => asked.push(request.url().slice(worker.origin.length)));
    page.on("websocket", (socket) => asked.push(socket.url().replace(/.*(\/_presence.*)&tab=.*/, "$1")));
    await page.goto(worker.url("/"));
    await eventually(async () => {
      const all = ["4 online", "cleo", "Home", "bob", "Home", "ann", "Home", "and 1 guest"];
      assert.deepEqual([await lines(page, "#all"), await lines(page, "#same")], [all, all]);
      assert.deepEqual(await lines(page, "#two"), ["4 online", "cleo", "Home", "bob", "Home", "and 1 more", "and 1 guest"]);
      assert.deepEqual(await lines(page, "#count"), ["4 online"]);
    });
    assert.deepEqual(asked.filter((request) => /v1/.test(request)).sort(), [
      "/_presence/v1/live?limit=2",
      "/_presence/v1/live?limit=50",
      "/_presence/v1/live?view=count",
    ]);
    await page.locator("#two").evaluate((element) => (element.limit = 1));
    await eventually(async () => assert.deepEqual(await names(page, "#two"), ["cleo"]));
    assert.deepEqual(page.problems, []);
  });

  test("links names as it is told, but to no script", async (t) => {
    const body = `<whos-online id="good" link="/people/{id}"></whos-online><whos-online id="bad" link="javascript:alert('{id}')"></whos-online>
      <whos-online id="worse" link=" JaVa&#10;Script:alert(1)"></whos-online><whos-online id="data" link="data:text/html,{id}"></whos-online>`;
    const worker = await startMembers(t, { body });
    const id = "a/b?c#d&e $&";
    await worker.visit(`/?as=${encodeURIComponent(id)}&name=Ann`, { title: "Home" });
    const page = await open(t, worker.url("/"));
    await eventually(async () => assert.equal(await page.getByText("Ann", { exact: true }).count(), 4));
    const links = page.getByRole("link");
    assert.equal(await links.count(), 1);
    assert.equal(await links.getAttribute("href"), `/people/${encodeURIComponent(id)}`);
    assert.equal(await page.locator("#good").getByRole("link", { name: "Ann" }).count(), 1);
    assert.deepEqual(page.problems, []);
  });

  test("tells a screen reader how many and who", async (t) => {
    const worker = await startMembers(t, { body: `<whos-online link="/people/{id}"></whos-online>` });
    await worker.visit("/?as=ann&name=Ann", { title: "Home" });
    const page = await open(t, worker.url("/?as=bob&name=Bob"));
    await eventually(async () => assert.equal((await lines(page)).length, 5));
    assert.equal(
      await page.locator("whos-online").ariaSnapshot(),
      `- region "2 online":
  - text: 2 online
  - list:
    - listitem:
      - link "Bob":
        - /url: /people/bob
      - text: Page /
    - listitem:
      - link "Ann":
        - /url: /people/ann
      - text: Home
- status`,
    );
  });

  test("leaves the keyboard where it is when the list changes", async (t) => {
    const worker = await startMembers(t, { body: `<whos-online link="/people/{id}" refresh="5"></whos-online>` });
    await worker.visit("/?as=ann&name=Ann", { title: "Home" });
    const page = await open(t, worker.url("/"));
    const ann = page.getByRole("link", { name: "Ann" });
    await eventually(() => ann.focus({ timeout: 1000 }));
    await worker.visit("/?as=bob&name=Bob", { title: "Home" });
    await eventually(async () => assert.deepEqual(await names(page), ["Bob", "Ann"]));
    const focused = (element) => element.shadowRoot.activeElement?.textContent;
    assert.equal(await page.locator("whos-online").evaluate(focused), "Ann");
  });

  test("shows who else is on the pages about something", async (t) => {
    const worker = await startMembers(t, { body: `<whos-online topic="group:42" refresh="5"></whos-online>`, vars: { TOPICS: "group:*" } });
    await worker.visit("/elsewhere?as=ann&name=Ann", { title: "Elsewhere" });
    const page = await open(t, worker.url("/groups/42?as=bob&name=Bob"));
    await eventually(async () => assert.deepEqual(await lines(page), ["1 online", "Bob", "Page /groups/42"]));
    assert.equal((await worker.json("/v1/count.json")).total, 2);
  });

  test("works under the strictest policy", async (t) => {
    const worker = await startMembers(t, { headers: { "content-security-policy": "default-src 'self'; img-src 'self' data:; require-trusted-types-for 'script'" } });
    const page = await open(t, worker.url("/?as=sally&name=Sally"));
    await eventually(async () => assert.deepEqual(await lines(page), ["1 online", "Sally", "Page /"]));
    const display = await page.locator("whos-online li").evaluate((row) => getComputedStyle(row).display);
    assert.equal(display, "flex", "its style is there");
    assert.deepEqual(page.problems, []);
  });

  test("tells when nobody looks at the page, and when somebody does again", async (t) => {
    const worker = await startMembers(t);
    const page = await openWithRealTabs(t, worker.url("/?as=sally&name=Sally"));
    const other = await open(t, worker.url("/"), { who: "Second" });
    const state = async () => (await members(worker)).map(({ state, tabs }) => [state, tabs]);
    await eventually(async () => assert.deepEqual(await state(), [["online", 1]]));
    const cover = await openTab(page.context(), "about:blank");
    await eventually(async () => {
      assert.deepEqual(await state(), [["away", 1]]);
      assert.equal(await other.locator("whos-online li.away [part=name]").innerText(), "Sally");
    });
    assert.match(await other.locator("whos-online li").ariaSnapshot(), /\(away\)/, "for those who see no dots");
    await cover.close();
    await eventually(async () => assert.deepEqual(await state(), [["online", 1]]));
    await eventually(async () => assert.equal(await other.locator("whos-online li.away").count(), 0));
  });

  test("makes two tabs one member who looks at one of them, and one tab less when one is closed", async (t) => {
    const worker = await startMembers(t);
    const page = await openWithRealTabs(t, worker.url("/forum?as=sally&name=Sally"));
    const told = async () => (await members(worker)).map(({ state, tabs, location }) => [state, tabs, location.path]);
    await eventually(async () => assert.deepEqual(await told(), [["online", 1, "/forum"]]));
    const second = await openTab(page.context(), worker.url("/market"));
    await eventually(async () => assert.deepEqual(await told(), [["online", 2, "/market"]]));
    await second.close();
    await eventually(async () => assert.deepEqual(await told(), [["online", 1, "/forum"]]));
    assert.equal((await worker.json("/v1/count.json")).total, 1);
    // The tab that is left keeps them, beyond the grace of the one that was closed.
    await throughout(11_000, async () => assert.deepEqual(await told(), [["online", 1, "/forum"]]));
  });

  test("makes one visit of many pages, there and back again", async (t) => {
    const worker = await startMembers(t);
    const page = await open(t, worker.url("/"));
    const told = async () => (await members(worker, "guest")).map(({ location, tabs }) => [location.path, tabs]);
    const at = (path) => eventually(async () => assert.deepEqual(await told(), [[path, 1]]));
    await at("/");
    const [{ id, since }] = await members(worker, "guest");
    for (const name of ["Forum", "Market", "Forum"]) {
      await page.evaluate(() => (window.kept = true));
      await page.getByRole("link", { name }).click();
      await at(`/${name.toLowerCase()}`);
    }
    // A page that was kept for the way back has no `load`.
    await page.goBack({ waitUntil: "commit" });
    await at("/market");
    assert.equal(await page.evaluate(() => window.kept), true, "it is the page that was left, not another of that address");
    await page.goBack({ waitUntil: "commit" });
    await at("/forum");
    // The leaves of the pages before take nobody away.
    await throughout(11_000, async () => {
      assert.deepEqual((await members(worker, "guest")).map((guest) => [guest.id, guest.since]), [[id, since]]);
    });
    await at("/forum");
    await eventually(async () => assert.deepEqual(await lines(page), ["1 online", "1 guest"]));
    assert.deepEqual(page.problems, []);
  });

  test("notices a page that changes its address by script", async (t) => {
    const worker = await startMembers(t);
    const page = await open(t, worker.url("/"));
    const place = async () => (await members(worker, "guest")).map(({ location }) => location);
    await eventually(async () => assert.deepEqual(await place(), [{ path: "/", title: "Page /" }]));
    await page.evaluate(() => {
      history.pushState({}, "", "/letters");
      document.title = "Inbox";
    });
    await eventually(async () => assert.deepEqual(await place(), [{ path: "/letters", title: "Inbox" }]));
    await page.goBack({ waitUntil: "commit" });
    await eventually(async () => assert.equal((await place())[0].path, "/"));
  });

  test("keeps an open page online, however short the time", async (t) => {
    const worker = await startMembers(t, { vars: { ONLINE_TIMEOUT: "4", TOUCH_RESOLUTION: "0" } });
    await open(t, worker.url("/?as=sally&name=Sally"));
    const [{ since }] = await eventually(async () => {
      const list = await members(worker);
      assert.equal(list[0].location.title, "Page /");
      return list;
    });
    await throughout(10_000, async () => assert.deepEqual((await members(worker)).map((user) => user.since), [since]));
  });

  test("shows the demo under another base path", async (t) => {
    const worker = await startWorker(t, { BASE_PATH: "/who/is" });
    const page = await open(t, worker.url("/"));
    await eventually(async () => assert.deepEqual(await lines(page), ["1 online", "1 guest"]));
    assert.equal(await page.locator("#count").innerText(), "1");
    assert.deepEqual(page.problems, []);
  });
});
