// What the runtime calls. The entry that comes of the build is a class behind a proxy, of which the runtime makes another one
// for each request; a handler that is there once spares a page what that takes, a thirtieth of its time.

import Entrypoint from "built";

export { AccountObject, LoginObject, PresenceObject, RelayObject } from "built";

const { fetch } = Entrypoint.prototype;

// Answers that are the same for every stranger who asks for an address: `worker/repeats.rs` lays them here, and takes them away.
// Of some a visitor who is known may see more.
const answers = (globalThis.presenceRepeats = new Map());

function again(request) {
  const [from, until, body, head, varies] = answers.get(request.url) ?? [];
  const [now, { headers, method }] = [Date.now(), request];
  const known = () => varies && (headers.has("cookie") || headers.has("authorization"));
  const asksForIt = now >= from && now < until && method === "GET" && !headers.has("if-none-match") && !known();
  return asksForIt ? new Response(body, head) : undefined;
}

export default {
  fetch: (request, env, ctx) => (answers.size && again(request)) || fetch.call({ env, ctx }, request),
};
