// What the browser tests stand on: the built Worker on workerd, real browsers, and small sites of the tests' own.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { accessSync, closeSync, constants, existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { createInterface } from "node:readline";
import { after } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import workerd from "workerd";

export const root = fileURLToPath(new URL("../..", import.meta.url));
const PATIENCE = 60_000; // milliseconds

/** Waits until a check no longer throws, and gives what it returns. */
export async function eventually(check, patience = PATIENCE) {
  const until = Date.now() + patience;
  for (;;) {
    try {
      return await check();
    } catch (error) {
      if (Date.now() > until) throw error;
    }
    await pause(100);
  }
}

/** Checks again and again, for that long. */
export async function throughout(milliseconds, check) {
  for (const until = Date.now() + milliseconds; Date.now() < until; await pause(250)) await check();
}

// Where people are, and guests one by one, is what tests look at; a site keeps these from strangers.
const OPEN = '{"locations": "public", "guests": "public"}';

/** Starts the built Worker with a port and a storage of its own; `ACCESS: ""` gives it the default of a site. */
export async function startWorker(t, vars = {}) {
  const worker = new Worker({ ACCESS: OPEN, ...vars });
  t.after(() => worker.end(t.passed));
  await worker.start();
  return worker;
}

class Worker {
  #vars;
  #home = mkdtempSync(join(tmpdir(), "whos-online-"));
  #child;
  #port = 0; // any; after the first start the same again, as pages know it

