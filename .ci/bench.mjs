// `npm run bench`: builds what ships, and measures it. `npm run bench -- core`, `-- http`, `-- live`
// or `-- idle` measures a part.

import { build } from "./build.mjs";
import { has, install, pythonFor, run, setUp } from "./setup.mjs";

const environment = setUp();
build(environment);
build(environment, { hooks: true });
if (!has("redis-server")) install(["redis-server"], "to compare with");
pythonFor("tests/bench/django", "to compare with");
run("cargo", ["run", "--quiet", "--release", "--example", "bench", "--", ...process.argv.slice(2)], { env: environment });
