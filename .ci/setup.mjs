// Sets up whatever building and testing need. Each step is skipped where its work is done already, so that a second
// run takes no time. Only Node's own modules are used here: nothing else is there yet.

import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { chmodSync, existsSync, mkdirSync, readFileSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** Ends with one clear line. */
export function fail(message) {
  console.error(`whos-online: ${message}`);
  process.exit(1);
}

export function say(message) {
  console.log(`whos-online: ${message}`);
}

/** Runs a command, and ends if it fails. */
export function run(command, args, options = {}) {
  const done = spawnSync(command, args, { cwd: root, stdio: "inherit", ...options });
  if (done.error) fail(`${command} could not be started: ${done.error.message}`);
  if (done.status !== 0) fail(`${command} ${args.join(" ")} failed; its output above says why.`);
}

/** What a command prints, or nothing if it fails. */
export function output(command, args) {
  const done = spawnSync(command, args, { cwd: root, encoding: "utf8" });
  return done.status === 0 ? done.stdout.trim() : "";
}

/** Whether a command is there at all. */
export function has(command, args = ["--version"]) {
  return !spawnSync(command, args, { cwd: root, stdio: "ignore" }).error;
}

/** A digest of files and folders: it changes whenever any of them does. */
export function digest(...paths) {
  const hash = createHash("sha256");
  const add = (path) => {
    if (statSync(path).isDirectory()) {
      for (const name of readdirSync(path).sort()) add(join(path, name));
    } else {
      hash.update(path).update(readFileSync(path));
    }
  };
  paths.map((path) => join(root, path)).filter(existsSync).forEach(add);
  return hash.digest("hex");
}

/** Does some work unless the stamp says that it was done for the same input. */
export function once(stamp, key, work) {
  const path = join(root, stamp);
  if (existsSync(path) && readFileSync(path, "utf8") === key) return;
  work();
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, key);
}

function prerequisites() {
  const [major] = process.versions.node.split(".").map(Number);
  if (major < 20) fail(`Node ${process.versions.node} is too old: install Node 20 or newer.`);
  if (process.platform === "win32") fail("on Windows, run this inside WSL.");
  if (!has("npm")) fail("npm is missing: install Node 20 or newer, which brings it along.");
  if (!has("rustup")) fail("rustup is missing: install Rust from https://rustup.rs, then run this again.");
  if (!has("cc")) fail("a C compiler is missing: install gcc or clang (on Debian: apt-get install gcc libc6-dev).");
}

function packages() {
  once("node_modules/.whos-online", digest("package-lock.json"), () => {
    say("installing the npm packages");
    // Not `npm ci`: that refuses a lock file in which the packages of other platforms are missing, and whether the
    // registry has all of these when the lock file is made is not ours to say.
    run("npm", ["install", "--no-save", "--no-audit", "--no-fund", "--loglevel=error"]);
  });
}

function toolchain() {
  const wanted = /channel = "(.+)"/.exec(readFileSync(join(root, "rust-toolchain.toml"), "utf8"))[1];
  once("target/.toolchain", wanted, () => {
    say(`installing Rust ${wanted}`);
    const parts = ["-c", "rust-src", "-c", "clippy", "-c", "rustfmt", "-t", "wasm32-unknown-unknown"];
    run("rustup", ["toolchain", "install", wanted, "--profile", "minimal", "--no-self-update", ...parts]);
  });
  return wanted;
}

/** The version of a crate in the lock file. */
function locked(crate) {
  const lock = readFileSync(join(root, "Cargo.lock"), "utf8");
  return new RegExp(`name = "${crate}"\nversion = "(.+)"`).exec(lock)[1];
}

/** The two build tools, compiled once and kept outside the project, so that a second clone finds them. */
function tools(wanted) {
  const versions = { "worker-build": locked("worker"), "wasm-bindgen-cli": locked("wasm-bindgen") };
  const cache = process.env.XDG_CACHE_HOME || join(homedir(), ".cache");
  const home = join(cache, "whos-online", Object.entries(versions).flat().join("-"));
  for (const [crate, version] of Object.entries(versions)) {
    const binary = join(home, "bin", crate.replace("-cli", ""));
    if (existsSync(binary)) continue;
    say(`compiling ${crate} ${version}; this takes some minutes, once`);
    // One folder for both, as they share most of what they are made of. The lock file of wasm-bindgen-cli may name
    // versions that the index lacks, so it is not held to it.
    const lock = crate === "worker-build" ? ["--locked"] : [];
    const target = join(root, "target/tools");
    run("cargo", ["install", `${crate}@${version}`, ...lock, "--quiet", "--root", home, "--target-dir", target]);
    rmSync(join(target, "release/build"), { recursive: true, force: true });
  }
  return { home, shims: shims(wanted) };
}

