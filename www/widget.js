// Lists in <whos-online> who is here. client.js, which it loads, tells the service that this page is open, and hears of
// the others. Failure is quiet: what is shown stays.
(() => {
  if (customElements.get("whos-online")) return; // loaded twice

  const base = new URL(".", document.currentScript.src).href; // null once the script has run
  const client = import(base + "client.js");
  client.catch(() => {});

  function number(text, least, most, otherwise) {
    const n = parseInt(text, 10);
    return isNaN(n) ? otherwise : Math.min(most, Math.max(least, n));
  }

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

  // Leaves alone what is where it should be: somebody may be about to click on it, or selecting it.
  function arrange(parent, nodes) {
    const wanted = new Set(nodes);
    for (const child of [...parent.children]) if (!wanted.has(child)) child.remove();
    nodes.forEach((node, i) => {
      if (parent.children[i] !== node) parent.insertBefore(node, parent.children[i] ?? null);
    });
  }

  class WhosOnline extends HTMLElement {
    static observedAttributes = [
      "no-names", "limit", "topic", "refresh", "idle", "link", "label", "guests-label", "more-label", "away-label",
    ];
    #stop; // what it heard of until now
    #joined = new Map(); // who is yet to be announced
    #left = new Map();
    #news = make("i", { role: "status" });
    #timer;
    #region = make("slot"); // fallback markup
    #list = make("ul", { part: "list", role: "list" });
    #rows = new Map(); // by id
    #lines = new Map(); // by part

    constructor() {
      super();
      const root = this.attachShadow({ mode: "open" });
      root.append(this.#region, this.#news);
      try {
        const sheet = new CSSStyleSheet(); // not subject to style-src
        sheet.replaceSync(css);
        root.adoptedStyleSheets = [sheet];
      } catch {
        root.append(make("style", {}, css));
      }
    }

    connectedCallback() {
      const stop = (this.#stop = { now() {} });
      const options = {
        topic: this.topic,
        names: !this.noNames,
        limit: number(this.limit, 0, 1000, 50),
        refresh: number(this.refresh, 5, 86400, 30),
        idle: number(this.idle, 5, 86400, 300),
      };
      client.then(({ subscribe }) => {
        if (this.#stop === stop) stop.now = subscribe((data) => this.#hear(data), options);
      }, () => {});
    }

    disconnectedCallback() {
      this.#stop.now();
      this.#stop = null;
      this.#joined.clear();
      this.#left.clear();
    }

    attributeChangedCallback() {
      if (!this.#stop) return;
      this.disconnectedCallback();
      this.connectedCallback();
    }

    #hear(data) {
      this.#render(data);
      this.dispatchEvent(new CustomEvent("presence", { bubbles: true, detail: data }));
      for (const { id, name } of data.joins) this.#left.delete(id) || this.#joined.set(id, name || id);
      for (const { id, name } of data.leaves) this.#joined.delete(id) || this.#left.set(id, name || id);
      if (!this.noNames) this.#timer ??= setTimeout(() => this.#announce(), 3000);
    }

    // Politely: what happened within a few seconds at once, who came and went not at all, and crowds by their number.
    #announce() {
      this.#timer = null;
      const say = (attribute, otherwise, people) => {
        const names = people.size > 5 ? people.size : [...people.values()].join(", ");
        return people.size ? (this.getAttribute(attribute) ?? otherwise).replaceAll("{names}", () => names) : "";
      };
      const news = say("joined-label", "{names} joined", this.#joined) + " " + say("left-label", "{names} left", this.#left);
      if (news.trim()) this.#news.textContent = news.trim();
      this.#joined.clear();
      this.#left.clear();
    }

    #render({ counts: { total, users: named, guests }, users }) {
      const and = users.length ? "and " : "";
      const more = and && named - users.length;
      const count = this.#say("label", "{n} online", total);
      const lines = [this.#line("b", "count", count)];
      if (and) lines.push(this.#list);
      if (more > 0) lines.push(this.#line("small", "more", this.#say("more-label", "and {n} more", more)));
      if (guests > 0 && !this.noNames) {
        lines.push(this.#line("small", "guests", this.#say("guests-label", `${and}{n} guest|${and}{n} guests`, guests)));
      }
      const root = this.shadowRoot;
      const focused = root.activeElement?.getAttribute("href");
      this.#rows = new Map(users.map((user) => [user.id, this.#row(user)]));
      arrange(this.#list, [...this.#rows.values()]);
      if (this.#region.localName === "slot") {
        const region = make("div", { role: "region" });
        this.#region.replaceWith(region);
        this.#region = region;
      }
      if (this.#region.ariaLabel !== count) this.#region.ariaLabel = count;
      arrange(this.#region, lines);
      if (focused && !root.activeElement) root.querySelector(`[href="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
    }

    #line(tag, part, text) {
      const line = this.#lines.get(part) ?? make(tag, { part });
      this.#lines.set(part, line);
      if (line.textContent !== text) line.textContent = text;
      return line;
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
      const before = this.#rows.get(user.id);
      return before?.isEqualNode(row) ? before : row;
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

  for (const name of ["limit", "topic", "refresh", "idle", "link", "label"]) {
    Object.defineProperty(WhosOnline.prototype, name, {
      get() { return this.getAttribute(name) ?? ""; },
      set(value) { this.setAttribute(name, value); },
    });
  }
  customElements.define("whos-online", WhosOnline);

  // Its code comes with the first, once the page is reported.
  customElements.define("last-seen", class extends HTMLElement {
    connectedCallback() {
      client.then(({ ready }) => ready, () => {}).then(() => import(base + "last-seen.js")).then(({ update }) => update(this), () => {});
    }
  });
})();
