// What a page's script reports, and what it does not, with the settings that a site has by itself.

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { describe, test } from "node:test";
import { eventually, open, startWorker, throughout } from "./support.mjs";

const ADMIN = "an-admin-token-of-some-length";
const widget = '<script src="/_presence/widget.js" async></script><whos-online></whos-online>';

/** A site whose pages have the widget, and headers by their path. */
async function startSite(t, headers) {
  const server = createServer((request, response) => {
    response.writeHead(200, { "content-type": "text/html; charset=utf-8", ...headers[request.url] });
    response.end(`<!doctype html><title>Page ${request.url}</title><link rel="icon" href="data:,">${widget}`);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => server.close());
  return `http://127.0.0.1:${server.address().port}`;
}

describe("a page's script", { concurrency: 3, timeout: 600_000 }, () => {
  test("does not report a page that is nobody's place, and does report the next one", async (t) => {
    const headers = { "/hidden": { "x-presence-location": "none" }, "/unkept": { "cache-control": "private, no-store" } };
    const worker = await startWorker(t, { ORIGIN: await startSite(t, headers), ACCESS: "", ADMIN_TOKEN: ADMIN });
    const guests = async () => {
      const address = worker.url("/_presence/v1/online.json?kind=guest");
      const answer = await fetch(address, { headers: { authorization: `Bearer ${ADMIN}` } });
      return (await answer.json()).users.map(({ location, tabs }) => [location?.path, location?.title, tabs]);
    };
    const page = await open(t, worker.url("/open"));
    await eventually(async () => assert.deepEqual(await guests(), [["/open", "Page /open", 1]]));
    for (const path of ["/hidden", "/unkept"]) {
      await page.goto(worker.url(path));
      await page.locator("whos-online [part=count]").waitFor();
      await eventually(async () => assert.deepEqual(await guests(), [[undefined, undefined, 1]]));
      await throughout(4000, async () => assert.equal((await guests())[0][0], undefined, path));
      await page.evaluate(() => {
        history.pushState({}, "", "/open");
        document.title = "Open";
      });
      await eventually(async () => assert.deepEqual(await guests(), [["/open", "Open", 1]]));
    }
    assert.deepEqual(page.problems, []);
  });

  test("shows strangers who is here without an error, and not where", async (t) => {
    const named = { "x-presence-user": "sally", "x-presence-name": "Sally", "cache-control": "private" };
    const worker = await startWorker(t, { ORIGIN: await startSite(t, { "/sally": named }), ACCESS: "" });
    const sally = await open(t, worker.url("/sally"), { who: "Sally" });
    const stranger = await open(t, worker.url("/open"));
    const list = (page) => page.locator("whos-online [part=list]").innerText();
    await eventually(async () => assert.equal((await list(stranger)).trim(), "Sally"));
    await eventually(async () => assert.match(await list(sally), /Sally\s+Page \/sally/));
    assert.equal((await list(stranger)).trim(), "Sally");
    assert.deepEqual([stranger.problems, sally.problems], [[], []]);
  });
});
