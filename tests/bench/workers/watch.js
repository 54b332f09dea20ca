// Lets everybody watch, by a socket that outlives the object's sleep, and tells them nothing: the least there can be.

import { DurableObject } from "cloudflare:workers";

export class WatchObject extends DurableObject {
  fetch() {
    const [client, server] = Object.values(new WebSocketPair());
    this.ctx.acceptWebSocket(server);
    server.send(JSON.stringify({ type: "state", version: 1, counts: {}, users: [] }));
    return new Response(null, { status: 101, webSocket: client });
  }
}

export default {
  fetch: (request, env) => env.WATCH.get(env.WATCH.idFromName("one")).fetch(request),
};
