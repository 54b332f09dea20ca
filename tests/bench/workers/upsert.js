// What examples of presence with Durable Objects do: one row is written for each request.
import { DurableObject } from "cloudflare:workers";

export class Upsert extends DurableObject {
  constructor(state, env) {
    super(state, env);
    this.sql = state.storage.sql;
    this.sql.exec("CREATE TABLE IF NOT EXISTS presence (visitor TEXT PRIMARY KEY, seen INTEGER NOT NULL, path TEXT NOT NULL)");
  }

  touch(visitor, path) {
    this.sql.exec(
      "INSERT INTO presence VALUES (?, ?, ?) ON CONFLICT (visitor) DO UPDATE SET seen = excluded.seen, path = excluded.path",
      visitor, Date.now(), path,
    );
  }

  online(limit) {
    const since = Date.now() - 300_000;
    const [{ total }] = this.sql.exec("SELECT count(*) AS total FROM presence WHERE seen >= ?", since);
    const visitors = this.sql.exec("SELECT visitor, seen, path FROM presence WHERE seen >= ? ORDER BY seen DESC LIMIT ?", since, limit);
    return { counts: { total }, users: visitors.toArray() };
  }
}

export default {
  async fetch(request, env, ctx) {
    const url = new URL(request.url);
    const object = env.UPSERT.getByName("bench");
    if (url.pathname === "/online.json") return Response.json(await object.online(Number(url.searchParams.get("limit"))));
    if (url.pathname === "/hit") {
      await object.touch(url.searchParams.get("visitor"), "/");
      return new Response("taken");
    }
    const response = await fetch(env.ORIGIN + url.pathname + url.search, request);
    const visitor = response.headers.get("x-presence-user") ?? request.headers.get("cf-connecting-ip");
    ctx.waitUntil(object.touch(visitor, url.pathname));
    return response;
  },
};
