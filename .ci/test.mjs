// `npm test`: sets up whatever is needed, builds both Workers, and runs every test there is.

import { build } from "./build.mjs";
import { has, install, pythonFor, run, setUp } from "./setup.mjs";

const environment = setUp();
build(environment);
build(environment, { hooks: true });
browser();
pythonFor("tests/django", "for the Django site in the tests");
run("cargo", ["test", "--quiet"], { env: environment });
run("node", ["--test", "--test-concurrency=3", "tests/{browser,interop}/*.test.mjs"], { env: environment });

// A real browser: Debian's, where it can be had.
function browser() {
  const known = ["chromium", "chromium-browser", "google-chrome"];
  if (!process.env.CHROMIUM && !known.some((name) => has(name))) install(["chromium"], "for the browser tests; or install Chromium and set CHROMIUM to its path");
}
