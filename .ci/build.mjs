// Builds the Worker into `build`, and with `--test-hooks` the one that tests can meddle with into `build-test`.

import { existsSync, readFileSync, readdirSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { digest, once, root, run, say, setUp } from "./setup.mjs";

/** Builds unless nothing has changed since. */
export function build(environment, { hooks = false } = {}) {
  const folder = hooks ? "build-test" : "build";
  const pages = readdirSync(join(root, "www")).filter((name) => !name.endsWith(".png")).map((name) => `www/${name}`);
  const inputs = digest("src", ...pages, "Cargo.toml", "Cargo.lock", "rust-toolchain.toml", ".ci/setup.mjs", ".ci/build.mjs");
  const wasm = join(root, folder, "index_bg.wasm");
  if (!existsSync(wasm)) rmSync(join(root, folder, ".stamp"), { force: true });
  once(`${folder}/.stamp`, inputs, () => {
    say(`building the Worker into ${folder}`);
    const features = hooks ? ["--", "--features", "test-hooks"] : [];
    // What is put in place of a call is as small as it is where code is made small: a tenth of the bytes, and no slower.
    // Nobody sees where in the code a panic was: without these places 7 KB gzip are spared.
    const RUSTFLAGS = "-C llvm-args=--inline-threshold=60 -Zlocation-detail=none";
    const env = { ...environment, RUSTFLAGS, PATH: `${environment.TOOLCHAIN_SHIMS}:${environment.PATH}` };
    run(environment.WORKER_BUILD, ["--release", "--panic-unwind", "--out-dir", folder, ...features], { env });
    strip(environment, wasm);
    enter(environment, join(root, folder, "index.js"));
  });
}

// Our own entry in place of the one that worker-build makes, in one file with it.
function enter(environment, script) {
  const external = ["./index_bg.wasm", "cloudflare:workers"].map((name) => `--external:${name}`);
  const options = ["--bundle", "--format=esm", "--minify", "--log-level=warning", `--alias:built=${script}`];
  run(environment.ESBUILD_BIN, ["src/entry.js", ...options, ...external, "--allow-overwrite", `--outfile=${script}`]);
}

// Function names cost 30 KB gzip, and every isolate would load them; worker-build keeps them whatever it is told. Once they
// are gone a second round of optimising finds 12 KB more.
function strip(environment, wasm) {
  const used = ["mutable-globals", "sign-ext", "nontrapping-float-to-int", "bulk-memory", "multivalue", "reference-types"];
  const features = [...used, "exception-handling"].map((feature) => `--enable-${feature}`);
  run(environment.WASM_OPT_BIN, [...features, "--strip-debug", "-Oz", wasm, "-o", wasm], { env: environment });
  const gzip = gzipSync(readFileSync(wasm), { level: 9 }).length;
  say(`index_bg.wasm: ${statSync(wasm).size} bytes, ${gzip} gzip`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) build(setUp(), { hooks: process.argv.includes("--test-hooks") });
