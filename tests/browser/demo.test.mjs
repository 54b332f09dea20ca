// The demo pages, as whoever starts the Worker sees them.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { eventually, open, startWorker } from "./support.mjs";

const online = (page) => page.locator("whos-online [part=count]").innerText();
const rows = (page) => page.locator("#pages li").allInnerTexts();
const row = (text) => text.replace(/\s+/g, " ");

describe("the demo page", { concurrency: 5, timeout: 600_000 }, () => {
  test("opens without an error or a violation of its policy, and shows me online, but not where", async (t) => {
    const worker = await startWorker(t, { ACCESS: "" });
    const page = await open(t, worker.url("/"));
    await eventually(async () => {
      assert.equal(await online(page), "1 online");
      assert.equal(await page.locator("whos-online [part=guests]").innerText(), "1 guest");
      assert.equal(await page.locator("#count").innerText(), "1");
      assert.match(await page.locator("#json").innerText(), /counts/);
    });
    assert.equal(await page.locator("#pages").isVisible(), false);
    assert.match(await page.locator("#places").innerText(), /Told to users who are signed in/);
    const badge = page.locator("#badge");
    await eventually(async () => assert.ok(await badge.evaluate((image) => image.complete && image.naturalWidth > 40)));
    for (const path of ["/forum", "/market"]) {
      await page.goto(worker.url(path));
      await eventually(async () => assert.equal(await online(page), "1 online"));
    }
    const policy = (await fetch(worker.url("/"))).headers.get("content-security-policy");
    assert.match(policy, /default-src 'self'/);
    assert.deepEqual(page.problems, []);
  });

  test("shows the JSON behind it, and the snippet, which can be copied", async (t) => {
    const worker = await startWorker(t);
    const page = await open(t, worker.url("/"), { permissions: ["clipboard-read", "clipboard-write"] });
    const shown = await eventually(async () => JSON.parse(await page.locator("#json").innerText()));
    const { counts, peak, online_timeout } = await worker.json("/v1/online.json");
    assert.deepEqual(shown.counts, { total: 1, users: 0, guests: 1, bots: 0 });
    assert.deepEqual([shown.counts, shown.peak, shown.online_timeout], [counts, peak, online_timeout]);
    const snippet = await page.locator("#snippet").innerText();
    assert.equal(snippet, '<script src="/_presence/widget.js" async></script>\n<whos-online>Who is online?</whos-online>');
    const copy = page.getByRole("button", { name: "Copy" });
    await copy.focus();
    await page.keyboard.press("Enter");
    await eventually(async () => assert.equal(await page.locator("#copied").innerText(), "Copied."));
    assert.equal(await page.evaluate(() => navigator.clipboard.readText()), snippet);
    assert.deepEqual(page.problems, []);
  });

  test("shows a second browser that comes, moves and goes", async (t) => {
    const worker = await startWorker(t);
    const first = await open(t, worker.url("/"));
    const second = await open(t, worker.url("/"), { who: "Second" });
    const pages = async () => (await worker.json("/v1/pages.json")).pages.map(({ path, title, total }) => [path, title, total]);
    await eventually(async () => {
      assert.equal(await online(first), "2 online");
      assert.equal(await first.locator("#count").innerText(), "2");
      // Guests of one address give no page a title.
      assert.deepEqual((await rows(first)).map(row), ["/ 2 people"]);
    });
    for (const [path, name] of [["/forum", "Forum"], ["/market", "Market"]]) {
      await second.getByRole("navigation").getByRole("link", { name }).click();
      await eventually(async () => {
        assert.deepEqual((await pages()).sort(), [["/", null, 1], [path, null, 1]]);
        assert.deepEqual((await rows(first)).map(row).sort(), ["/ 1 person", `${path} 1 person`]);
        assert.equal(await online(first), "2 online");
      });
    }
    await second.close();
    assert.equal((await worker.json("/v1/count.json")).total, 2); // it may be opening another page
    await eventually(async () => {
      assert.equal(await online(first), "1 online");
      assert.deepEqual((await rows(first)).map(row), ["/ 1 person"]);
    }, 20_000);
    assert.deepEqual([first.problems, second.problems], [[], []]);
  });

  test("fits every width, in light and dark", async (t) => {
    const worker = await startWorker(t, { ACCESS: "" });
    const papers = new Set();
    for (const colorScheme of ["light", "dark"]) {
      const page = await open(t, worker.url("/"), { colorScheme });
      for (const path of ["/", "/forum", "/market"]) {
        await page.goto(worker.url(path));
        await eventually(async () => assert.equal(await online(page), "1 online"));
        if (path === "/") await eventually(async () => assert.match(await page.locator("#json").innerText(), /counts/));
        for (const width of [320, 360, 480, 767, 768, 1024, 1400]) {
          await page.setViewportSize({ width, height: 800 });
          const over = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
          assert.ok(over <= 0, `${path} is ${over} pixels too wide for ${width}`);
        }
      }
      papers.add(await page.evaluate(() => getComputedStyle(document.body).backgroundColor));
    }
    assert.equal(papers.size, 2, "dark is not light");
  });

  test("tells a screen reader what is where", async (t) => {
    const worker = await startWorker(t);
    const page = await open(t, worker.url("/"));
    const count = page.getByRole("complementary", { name: "The widget" }).getByRole("region", { name: "1 online" });
    await eventually(() => count.waitFor({ timeout: 1000 }));
    const outline = await page.locator("body").ariaSnapshot();
    for (const line of [
      /^- link "Skip to content"/m,
      /^- banner:/m,
      /^ +- navigation "Demo pages":/m,
      /^- main:/m,
      /^ +- heading "See who is on your site, right now\." \[level=1\]/m,
      /^ +- img "Badge with the number of people online"/m,
      /^ +- region "Where people are":/m,
      /^ +- region "Put it on a page":/m,
      /^ +- region "The answer behind it":/m,
      /^- contentinfo:/m,
    ]) {
      assert.match(outline, line);
    }
    await page.keyboard.press("Tab");
    await page.keyboard.press("Enter");
    assert.equal(new URL(page.url()).hash, "#main", "the first stop skips to the content");
  });
});
