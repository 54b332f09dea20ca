// The overview page: reads the public answers every few seconds while somebody looks at it.
const base = "/_presence/v1/";
const every = 5000; // milliseconds
const find = (id) => document.getElementById(id);

// Whether everybody may see where people are, as ACCESS says.
const told = find("places").dataset.locations === "public";

async function read(path) {
  const response = await fetch(base + path, { cache: "no-cache" });
  if (!response.ok) throw new Error(`${path}: ${response.status}`);
  return response.text();
}

function pageRow({ path, title, total }) {
  const link = document.createElement("a");
  // As part of an address, "//" would lead to another site, or be none.
  link.href = "/";
  link.pathname = path;
  link.textContent = title || path;
  const people = document.createElement("span");
  people.textContent = total === 1 ? "1 person" : `${total} people`;
  const row = document.createElement("li");
  row.append(link, people);
  return row;
}

// What is unchanged is left alone: somebody may be on a link with the keyboard, or selecting text.
let shownPages;
function showPages(text) {
  if (text === shownPages) return;
  shownPages = text;
  find("pages").replaceChildren(...JSON.parse(text).pages.map(pageRow));
}

function showText(id, text) {
  if (find(id).textContent === text) return false;
  find(id).textContent = text;
  return true;
}

async function refresh() {
  const [online, count, pages] = await Promise.all(["online.json", "count", ...(told ? ["pages.json"] : [])].map(read));
  if (told) showPages(pages);
  showText("json", JSON.stringify(JSON.parse(online), null, 2));
  if (showText("count", count.trim())) find("badge").src = `${base}badge.svg?${count.trim()}`; // or the old image stays
}

let timer;
let last = 0;
async function poll() {
  clearTimeout(timer);
  if (document.hidden) return;
  last = Date.now();
  await refresh().catch(() => {}); // what is shown stays; the next round tries again
  clearTimeout(timer);
  timer = setTimeout(poll, every);
}

// The widget has news: the rest of the page follows, but not four times a second.
function soon() {
  clearTimeout(timer);
  timer = setTimeout(poll, Math.max(0, last + 1000 - Date.now()));
}

document.addEventListener("visibilitychange", poll);
document.addEventListener("presence", soon);
poll();

find("copy").addEventListener("click", async () => {
  try {
    await navigator.clipboard.writeText(find("snippet").textContent);
    find("copied").textContent = "Copied.";
  } catch {
    getSelection().selectAllChildren(find("snippet")); // no clipboard here: left selected for the keyboard
    find("copied").textContent = "Press Ctrl+C or ⌘C.";
  }
});