  constructor(vars) {
    this.#vars = vars;
    for (const file of ["index.js", "index_bg.wasm"]) {
      const built = join(root, "build", file);
      if (!existsSync(built)) throw new Error(`build/${file} is missing: \`npm run build\` makes it`);
      symlinkSync(built, join(this.#home, file));
    }
    mkdirSync(join(this.#home, "storage"));
  }

  /** Starts it, with further variables if need be: after that it has them. */
  async start(vars = {}) {
    Object.assign(this.#vars, vars);
    writeFileSync(join(this.#home, "config.capnp"), this.#config());
    const log = openSync(join(this.#home, "log"), "a");
    this.#child = spawn(workerd.default, ["serve", "--control-fd=1", "config.capnp"], {
      cwd: this.#home,
      stdio: ["ignore", "pipe", log],
    });
    closeSync(log);
    running.add(this.#child);
    for await (const line of createInterface(this.#child.stdout)) {
      this.#port = JSON.parse(line).port;
      return;
    }
    throw new Error(`workerd did not start: ${this.#log()}`);
  }

  /** Kills it, as a power cut would. `start` goes on with the same storage. */
  async kill() {
    const child = this.#child;
    if (child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, "exit");
    child.kill("SIGKILL");
    await exited;
    running.delete(child);
  }

  async end(passed) {
    const { exitCode, signalCode } = this.#child;
    await this.kill();
    if (!passed) console.error(`the Worker ${exitCode ?? signalCode ?? "was running"}; its log:\n${this.#log()}`);
    rmSync(this.#home, { recursive: true, force: true });
  }

  get origin() {
    return `http://127.0.0.1:${this.#port}`;
  }

  url(path) {
    return this.origin + path;
  }

  /** A public answer, as JSON. */
  async json(path) {
    const response = await fetch(this.url(`/_presence${path}`));
    assert.equal(response.status, 200, path);
    return response.json();
  }

  /**
   * Somebody opens a page without a browser: a document and, where a title is given, what the widget would report. The
   * cookie that they have then is given back.
   */
  async visit(path, { title, cookie: before = "", agent = "Mozilla/5.0 (X11; Linux x86_64; rv:144.0) Gecko/20100101 Firefox/144.0" } = {}) {
    const headers = { accept: "text/html", "user-agent": agent, cookie: before };
    const page = await fetch(this.url(path), { headers });
    const cookie = page.headers.getSetCookie().map((set) => set.split(";")[0]).join("; ");
    if (!title) return cookie;
    const body = JSON.stringify({ path: path.split("?")[0], title });
    const touch = await fetch(this.url("/_presence/v1/touch"), { method: "POST", headers: { ...headers, cookie }, body });
    assert.equal(touch.status, 204);
    return cookie;
  }

  #log() {
    return readFileSync(join(this.#home, "log"), "utf8");
  }

  #config() {
    const text = JSON.stringify;
    const vars = Object.entries(this.#vars).map(([name, value]) => `, (name = ${text(name)}, text = ${text(value)})`);
    return `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "main", worker = .worker),
    (name = "disk", disk = (path = ${text(join(this.#home, "storage"))}, writable = true)),
    (name = "internet", network = (allow = ["public", "private"])),
  ],
  sockets = [(name = "http", address = "127.0.0.1:${this.#port}", http = (), service = "main")],
);
const worker :Workerd.Worker = (
  modules = [(name = "index.js", esModule = embed "index.js"), (name = "./index_bg.wasm", wasm = embed "index_bg.wasm")],
  compatibilityDate = "2026-10-01",
  compatibilityFlags = ["enable_request_signal"],
  durableObjectNamespaces = [
    (className = "PresenceObject", uniqueKey = "presence", enableSql = true),
    (className = "RelayObject", uniqueKey = "relays", enableSql = true),
    (className = "LoginObject", uniqueKey = "logins", enableSql = true),
    (className = "AccountObject", uniqueKey = "accounts", enableSql = true),
  ],
  durableObjectStorage = (localDisk = "disk"),
  bindings = [
    (name = "PRESENCE", durableObjectNamespace = "PresenceObject"),
    (name = "RELAYS", durableObjectNamespace = "RelayObject"),
    (name = "LOGINS", durableObjectNamespace = "LoginObject"),
    (name = "ACCOUNTS", durableObjectNamespace = "AccountObject")${vars.join("")}],
);
`;
  }
}

// A test run that is cut short leaves no server behind.
const running = new Set();
process.on("exit", () => running.forEach((child) => child.kill("SIGKILL")));

/**
 * A site of the test's own: `answer(url, request)` gives `{ status, headers, body }`, or nothing to drop the connection. A
 * header that is undefined is left out.
 * `asked` holds the paths of all requests.
 */
export async function startSite(t, answer) {
  const asked = [];
  const server = createServer((request, response) => {
    asked.push(request.url);
    const answered = answer(new URL(request.url, "http://site"), request);
    if (!answered) return request.socket.destroy();
    const headers = { "content-type": "text/html; charset=utf-8", ...answered.headers };
    response.writeHead(answered.status ?? 200, Object.fromEntries(Object.entries(headers).filter(([, value]) => value !== undefined)));
    response.end(answered.body ?? "");
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  const { port } = server.address();
  return { origin: `http://127.0.0.1:${port}`, port, asked };
}

/** A page with the widget, unless `body` says otherwise. */
export function html({ lang = "en", title = "A page", script = "/_presence/widget.js", body = "<whos-online refresh=5>Who is online?</whos-online>" }) {
  return `<!doctype html><html lang="${lang}"><meta charset="utf-8"><title>${title}</title><link rel="icon" href="data:,">
<script src="${script}" async></script><body>${body}</body></html>`;
}

/**
 * A site for the Worker to stand in front of. `/any/path?as=sally&name=Sally` signs Sally in, `?as=` signs out. Every
 * page has links to two others.
 */
export function startMembersSite(t, { body, headers = {} } = {}) {
  return startSite(t, (url) => {
    const told = { ...headers };
    const [as, name] = ["as", "name"].map((field) => url.searchParams.get(field));
    if (as !== null) told["x-presence-user"] = encodeURIComponent(as);
    if (name) told["x-presence-name"] = encodeURIComponent(name);
    const links = `<a href="/forum">Forum</a> <a href="/market">Market</a>`;
    return { headers: told, body: html({ title: `Page ${url.pathname}`, body: body ?? `${links} <whos-online refresh=5>Who is online?</whos-online>` }) };
  });
}

/** The Worker in front of such a site. */
export async function startMembers(t, { vars, ...site } = {}) {
  const { origin } = await startMembersSite(t, site);
  return startWorker(t, { ORIGIN: origin, ...vars });
}

const browsers = new Map();
after(async () => {
  for (const browser of browsers.values()) await browser.then((browser) => browser.close(), () => {});
});

/**
 * Opens a page in somebody's browser. On plain workerd all have one address, so it is the browser's name that makes
 * guests different; it is given at launch because beacons do not heed what a context is told.
 * Whatever goes wrong on the page, a violated policy included, is in `page.problems`.
 */
export async function open(t, url, { who = "First", ...options } = {}) {
  if (!browsers.has(who)) browsers.set(who, launch(who));
  const context = await (await browsers.get(who)).newContext(options);
  t.after(() => context.close());
  return openTab(context, url);
}

/** Another tab of the same browser. */
export async function openTab(context, url) {
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE);
  page.problems = [];
  page.on("pageerror", (error) => page.problems.push(String(error)));
  page.on("console", (message) => message.type() === "error" && page.problems.push(message.text()));
  await page.goto(url);
  return page;
}

function launch(who) {
  return chromium.launch({
    executablePath: findChromium(),
    // As at home: pages that are left are kept for the way back.
    ignoreDefaultArgs: ["--disable-back-forward-cache"],
    args: options(who),
  });
}

function options(who) {
  return [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    `--user-agent=Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36 ${who}`,
  ];
}

/**
 * Opens a page in a browser in which a tab that is covered by another is hidden. In those that Playwright launches
 * every tab takes itself for the one that is looked at.
 */
export async function openWithRealTabs(t, url, { who = "First" } = {}) {
  const profile = mkdtempSync(join(tmpdir(), "whos-online-"));
  const args = [...options(who), "--remote-debugging-port=0", `--user-data-dir=${profile}`, "about:blank"];
  const child = spawn(findChromium(), args, { stdio: ["ignore", "ignore", "pipe"] });
  running.add(child);
  const exited = once(child, "exit");
  let browser;
  t.after(async () => {
    // Asked to, it ends its helpers first; killed, it would leave them writing to the profile.
    const session = await browser?.newBrowserCDPSession();
    await (session ? session.send("Browser.close").catch(() => {}) : child.kill("SIGKILL"));
    await exited;
    running.delete(child);
    rmSync(profile, { recursive: true, force: true, maxRetries: 10, retryDelay: 200 });
  });
  for await (const line of createInterface(child.stderr)) {
    const [, address] = /DevTools listening on (\S+)/.exec(line) ?? [];
    if (!address) continue;
    child.stderr.resume(); // unread, it would stop the browser one day
    // While its first tab is being opened it may take a connection and never answer.
    browser = await eventually(() => chromium.connectOverCDP(address, { noDefaults: true, timeout: 3000 }));
    return openTab(browser.contexts()[0], url);
  }
  throw new Error("Chromium did not start");
}

function findChromium() {
  const folders = (process.env.PATH ?? "").split(delimiter);
  const names = ["chromium", "chromium-browser", "google-chrome"];
  const usual = names.flatMap((name) => [...folders, "/usr/bin"].map((folder) => join(folder, name)));
  const found = (process.env.CHROMIUM ? [process.env.CHROMIUM] : usual).find(runs);
  if (found) return found;
  const message = "no Chromium found: apt-get install chromium, or set CHROMIUM";
  throw Object.assign(new Error(message), { stack: message }); // where it was noticed matters to nobody
}

function runs(path) {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
