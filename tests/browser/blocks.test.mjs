// What a browser makes of pages with blocks: it is shown every attack of the corpus, and nothing hidden is in what it got or shows.
// And of pages into which the widget's script was put: it runs, whatever the page's policy.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { brotliCompressSync, deflateSync, gzipSync } from "node:zlib";
import { eventually, open, openTab, root, startSite, startWorker } from "./support.mjs";

const KEY = "Key-of_this-Answer42";
const PART_OF_KEY = /answer42/i;
const ATTACKS = JSON.parse(readFileSync(join(root, "tests/corpus/blocks.json"), "utf8"));
const CODINGS = { gzip: gzipSync, br: brotliCompressSync, deflate: deflateSync };

/** A page as the corpus writes it: see tests/runtime/blocks_site.rs. */
function text(page) {
  const tags = {
    yes: `<if-permitted key="${KEY}" can="yes">`,
    no: `<if-permitted key="${KEY}" can="no">`,
    end: `</if-permitted key="${KEY}">`,
    not: `<if-not-permitted key="${KEY}" can="no">`,
    notyes: `<if-not-permitted key="${KEY}" can="yes">`,
    endnot: `</if-not-permitted key="${KEY}">`,
    key: KEY,
    KEY: KEY.toUpperCase(),
    soft: KEY.replace("Answer", "An=\r\nswer"),
    js: KEY.replaceAll("-", "\\u002D"),
  };
  return page.replace(/\{(\w+)\}/g, (all, name) => tags[name] ?? all);
}

/** A site that sends the attacks by their number, compressed if the query says so. */
function startAttackedSite(t, headers) {
  return startSite(t, (url) => {
    const attack = ATTACKS[Number.parseInt(url.pathname.slice(1), 10)];
    if (!attack) return { headers: { "x-presence-user": "sally", "x-presence-perms": "yes", "cache-control": "private" }, body: "a page" };
    const type = attack.second_type ? [attack.type, attack.second_type] : attack.type;
    const coding = url.searchParams.get("coding") ?? undefined;
    const body = Buffer.from(text(attack.body), attack.encoding ?? "utf8");
    return { headers: { "content-type": type, "content-encoding": coding, ...headers }, body: coding ? CODINGS[coding](body) : body };
  });
}

/** All that a document holds, whatever it was parsed as. */
const everything = () => [
  new XMLSerializer().serializeToString(document),
  document.documentElement?.outerHTML,
  document.documentElement?.textContent,
  ...[...document.querySelectorAll("template")].map((template) => template.innerHTML),
  ...[...document.querySelectorAll("iframe")].map((frame) => frame.contentDocument?.documentElement.outerHTML),
].join("\n");

describe("a browser that is shown every attack", { concurrency: 2, timeout: 600_000 }, () => {
  for (const [how, headers, vars] of [
    ["announced by the page", { "x-presence-blocks": KEY }, {}],
    ["with a key for all answers", {}, { BLOCK_KEY: KEY }],
  ]) {
    test(`${how}, finds nothing hidden`, async (t) => {
      const { origin } = await startAttackedSite(t, headers);
      const worker = await startWorker(t, { ORIGIN: origin, ...vars });
      const page = await open(t, worker.url("/"));
      assert.equal((await page.context().cookies()).length, 1, "she is signed in");
      let shown = 0;
      for (const [number, attack] of ATTACKS.entries()) {
        for (const coding of ["", Object.keys(CODINGS)[number % 3]]) {
          const url = worker.url(`/${number}${coding && `?coding=${coding}`}`);
          const sent = await page.context().request.get(url);
          // What is no page in its eyes the browser would save.
          const opened = await page.goto(url).catch(() => null);
          const texts = [(await sent.body()).toString("latin1").replaceAll("\0", "")];
          if (opened) texts.push(await page.evaluate(everything));
          for (const found of texts) {
            assert.doesNotMatch(found, /SECRET/, attack.name);
            assert.doesNotMatch(found.replaceAll("\0", ""), PART_OF_KEY, attack.name);
          }
          assert.equal(texts[0].includes("the end"), !attack.cut, `${attack.name} ${coding}: ${texts[0]}`);
          if (opened) shown += 1;
        }
      }
      assert.ok(shown > ATTACKS.length, `${shown} pages were shown`);
    });
  }
});

describe("a page that lacks the widget's script", { concurrency: 4, timeout: 600_000 }, () => {
  const page = (head, rest = "") => `<!doctype html><html><head>${head}<title>a</title></head><body><whos-online>Who is online?</whos-online>${rest}</body></html>`;
  const meta = (policy) => `<meta http-equiv="Content-Security-Policy" content="${policy}">`;
  const xhtml = `<html xmlns="http://www.w3.org/1999/xhtml"><head><title/><script/></head><body><whos-online/></body></html>`;
  for (const [name, headers, body] of [
    ["without a policy", {}, page("")],
    ["with a policy of nonces", { "content-security-policy": "script-src 'nonce-a1B2'; connect-src 'self'" }, page("")],
    ["with a policy that trusts what is trusted", { "content-security-policy": "script-src 'strict-dynamic' 'nonce-a1B2'" }, page("")],
    ["with a policy of its own in its head", {}, page(meta("script-src 'nonce-a1B2' 'strict-dynamic'"))],
    ["with another base", {}, page('<base href="http://elsewhere.invalid/a/">')],
    ["with markup that parsers give up on", {}, page("", "<select><script>1</script><xmp></select>")],
    ["without a head", {}, "<!doctype html><title>a</title><whos-online></whos-online>"],
    ["in XHTML", { "content-type": "application/xhtml+xml" }, xhtml],
    ["compressed", { "content-encoding": "gzip" }, gzipSync(page(""))],
    ["compressed in another way", { "content-encoding": "br" }, brotliCompressSync(page(""))],
  ]) {
    test(`${name} gets it, and it runs`, async (t) => {
      const { origin } = await startSite(t, (url) => (url.pathname === "/" ? { headers, body } : { status: 404 }));
      const worker = await startWorker(t, { ORIGIN: origin, INJECT_WIDGET: "true" });
      const tab = await openTab((await open(t, "about:blank")).context(), worker.url("/"));
      await eventually(async () => assert.ok(await tab.evaluate(() => customElements.get("whos-online") !== undefined)));
      assert.equal(await tab.locator("parsererror").count(), 0);
      assert.equal(await tab.locator("script[src$='/_presence/widget.js']").count(), 1);
    });
  }
});
