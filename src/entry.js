// What the runtime calls. The entry that comes of the build is a class behind a proxy, of which the runtime makes another one
// for each request; a handler that is there once spares a page what that takes, a thirtieth of its time.

import Entrypoint from "built";

export { AccountObject, LoginObject, PresenceObject, RelayObject } from "built";

const { fetch } = Entrypoint.prototype;

export default { fetch: (request, env, ctx) => fetch.call({ env, ctx }, request) };
