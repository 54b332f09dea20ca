// `npm test`: sets up whatever is needed, builds both Workers, and runs every test there is.

import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { build } from "./build.mjs";
import { digest, fail, has, once, root, run, say, setUp } from "./setup.mjs";

const environment = setUp();
build(environment);
build(environment, { hooks: true });
browser();
django();
run("cargo", ["test", "--quiet"], { env: environment });
run("node", ["--test", "--test-concurrency=3", "tests/{browser,interop}/*.test.mjs"], { env: environment });

// A real browser: Debian's, where it can be had.
function browser() {
  const known = ["chromium", "chromium-browser", "google-chrome"];
  if (!process.env.CHROMIUM && !known.some((name) => has(name))) install(["chromium"], "for the browser tests; or install Chromium and set CHROMIUM to its path");
}

// A real site for the Worker to stand in front of.
function django() {
  const venv = join(root, "tests/django/.venv");
  once("tests/django/.venv/.done", digest("tests/django/requirements.txt"), () => {
    if (!has("python3")) install(["python3", "python3-venv"], "for the Django site in the tests");
    say("installing Django for the tests");
    // Debian's Python comes without what makes environments.
    if (spawnSync("python3", ["-c", "import ensurepip"]).status !== 0) install(["python3-venv"], "for the Django site in the tests");
    run("python3", ["-m", "venv", "--clear", venv]);
    run(join(venv, "bin/pip"), ["install", "--quiet", "-r", "tests/django/requirements.txt"]);
  });
}

function install(packages, why) {
  if (!has("apt-get")) fail(`${packages.join(" and ")} ${packages[1] ? "are" : "is"} needed ${why}.`);
  const asRoot = process.getuid() === 0;
  if (!asRoot && !has("sudo")) fail(`run \`apt-get install ${packages.join(" ")}\` as root, ${why}.`);
  const apt = (args) => run(asRoot ? "apt-get" : "sudo", [...(asRoot ? [] : ["-n", "apt-get"]), ...args]);
  say(`installing ${packages.join(" ")} ${why}`);
  apt(["update", "-qq"]);
  apt(["install", "-y", "-qq", "--no-install-recommends", ...packages]);
}
