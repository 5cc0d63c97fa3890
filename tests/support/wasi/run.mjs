// Runs a WebAssembly program by node: node --no-warnings run.mjs PROGRAM ARGUMENT...
import { readFile } from "node:fs/promises";
import { WASI } from "node:wasi";

const [, , program, ...rest] = process.argv;
const wasi = new WASI({
    version: "preview1", args: [program, ...rest], env: process.env,
    preopens: { "/tmp": "/tmp" }, returnOnExit: true,
});
const module = await WebAssembly.compile(await readFile(program));
process.exitCode = wasi.start(await WebAssembly.instantiate(module, wasi.getImportObject()));