/** worker-build asks for the toolchain `nightly`; these lead it to the one that is pinned. */
function shims(wanted) {
  const folder = join(root, "target/shims");
  mkdirSync(folder, { recursive: true });
  const real = (name) => output("sh", ["-c", `command -v ${name}`]);
  // cargo and rustc are told as `+nightly`, rustup as a word of its own; rustc has other uses for that word.
  for (const [name, asked, pinned] of [["cargo", "+nightly", `+${wanted}`], ["rustc", "+nightly", `+${wanted}`], ["rustup", "nightly", wanted]]) {
    const lines = [
      "#!/bin/sh",
      "for word do",
      "  shift",
      `  [ "$word" = ${asked} ] && word=${pinned}`,
      `  set -- "$@" "$word"`,
      "done",
      `exec '${real(name)}' "$@"`,
    ];
    const path = join(folder, name);
    // Another build may do the same at the same time.
    const fresh = `${path}.${process.pid}`;
    writeFileSync(fresh, `${lines.join("\n")}\n`);
    chmodSync(fresh, 0o755);
    renameSync(fresh, path);
  }
  return folder;
}

/** Everything that a build needs; the environment to run things in. */
export function setUp() {
  prerequisites();
  packages();
  const { home, shims } = tools(toolchain());
  const bin = join(root, "node_modules/.bin");
  return {
    ...process.env,
    // A newer Node than the machine's comes with the packages: wrangler wants 22.
    PATH: `${join(root, "node_modules/node/bin")}:${bin}:${process.env.PATH}`,
    WORKER_BUILD: join(home, "bin/worker-build"),
    WASM_BINDGEN_BIN: join(home, "bin/wasm-bindgen"),
    WASM_OPT_BIN: join(bin, "wasm-opt"),
    ESBUILD_BIN: join(bin, "esbuild"),
    TOOLCHAIN_SHIMS: shims,
    // Sorting and formatting made small: 12 KB gzip. Without the backtraces that wasm has no use for.
    CARGO_UNSTABLE_BUILD_STD_FEATURES: "panic-unwind,optimize_for_size",
    // Nobody has to be asked for anything outside this machine.
    WRANGLER_SEND_METRICS: "false",
    CLOUDFLARE_CF_FETCH_ENABLED: "false",
    CI: process.env.CI ?? "",
  };
}

/** A Python of its own for a folder, with what its `requirements.txt` names. */
export function pythonFor(folder, why) {
  const venv = join(root, folder, ".venv");
  once(`${folder}/.venv/.done`, digest(`${folder}/requirements.txt`), () => {
    if (!has("python3")) install(["python3", "python3-venv"], why);
    say(`installing Django ${why}`);
    // Debian's Python comes without what makes environments.
    if (spawnSync("python3", ["-c", "import ensurepip"]).status !== 0) install(["python3-venv"], why);
    run("python3", ["-m", "venv", "--clear", venv]);
    run(join(venv, "bin/pip"), ["install", "--quiet", "-r", `${folder}/requirements.txt`]);
  });
}

/** Installs Debian's packages. */
export function install(packages, why) {
  if (!has("apt-get")) fail(`${packages.join(" and ")} ${packages[1] ? "are" : "is"} needed ${why}.`);
  const asRoot = process.getuid() === 0;
  if (!asRoot && !has("sudo")) fail(`run \`apt-get install ${packages.join(" ")}\` as root, ${why}.`);
  const apt = (args) => run(asRoot ? "apt-get" : "sudo", [...(asRoot ? [] : ["-n", "apt-get"]), ...args]);
  say(`installing ${packages.join(" ")} ${why}`);
  apt(["update", "-qq"]);
  apt(["install", "-y", "-qq", "--no-install-recommends", ...packages]);
}
