// Runs pieces of code on the 32-bit WebAssembly build of MicroPython and watches its heap:
//   node wasm_steps.mjs <package folder> < job
// The job is {"files": folder copied to /lib, "image": ROMFS image mounted at /rom instead, "state":
// folder copied to /state, whose files are copied back in the end, "steps": [code, ...]}. Prints one
// JSON list: for each step the bytes in use after it and what it left in `result`, a number or text.
import fs from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";

const entry = pathToFileURL(path.join(process.argv[2], "micropython.mjs")).href;
const { loadMicroPython } = await import(entry);
const job = JSON.parse(fs.readFileSync(0, "utf8"));
const mp = await loadMicroPython({
  heapsize: 4 << 20,
  stdout: (line) => process.stderr.write(line + "\n"),
  linebuffer: true,
  // Beside the heap, as flash is.
  romfs: job.image && fs.readFileSync(job.image),
});

function copy(from, to) {
  mp.FS.mkdirTree(to);
  for (const item of fs.readdirSync(from, { withFileTypes: true })) {
    const [source, target] = [path.join(from, item.name), `${to}/${item.name}`];
    if (item.isDirectory()) copy(source, target);
    else mp.FS.writeFile(target, fs.readFileSync(source));
  }
}

// This build collects only when no Python code runs.
function used() {
  mp.runPython("gc.collect()");
  mp.runPython("gc.collect()");
  mp.runPython("_used = gc.mem_alloc()");
  return mp.globals.get("_used");
}

function saveFiles(from, to) {
  for (const name of mp.FS.readdir(from)) {
    const source = `${from}/${name}`;
    if (mp.FS.isFile(mp.FS.stat(source).mode)) {
      fs.writeFileSync(path.join(to, name), mp.FS.readFile(source));
    }
  }
}

if (!job.image) copy(job.files, "/lib");
if (job.state) copy(job.state, "/state");
const results = [];
try {
  mp.runPython("import gc, sys\n_used = result = 0");
  for (const code of job.steps) {
    mp.runPython(code);
    results.push({ used: used(), result: mp.globals.get("result") });
  }
  if (job.state) saveFiles("/state", job.state);
} catch (error) {
  console.error(error.message);
  process.exit(1);
}
process.stdout.write(JSON.stringify(results) + "\n");
