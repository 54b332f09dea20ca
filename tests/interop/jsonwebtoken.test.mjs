// Tokens made and read by another library: whatever an application is written in, it can sign for its users.

import assert from "node:assert/strict";
import { test } from "node:test";
import jwt from "jsonwebtoken";
import { startMembersSite, startWorker } from "../browser/support.mjs";

const PRESENCE_SECRET = "a-secret-of-thirty-two-characters";
const agent = "Mozilla/5.0 (X11; Linux x86_64; rv:144.0) Gecko/20100101 Firefox/144.0";

const touch = (worker, token) =>
  fetch(worker.url("/_presence/v1/touch"), {
    method: "POST",
    headers: { authorization: `Bearer ${token}`, "user-agent": agent },
    body: JSON.stringify({ path: "/" }),
  });

test("a token made by jsonwebtoken names its user", async (t) => {
  const worker = await startWorker(t, { PRESENCE_SECRET, SITE: "club" });
  const claims = { name: "Sally Ærø", avatar: "/s.png", perms: ["can_edit@group:42"] };
  const options = { subject: "sally", expiresIn: "1h", audience: "club", algorithm: "HS256" };
  assert.equal((await touch(worker, jwt.sign(claims, PRESENCE_SECRET, options))).status, 204);
  const [sally] = (await worker.json("/v1/online.json")).users;
  assert.deepEqual([sally.id, sally.name, sally.avatar], ["sally", "Sally Ærø", "/s.png"]);

  const refused = [
    jwt.sign({ ...claims, sub: "bob" }, PRESENCE_SECRET, { algorithm: "HS256" }), // without an end
    jwt.sign(claims, PRESENCE_SECRET, { ...options, subject: "bob", expiresIn: "-1s" }),
    jwt.sign(claims, PRESENCE_SECRET, { ...options, subject: "bob", algorithm: "HS384" }),
    jwt.sign(claims, PRESENCE_SECRET, { ...options, subject: "bob", audience: "wiki" }),
    jwt.sign(claims, "another-secret-of-some-length", { ...options, subject: "bob" }),
    jwt.sign({ ...claims, sub: "bob", exp: 4_000_000_000 }, null, { algorithm: "none" }),
  ];
  for (const token of refused) await touch(worker, token);
  const { users, counts } = await worker.json("/v1/online.json");
  assert.deepEqual(users.map((user) => user.id), ["sally"]);
  assert.equal(counts.guests, 1);
});

test("a cookie that the Worker signed is read by jsonwebtoken", async (t) => {
  const { origin } = await startMembersSite(t);
  const worker = await startWorker(t, { ORIGIN: origin, PRESENCE_SECRET, SITE: "club" });
  const page = await fetch(worker.url("/?as=sally&name=Sally"), { headers: { accept: "text/html", "user-agent": agent } });
  const [cookie] = page.headers.getSetCookie();
  const token = /^presence=([^;]+); HttpOnly; SameSite=Lax; Path=\/; Max-Age=86400$/.exec(cookie)[1];
  const claims = jwt.verify(token, PRESENCE_SECRET, { algorithms: ["HS256"], audience: "club" });
  assert.deepEqual([claims.sub, claims.name], ["sally", "Sally"]);
  assert.ok(claims.exp - claims.iat === 86_400);
  assert.throws(() => jwt.verify(token, "another-secret-of-some-length"));
});
