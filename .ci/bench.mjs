// `npm run bench`: builds what ships, and measures it. `npm run bench -- core`, `-- http`, `-- ingest`, `-- reading`,
// `-- live`, `-- idle`, `-- start` or `-- shards` measures a part.

import { build } from "./build.mjs";
import { has, install, pythonFor, run, setUp } from "./setup.mjs";

const environment = setUp();
build(environment);
build(environment, { hooks: true });
const parts = process.argv.slice(2);
const wanted = (...names) => !parts.length || names.some((name) => parts.includes(name));
if (wanted("http", "ingest") && !has("redis-server")) install(["redis-server"], "to compare with");
if (wanted("http")) pythonFor("tests/bench/django", "to compare with");
run("cargo", ["run", "--quiet", "--release", "--example", "bench", "--", ...parts], { env: environment });
