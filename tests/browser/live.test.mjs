// People who come, move and go, as others see it at once: in real browsers, with the real Worker behind them.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { eventually, open, openTab, openWithRealTabs, startMembers, throughout } from "./support.mjs";

const lines = async (page) => (await page.locator("whos-online").getByRole("region").innerText({ timeout: 2000 })).split("\n").filter(Boolean);
const shows = (page, expected) => eventually(async () => assert.deepEqual(await lines(page), expected));
const sockets = (page) => {
  const open = new Set();
  page.on("websocket", (socket) => {
    open.add(socket);
    socket.on("close", () => open.delete(socket));
  });
  return open;
};

/** A page of somebody's, whose connections are counted from the first. */
async function counted(context) {
  const page = await openTab(context, "about:blank");
  return { page, open: sockets(page) };
}

describe("live", () => {
  test("shows three pages of two users what they do, as they do it", async (t) => {
    const worker = await startMembers(t);
    const sally = await open(t, worker.url("/forum?as=sally&name=Sally"));
    await shows(sally, ["1 online", "Sally", "Page /forum"]);
    const bob = await open(t, worker.url("/?as=bob&name=Bob"), { who: "Second" });
    await shows(sally, ["2 online", "Bob", "Page /", "Sally", "Page /forum"]);
    await shows(bob, ["2 online", "Bob", "Page /", "Sally", "Page /forum"]);

    // A second tab; then it is closed.
    const second = await openTab(sally.context(), worker.url("/market"));
    await shows(bob, ["2 online", "Sally", "Page /market", "Bob", "Page /"]);
    await second.close();
    await shows(bob, ["2 online", "Sally", "Page /forum", "Bob", "Page /"]);

    // She walks on: at no time is she gone.
    const seen = bob.evaluate(() => new Promise((resolve) => {
      const totals = new Set();
      document.querySelector("whos-online").addEventListener("presence", ({ detail }) => {
        totals.add(detail.counts.total);
        if (detail.users[0].location.title === "Page /market") resolve([...totals]);
      });
    }));
    await sally.getByRole("link", { name: "Market" }).click();
    await shows(bob, ["2 online", "Sally", "Page /market", "Bob", "Page /"]);
    assert.deepEqual(await seen, [2]);
    await shows(sally, ["2 online", "Sally", "Page /market", "Bob", "Page /"]);

    // The server is killed, and started again.
    await worker.kill();
    await throughout(1000, async () => assert.deepEqual(await lines(bob), ["2 online", "Sally", "Page /market", "Bob", "Page /"]));
    await worker.start();
    await sally.getByRole("link", { name: "Forum" }).click();
    // Who has come back last comes first.
    await eventually(async () => assert.deepEqual((await lines(bob)).sort(), ["2 online", "Bob", "Page /", "Page /forum", "Sally"]));

    // She goes.
    await sally.close();
    await shows(bob, ["1 online", "Bob", "Page /"]);
    assert.deepEqual(bob.problems.filter((problem) => !/WebSocket|Failed to load/.test(problem)), []);
  });

  test("has one connection for all tabs of a browser, and another at once when its tab is closed", async (t) => {
    const worker = await startMembers(t);
    const first = await open(t, "about:blank");
    const context = first.context();
    const own = sockets(first);
    await first.goto(worker.url("/forum?as=sally&name=Sally"));
    await shows(first, ["1 online", "Sally", "Page /forum"]);
    const others = [await counted(context), await counted(context)];
    // A page hears of the others as soon as it listens: that it is shown itself says that it has been heard, too.
    for (const [index, { page }] of others.entries()) {
      await page.goto(worker.url(`/page-${index}`));
      for (const shown of [first, page]) await shows(shown, ["1 online", "Sally", `Page /page-${index}`]);
    }
    await shows(others[0].page, ["1 online", "Sally", "Page /page-1"]);
    const connections = () => [own, ...others.map(({ open }) => open)].map((open) => open.size);
    assert.deepEqual(connections(), [1, 0, 0]);
    await eventually(async () => assert.equal((await worker.json("/v1/online.json")).users[0].tabs, 3));

    await first.close();
    await eventually(() => assert.equal(others[0].open.size + others[1].open.size, 1));
    // What they hear from now on is news.
    await worker.visit("/?as=bob&name=Bob", { title: "Home" });
    for (const { page } of others) await shows(page, ["2 online", "Bob", "Home", "Sally", "Page /page-1"]);
    await eventually(async () => {
      const sally = (await worker.json("/v1/online.json")).users.find(({ id }) => id === "sally");
      assert.equal(sally.tabs, 2);
    });
    // Beyond the grace of what the first connection held.
    await throughout(11_000, async () => {
      const ids = (await worker.json("/v1/online.json")).users.map(({ id }) => id);
      assert.ok(ids.includes("sally"), `${ids}`);
    });
    const { page } = others.find(({ open }) => open.size > 0);
    await page.close();
    const rest = others.find((other) => other.page !== page);
    await eventually(async () => {
      assert.equal(rest.open.size, 1);
      const sally = (await worker.json("/v1/online.json")).users.find(({ id }) => id === "sally");
      assert.equal(sally.tabs, 1);
    });
  });

  test("makes those who sign in elsewhere in the browser one member, not two", async (t) => {
    const worker = await startMembers(t);
    const guest = await open(t, worker.url("/forum"));
    await shows(guest, ["1 online", "1 guest"]);
    const login = await openTab(guest.context(), worker.url("/market?as=sally&name=Sally"));
    await shows(login, ["1 online", "Sally", "Page /market"]);
    await shows(guest, ["1 online", "Sally", "Page /market"]);
    await eventually(async () => assert.equal((await worker.json("/v1/online.json")).users[0].tabs, 2));
    await throughout(2000, async () => assert.equal((await worker.json("/v1/count.json")).total, 1));
    const out = await openTab(guest.context(), worker.url("/?as="));
    for (const page of [guest, login, out]) await shows(page, ["1 online", "1 guest"]);
  });

  test("shows who is cut off as gone, and back again when they are, without a reload", async (t) => {
    const worker = await startMembers(t, { vars: { ONLINE_TIMEOUT: "4", TOUCH_RESOLUTION: "0" } });
    const sally = await open(t, worker.url("/forum?as=sally&name=Sally"));
    const bob = await open(t, worker.url("/?as=bob&name=Bob"), { who: "Second" });
    await shows(bob, ["2 online", "Bob", "Page /", "Sally", "Page /forum"]);
    await sally.evaluate(() => (window.kept = true));
    // Her laptop is closed: nothing comes from it, and nothing of what is sent arrives.
    const session = await sally.context().newCDPSession(sally);
    await session.send("Network.enable");
    await sally.context().setOffline(true);
    await sally.evaluate(() => dispatchEvent(new Event("pagehide")));
    await shows(bob, ["1 online", "Bob", "Page /"]);
    await sally.context().setOffline(false);
    await sally.evaluate(() => dispatchEvent(new Event("pageshow")));
    await eventually(async () => assert.ok((await lines(bob)).includes("Sally")));
    await eventually(async () => assert.deepEqual(await lines(sally), await lines(bob)));
    assert.equal(await sally.evaluate(() => window.kept), true);
  });

  test("goes on without a reload where a site is spread over more objects, and over fewer again", async (t) => {
    const worker = await startMembers(t);
    const sally = await open(t, worker.url("/?as=sally&name=Sally"));
    await shows(sally, ["1 online", "Sally", "Page /"]);
    const context = sally.context();
    const tabs = [sally, await openTab(context, worker.url("/"))];
    for (const [index, shards] of ["4", "1", "3"].entries()) {
      await worker.kill();
      await worker.start({ SHARDS: shards });
      const name = `Visitor-${index}`;
      await open(t, worker.url(`/?as=${name}&name=${name}`), { who: "Second" });
      for (const tab of tabs) await eventually(async () => assert.ok((await lines(tab)).includes(name)));
    }
  });

  test("takes who touches nothing for away, until they do", async (t) => {
    const worker = await startMembers(t, { body: `<whos-online idle="5"></whos-online>` });
    const page = await open(t, worker.url("/?as=sally&name=Sally"));
    const state = async () => (await worker.json("/v1/users/sally.json")).state;
    await eventually(async () => assert.equal(await state(), "online"));
    await eventually(async () => assert.equal(await state(), "away"));
    assert.equal(await page.locator("whos-online li.away").count(), 1);
    await page.mouse.move(5, 5);
    await page.mouse.move(9, 9);
    await eventually(async () => assert.equal(await state(), "online"));
  });

  test("says who comes and who goes to those who cannot see it, and of a crowd how many", async (t) => {
    const worker = await startMembers(t, { body: `<whos-online joined-label="{names} come in"></whos-online>` });
    const page = await open(t, worker.url("/"));
    await shows(page, ["1 online", "1 guest"]);
    const said = () => page.locator("whos-online").getByRole("status").innerText();
    assert.equal(await said(), "", "who was here before is no news");
    await worker.visit("/?as=ann&name=Ann");
    await worker.visit("/?as=bob&name=%3Cb%3EBob");
    await eventually(async () => assert.equal(await said(), "Ann, <b>Bob come in"));
    for (let index = 0; index < 7; index++) await worker.visit(`/?as=u${index}`);
    await eventually(async () => assert.equal(await said(), "7 come in"));
    assert.deepEqual(page.problems, []);
  });

  test("asks now and then where there are no connections, and counts nobody out", async (t) => {
    const worker = await startMembers(t, { vars: { ACCESS: `{"live": "nobody", "locations": "public"}` } });
    const page = await open(t, worker.url("/?as=sally&name=Sally"));
    await shows(page, ["1 online", "Sally", "Page /"]);
    await worker.visit("/?as=bob&name=Bob", { title: "Home" });
    await shows(page, ["2 online", "Bob", "Home", "Sally", "Page /"]);
    assert.equal((await worker.json("/v1/users/sally.json")).location.title, "Page /");
    await page.close();
    await eventually(async () => assert.equal((await worker.json("/v1/users/sally.json")).online, false));
  });

  test("gives a page the data without our markup", async (t) => {
    const body = `<output></output><script type="module">
      import { subscribe } from "/_presence/client.js";
      window.heard = [];
      window.stop = subscribe((presence) => window.heard.push(presence), { names: true, limit: 1 });
    </script>`;
    const worker = await startMembers(t, { body });
    await worker.visit("/?as=ann&name=Ann", { title: "Home" });
    const page = await open(t, worker.url("/?as=sally&name=Sally"));
    const last = () => page.evaluate(() => window.heard.at(-1));
    await eventually(async () => {
      const { counts, users } = await last();
      assert.deepEqual([counts.users, users.length], [2, 1]);
    });
    await worker.visit("/?as=bob&name=Bob", { title: "Home" });
    await eventually(async () => {
      const heard = await page.evaluate(() => window.heard.map(({ joins }) => joins.map(({ id }) => id)));
      assert.ok(heard.flat().includes("bob"), JSON.stringify(heard));
    });
    await page.evaluate(() => window.stop());
    const before = await page.evaluate(() => window.heard.length);
    await worker.visit("/?as=zoe&name=Zoe", { title: "Home" });
    await throughout(1500, async () => assert.equal(await page.evaluate(() => window.heard.length), before));
    assert.deepEqual(page.problems, []);
  });

  test("tells a page at once what another tab has asked for before it", async (t) => {
    const body = `<output></output><script type="module">
      import { subscribe } from "/_presence/client.js";
      window.heard = [];
      window.ask = () => subscribe((presence) => window.heard.push(presence), { topic: "tea" });
    </script>`;
    const worker = await startMembers(t, { body, vars: { TOPICS: "tea" } });
    const leading = await open(t, worker.url("/?as=sally&name=Sally"));
    await eventually(async () => assert.equal((await worker.json("/v1/count.json")).total, 1));
    const following = await openTab(leading.context(), worker.url("/"));
    await following.evaluate(() => window.ask());
    const heard = (page) => page.evaluate(() => window.heard.at(-1)?.users.map(({ id }) => id));
    await eventually(async () => assert.deepEqual(await heard(following), ["sally"]));
    // Nothing happens from now on, so that nothing is said.
    await throughout(1000, async () => assert.deepEqual(await heard(following), ["sally"]));
    await leading.evaluate(() => window.ask());
    await eventually(async () => assert.deepEqual(await heard(leading), ["sally"]));
    assert.deepEqual(leading.problems, []);
  });

  test("goes its own way where a page may keep nothing", async (t) => {
    const worker = await startMembers(t);
    const page = await open(t, "about:blank");
    await page.addInitScript(() => {
      // As in a sandbox, or where site data are blocked.
      navigator.locks.request = () => Promise.reject(new DOMException("not here", "SecurityError"));
    });
    await page.goto(worker.url("/?as=sally&name=Sally"));
    await shows(page, ["1 online", "Sally", "Page /"]);
    await worker.visit("/?as=bob&name=Bob", { title: "Home" });
    await shows(page, ["2 online", "Bob", "Home", "Sally", "Page /"]);
    assert.deepEqual(page.problems, []);
  });

  test("tells the others too when one of a page's listeners fails", async (t) => {
    const body = `<whos-online></whos-online><script type="module">
      import { subscribe } from "/_presence/client.js";
      subscribe(() => { throw new Error("mine"); });
    </script>`;
    const worker = await startMembers(t, { body });
    const page = await open(t, "about:blank");
    const own = sockets(page);
    await page.goto(worker.url("/?as=sally&name=Sally"));
    for (const user of ["ann", "bob", "zoe"]) {
      await worker.visit(`/?as=${user}`, { title: "Home" });
      await eventually(async () => assert.ok((await lines(page)).includes(user)));
    }
    assert.equal(own.size, 1);
    assert.ok(page.problems.length > 1 && page.problems.every((problem) => problem === "Error: mine"), page.problems.join());
  });

  test("takes a click on a name while others move", async (t) => {
    const worker = await startMembers(t, { body: `<whos-online link="/profile/{id}"></whos-online>` });
    const page = await open(t, worker.url("/?as=sally&name=Sally"));
    await shows(page, ["1 online", "Sally", "Page /"]);
    const links = await page.evaluateHandle(() => [...document.querySelector("whos-online").shadowRoot.querySelectorAll("a")]);
    await worker.visit("/?as=bob&name=Bob", { title: "Home" });
    await shows(page, ["2 online", "Bob", "Home", "Sally", "Page /"]);
    await page.getByRole("link", { name: "Sally" }).hover();
    await page.mouse.down();
    await worker.visit("/else?as=bob&name=Bob", { title: "Else" });
    await shows(page, ["2 online", "Bob", "Else", "Sally", "Page /"]);
    assert.ok(await links.evaluate(([sally]) => sally.isConnected), "hers is the same link still");
    await page.mouse.up();
    await page.waitForURL("**/profile/sally");
  });

  test("fills its list again when those on it have gone", async (t) => {
    const worker = await startMembers(t, { body: `<whos-online limit="2"></whos-online>` });
    const cookies = {};
    for (const user of ["ann", "bob", "zoe", "sue"]) cookies[user] = await worker.visit(`/?as=${user}`, { title: "Home" });
    const page = await open(t, worker.url("/"), { who: "Second" });
    await eventually(async () => assert.equal((await lines(page))[0], "5 online"));
    const shown = async () => (await lines(page)).filter((line) => /^(ann|bob|zoe|sue)$/.test(line));
    const first = await shown();
    assert.equal(first.length, 2);
    for (const user of first) await worker.visit("/?as=", { cookie: cookies[user] });
    await eventually(async () => {
      const now = await shown();
      assert.equal(now.length, 2);
      assert.ok(!now.some((user) => first.includes(user)));
    });
  });

  test("leaves when its tab is hidden for long, and comes back when it is looked at", async (t) => {
    const worker = await startMembers(t);
    const page = await openWithRealTabs(t, "about:blank");
    // Five minutes pass at once.
    await page.addInitScript(() => {
      let ahead = 0;
      const now = performance.now.bind(performance);
      performance.now = () => now() + ahead;
      window.wait = (seconds) => (ahead += seconds * 1000);
    });
    await page.goto(worker.url("/?as=sally&name=Sally"));
    await shows(page, ["1 online", "Sally", "Page /"]);
    const cover = await openTab(page.context(), "about:blank");
    const state = async () => (await worker.json("/v1/users/sally.json")).state;
    await eventually(async () => assert.equal(await state(), "away"));
    await page.evaluate(() => window.wait(301));
    await eventually(async () => assert.equal(await state(), "offline"));
    await cover.close();
    await eventually(async () => assert.equal(await state(), "online"));
    await shows(page, ["1 online", "Sally", "Page /"]);
  });
});
