// Touches the presence service for this visitor and lists in <whos-online> who else is there.
// Failure is quiet: what is shown stays.
(() => {
  if (customElements.get("whos-online")) return; // loaded twice

  const base = new URL(".", document.currentScript.src).href; // null once the script has run
  const tab = crypto.getRandomValues(new Uint32Array(4)).join("-"); // randomUUID needs a secure context
  const feeds = new Map(); // by address
  let touchEvery = 60; // seconds
  let told; // the last place sent
  let gone; // after pagehide

  const asleep = () => gone || document.hidden;

  function number(text, least, most, otherwise) {
    const n = parseInt(text, 10);
    return isNaN(n) ? otherwise : Math.min(most, Math.max(least, n));
  }

  // `stream` drops half a character. Encoding mends lone surrogates, which are not JSON.
  const cut = (text, bytes) =>
    new TextDecoder().decode(new TextEncoder().encode(text).subarray(0, bytes), { stream: true });

  async function request(path, options) {
    const response = await fetch(base + path, { signal: AbortSignal.timeout?.(10000), ...options });
    if (!response.ok) throw new Error(response.status);
    return response.text();
  }

  // Repeats a job while the page is visible. Asked while it runs, it runs once more.
  function loop(job, seconds) {
    let timer, running, again, failures = 0;
    const stop = () => clearTimeout(timer);
    const run = () => {
      stop();
      again = !!running;
      return (running ??= work());
    };
    const work = async () => {
      do {
        again = false;
        await job().then(() => (failures = 0), () => failures++);
      } while (again);
      running = null;
      const wait = failures ? Math.min(300, seconds() * 2 ** failures) * (1 - Math.random() / 4) : seconds();
      if (!asleep() && wait < Infinity) timer = setTimeout(run, wait * 1000);
    };
    return { run, stop };
  }

  // A path or topic that is too long is left out: cut, it is another one.
  function place() {
    const path = location.pathname;
    const topic = document.querySelector("whos-online[topic]")?.getAttribute("topic");
    return {
      path: /^\/.{0,511}$/.test(path) ? path : undefined,
      title: cut(document.title, 256) || undefined,
      topic: topic && cut(topic, 128) === topic ? topic : undefined,
    };
  }

  const moved = () => JSON.stringify(place()) !== told;

  // A string goes as text/plain: no CORS preflight.
  const presence = loop(async () => {
    if (gone) return;
    told = JSON.stringify(place()); // failed or not: a retry waits
    const body = JSON.stringify({ ...place(), tab, state: document.hidden ? "away" : "online" });
    await request("v1/touch", { method: "POST", credentials: "include", keepalive: document.hidden, body });
  }, () => touchEvery);

  // For all elements that read the same address. fetch sends no credentials to another origin.
  function newFeed(source) {
    const elements = new Set();
    const feed = loop(async () => {
      if (asleep() || !elements.size) return;
      if (moved()) await presence.run();
      const ask = () => request(source, { cache: "no-cache" }); // not what was true a page ago
      const text = await ask().catch((error) => {
        if (!/40[13]/.test(error)) throw error;
        source = source.replace(/=\d+/, "=0"); // without the names
        return ask();
      });
      if (text === feed.text) return;
      const data = JSON.parse(text);
      if (!((data.counts ?? data).total >= 0)) throw new Error(text);
      Object.assign(feed, { text, data });
      for (const element of elements) element.render(data);
      const half = number(data.online_timeout / 2, 1, 60, touchEvery);
      if (half === touchEvery) return;
      touchEvery = half; // or a short online window would end first
      presence.run();
    }, () => Math.min(...Array.from(elements, (element) => number(element.refresh, 5, 86400, 30))));
    return Object.assign(feed, { elements });
  }

  async function wake() {
    await presence.run();
    for (const feed of feeds.values()) feed.run();
  }

  function sleep() {
    presence.stop();
    for (const feed of feeds.values()) feed.stop();
  }

  function start() {
    document.addEventListener("visibilitychange", () => {
      if (gone) return; // or the leave is undone
      if (!document.hidden) return wake();
      sleep();
      presence.run();
    });
    addEventListener("pagehide", () => {
      gone = true;
      sleep();
      navigator.sendBeacon(base + "v1/leave", JSON.stringify({ tab }));
    });
    addEventListener("pageshow", () => {
      if (!gone) return;
      gone = false;
      wake();
    });
    // After the page has set its new title.
    addEventListener("popstate", () => setTimeout(() => moved() && presence.run()));
    return presence.run();
  }

  // Once the title is known, and the page is looked at.
  const ready = new Promise((resolve) => {
    const event = document.prerendering ? "prerenderingchange" : document.readyState === "loading" && "DOMContentLoaded";
    event ? document.addEventListener(event, resolve) : resolve();
  }).then(start);

  const css = `
    :host(:not([hidden])), b, small { display: block }
    ul { margin: 0; padding: 0 }
    li { display: flex; align-items: baseline; gap: .5em; margin: .35em 0; overflow-wrap: anywhere }
    li::before { content: ""; padding: 3px; border: 1px solid; border-radius: 50%; background: currentColor }
    .away::before { background: none }
    .away a, .away img, small { opacity: .75 }
    img { align-self: center; width: 1.5em; height: 1.5em; border-radius: 50%; object-fit: cover }
    a { color: inherit }
    i { position: absolute; clip-path: inset(50%) }`;

  // What visitors write is never markup.
  function make(tag, attributes, ...children) {
    const node = document.createElement(tag);
    for (const name in attributes) node.setAttribute(name, attributes[name]);
    node.append(...children);
    return node;
  }

  class WhosOnline extends HTMLElement {
    static observedAttributes = ["no-names", "limit", "topic", "refresh", "link", "label", "guests-label", "more-label", "away-label"];
    #feed;
    #style = [];

    constructor() {
      super();
      const root = this.attachShadow({ mode: "open" });
      root.append(make("slot")); // fallback markup
      try {
        const sheet = new CSSStyleSheet(); // not subject to style-src
        sheet.replaceSync(css);
        root.adoptedStyleSheets = [sheet];
      } catch {
        this.#style = [make("style", {}, css)];
      }
    }

    connectedCallback() {
      const source = this.#source();
      if (!feeds.has(source)) feeds.set(source, newFeed(source));
      const feed = (this.#feed = feeds.get(source));
      feed.elements.add(this);
      if (feed.data) this.render(feed.data);
      if (feed.elements.size === 1) ready.then(feed.run);
    }

    disconnectedCallback() {
      this.#feed.elements.delete(this);
      this.#feed = null;
    }

    attributeChangedCallback() {
      if (!this.#feed) return;
      this.disconnectedCallback();
      this.connectedCallback();
    }

    #source() {
      const topic = this.topic && "&topic=" + encodeURIComponent(this.topic);
      if (this.noNames && !topic) return "v1/count.json";
      return `v1/online.json?limit=${this.noNames ? 0 : number(this.limit, 0, 1000, 50)}${topic}`;
    }

    render(data) {
      const { total, users: named, guests } = data.counts ?? data;
      const users = data.users ?? [];
      const and = users.length ? "and " : "";
      const more = and && named - users.length;
      const count = this.#say("label", "{n} online", total);
      const lines = [make("b", { part: "count" }, count)];
      if (and) lines.push(make("ul", { part: "list", role: "list" }, ...users.map((user) => this.#row(user))));
      if (more > 0) lines.push(make("small", { part: "more" }, this.#say("more-label", "and {n} more", more)));
      if (guests > 0 && !this.noNames) {
        lines.push(make("small", { part: "guests" }, this.#say("guests-label", `${and}{n} guest|${and}{n} guests`, guests)));
      }
      this.#show(make("div", { role: "region", "aria-label": count }, ...lines));
      this.dispatchEvent(new CustomEvent("presence", { bubbles: true, detail: data }));
    }

    // Keeps the focus on its link.
    #show(region) {
      const root = this.shadowRoot;
      const focused = root.activeElement?.getAttribute("href");
      root.replaceChildren(...this.#style, region);
      if (focused) root.querySelector(`[href="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
    }

    // Templates are "{n} guests" or "{n} guest|{n} guests".
    #say(attribute, otherwise, n) {
      const forms = (this.getAttribute(attribute) ?? otherwise).split("|");
      return forms[n === 1 ? 0 : forms.length - 1].replaceAll("{n}", n);
    }

    #row(user) {
      const text = make("div", {}, this.#name(user));
      if (user.state === "away") text.append(make("i", {}, ` (${this.#say("away-label", "away")})`));
      if (user.location?.title) text.append(make("small", { part: "location" }, make("bdi", {}, user.location.title)));
      const row = make("li", { class: user.state }, text);
      if (/^(https:|\/)/.test(user.avatar)) row.prepend(make("img", { alt: "", referrerpolicy: "no-referrer", src: user.avatar }));
      return row;
    }

    // <bdi>: a name's direction must not reorder its neighbours. <a> without href is text.
    #name({ id, name }) {
      const a = make("a", { part: "name" }, make("bdi", {}, name || id));
      if (this.link) a.href = this.link.replaceAll("{id}", () => encodeURIComponent(id));
      if (!/^https?:$/.test(a.protocol)) a.removeAttribute("href"); // javascript:
      return a;
    }

    get noNames() { return this.hasAttribute("no-names"); }
    set noNames(on) { this.toggleAttribute("no-names", on); }
  }

  for (const name of ["limit", "topic", "refresh", "link", "label"]) {
    Object.defineProperty(WhosOnline.prototype, name, {
      get() { return this.getAttribute(name) ?? ""; },
      set(value) { this.setAttribute(name, value); },
    });
  }
  customElements.define("whos-online", WhosOnline);

  // Its code comes with the first.
  customElements.define("last-seen", class extends HTMLElement {
    connectedCallback() {
      ready.then(() => import(base + "last-seen.js")).then(({ update }) => update(this), () => {});
    }
  });
})();
