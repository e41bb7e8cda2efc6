// Runs device/storm.py on the 32-bit WebAssembly build of MicroPython, from ROMFS, and watches its
// heap, which grows in this build where a board would raise MemoryError:
//   node storm.mjs <package folder> < job
// The job is {"image": ROMFS image with the SDK and storm.mpy, "row": of Webhooks, "events": how
// many, "slice": so many at a time}. Prints one JSON object: the account right after the storm
// and when the servers were back, the most bytes in use, after a collection and before.
import fs from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";

const RECOVERY_MS = 5000;
const entry = pathToFileURL(path.join(process.argv[2], "micropython.mjs")).href;
const { loadMicroPython } = await import(entry);
const job = JSON.parse(fs.readFileSync(0, "utf8"));
const mp = await loadMicroPython({
  heapsize: 64 << 10,
  stdout: (line) => process.stderr.write(line + "\n"),
  linebuffer: true,
  romfs: fs.readFileSync(job.image),
});
mp.FS.writeFile("/row.json", JSON.stringify(job.row));

function value(code) {
  mp.runPython(`_value = ${code}`);
  return mp.globals.get("_value");
}

// It collects only when no Python code runs; a board does whenever it has to.
const live = [];
const most = [];
function collect() {
  most.push(value("gc.mem_alloc()"));
  mp.runPython("gc.collect()");
  live.push(value("gc.mem_alloc()"));
}
const turn = () => new Promise((resolve) => setTimeout(resolve));
const account = () => JSON.parse(value("storm.account()"));

try {
  mp.runPython("import gc, sys");
  const given = { interpreter: value("gc.mem_alloc()") };
  // Without sockets here, and frozen or in C on a board.
  mp.runPython(`
class Absent:
    pass
for _name in ("socket", "usocket", "ssl"):
    sys.modules[_name] = Absent
import asyncio, json
asyncio.Event, asyncio.Lock, asyncio.sleep_ms`);
  collect();
  given.frozen = live.at(-1);
  for (const name of ["bus", "clock", "http", "ring", "webhook.dispatcher"]) {
    mp.runPython(`import fieldpost.${name}`);
    collect();
  }
  mp.runPython("import storm");
  collect();
  given.imported = live.at(-1);
  mp.runPython(`
with open("/row.json") as _file:
    storm.start(json.load(_file))`);
  collect();
  given.started = live.at(-1);
  const begun = performance.now();
  for (let done = 0; done < job.events; done += job.slice) {
    mp.runPython(`storm.burst(${job.slice})`);
    collect();
    if ((done / job.slice) % 4 === 0) {
      await turn();
      collect();
    }
  }
  const ms = performance.now() - begun;
  const storm = account();
  const end = performance.now() + RECOVERY_MS;
  let after;
  do {
    mp.runPython("storm.recover()");
    collect();
    await turn();
    collect();
    after = account();
  } while (Object.values(after.endpoints).some((one) => one.waiting) && performance.now() < end);
  const peak = { live: Math.max(...live), with_garbage: Math.max(...most) };
  const told = { ms, peak, given, storm, after, end: live.at(-1) };
  fs.writeSync(1, JSON.stringify(told) + "\n");
  // What waits for a silent server would keep it here.
  process.exit(0);
} catch (error) {
  console.error(error.message);
  process.exit(1);
}
