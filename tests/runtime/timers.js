// The Worker with timers that go by the clock that a test sets: each runs out when a request has told a time that is late
// enough. Until then it looks again and again, by the runtime's own timers, so that it runs out where it belongs.

import Worker from "./index.js";
export * from "./index.js";

const { setTimeout: later, clearTimeout: never } = globalThis;
const waiting = new Map();
let now = 0;
let last = 0;

globalThis.setTimeout = (callback, millis) => {
  const id = ++last;
  const due = now + millis;
  const look = () => {
    if (now < due) return wait(1);
    waiting.delete(id);
    callback();
  };
  const wait = (millis) => waiting.set(id, later(look, millis));
  wait(0);
  return id;
};

globalThis.clearTimeout = (id) => {
  never(waiting.get(id));
  waiting.delete(id);
};

export default {
  fetch(request, env, ctx) {
    now = Number(request.headers.get("x-test-now") ?? now);
    // How many there are.
    return request.url.endsWith("/test/timers") ? new Response(waiting.size) : Worker.fetch(request, env, ctx);
  },
};
