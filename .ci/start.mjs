// `npm start`: the Worker on http://localhost:8787, with storage that outlives it.

import { spawn } from "node:child_process";
import { join } from "node:path";
import { build } from "./build.mjs";
import { fail, root, say, setUp } from "./setup.mjs";

const VARIABLES = [
  "ORIGIN", "SITE", "BASE_PATH", "ONLINE_TIMEOUT", "LAST_SEEN_TIMEOUT", "TOUCH_RESOLUTION", "ALLOWED_ORIGINS",
  "TRUST_ORIGIN_HEADERS", "ACCESS", "PRIVATE_PATHS", "INJECT_WIDGET", "SESSION_COOKIE", "SIGN_ON_COOKIE", "BASIC_REALM", "SHARDS", "REGION",
  "TOPICS", "CLIENT_GUESTS",
];

const port = process.env.PORT || "8787";
if (!/^\d+$/.test(port) || Number(port) > 65535) fail(`PORT must be a number from 0 to 65535; it is ${JSON.stringify(port)}.`);
const environment = setUp();
build(environment);
const given = VARIABLES.filter((name) => process.env[name]).flatMap((name) => ["--var", `${name}:${process.env[name]}`]);
say(`serving on http://localhost:${port}; Ctrl-C ends it, and what it knows stays in .wrangler/state`);
const options = ["--ip", "localhost", "--port", port, "--persist-to", ".wrangler/state", "--show-interactive-dev-session=false"];
const wrangler = join(root, "node_modules/wrangler/bin/wrangler.js");
const child = spawn(join(root, "node_modules/node/bin/node"), [wrangler, "dev", ...options, ...given], {
  cwd: root,
  env: environment,
  stdio: "inherit",
});
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => child.kill(signal));
child.on("exit", (code) => process.exit(code ?? 0));
