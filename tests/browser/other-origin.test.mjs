// The widget on pages that are not the Worker's own.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { eventually, html, open, startMembersSite, startSite, startWorker } from "./support.mjs";

/** A site elsewhere that embeds a Worker's widget: the Worker is told of it only after it has a port. */
async function startElsewhere(t) {
  let worker;
  const site = await startSite(t, () => ({ body: html({ title: "Elsewhere", script: worker.url("/_presence/widget.js") }) }));
  return { ...site, embed: (embedded) => (worker = embedded) };
}

describe("a page of another origin", { concurrency: 4, timeout: 600_000 }, () => {
  // 127.0.0.1 and localhost are two sites, two ports of one host are one.
  for (const [kind, host] of [["another port", "127.0.0.1"], ["another site", "localhost"]]) {
    test(`on ${kind} that is listed is recorded, shows the list, and leaves`, async (t) => {
      const elsewhere = await startElsewhere(t);
      const origin = `http://${host}:${elsewhere.port}`;
      const members = await startMembersSite(t);
      const worker = await startWorker(t, { ORIGIN: members.origin, ALLOWED_ORIGINS: `https://example.com, ${origin}` });
      elsewhere.embed(worker);
      await worker.visit("/?as=sally&name=Sally", { title: "Home" });
      const page = await open(t, `${origin}/some/page`);
      await eventually(async () => assert.match(await page.locator("whos-online").getByRole("region").innerText(), /^2 online\s+Sally\s+Home\s+and 1 guest$/));
      const guests = async () => (await worker.json("/v1/online.json?kind=guest")).users.map(({ location, tabs }) => [location, tabs]);
      assert.deepEqual(await guests(), [[{ path: "/some/page", title: "Elsewhere" }, 1]]);
      await page.close();
      await eventually(async () => assert.deepEqual(await guests(), []), 20_000);
      assert.deepEqual(page.problems, []);
    });
  }

  test("that is not listed records nobody, and shows what anybody may read", async (t) => {
    const elsewhere = await startElsewhere(t);
    const members = await startMembersSite(t);
    const worker = await startWorker(t, { ORIGIN: members.origin, ALLOWED_ORIGINS: "https://example.com" });
    elsewhere.embed(worker);
    await worker.visit("/?as=sally&name=Sally", { title: "Home" });
    const page = await open(t, "about:blank");
    const refused = page.waitForEvent("requestfailed", (request) => request.url() === worker.url("/_presence/v1/touch"));
    await page.goto(`${elsewhere.origin}/some/page`);
    await refused;
    const touch = await fetch(worker.url("/_presence/v1/touch"), { method: "POST", headers: { origin: elsewhere.origin } });
    assert.equal(touch.status, 403);
    await eventually(async () => assert.match(await page.locator("whos-online").getByRole("region").innerText(), /^1 online\s+Sally\s+Home$/));
    assert.equal((await worker.json("/v1/count.json")).total, 1);
    // The browser itself notes the refusal in the console; the page gets to know of nothing.
    assert.deepEqual(page.problems.filter((problem) => !/v1\/touch|Failed to load resource|WebSocket/.test(problem)), []);
  });

  test("cannot be read by a site that is not listed with the visitor's cookie", async (t) => {
    const elsewhere = await startElsewhere(t);
    const worker = await startWorker(t);
    elsewhere.embed(worker);
    const page = await open(t, elsewhere.origin);
    const read = (credentials) => page.evaluate(
      ([url, credentials]) => fetch(url, { credentials }).then((response) => response.status, () => "refused"),
      [worker.url("/_presence/v1/online.json"), credentials],
    );
    assert.equal(await read("omit"), 200);
    assert.equal(await read("include"), "refused");
  });
});
