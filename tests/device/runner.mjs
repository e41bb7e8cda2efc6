// Runs runner.py on the 32-bit WebAssembly build of MicroPython:
//   node runner.mjs <package folder> <folder of .mpy files> <test module>
// The files are copied into the build's own file system; it has no sockets and no hardware, and its
// heap grows as needed.
import fs from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";

const [packageFolder, files, module] = process.argv.slice(2);
const entry = pathToFileURL(path.join(packageFolder, "micropython.mjs")).href;
const { loadMicroPython } = await import(entry);
const mp = await loadMicroPython({
  stdout: (line) => process.stdout.write(line + "\n"),
  linebuffer: true,
});

function copy(from, to) {
  mp.FS.mkdirTree(to);
  for (const item of fs.readdirSync(from, { withFileTypes: true })) {
    const [source, target] = [path.join(from, item.name), `${to}/${item.name}`];
    if (item.isDirectory()) copy(source, target);
    else mp.FS.writeFile(target, fs.readFileSync(source));
  }
}

copy(files, "/lib");
// A task of its own: no exception may reach this port's top-level coroutine, not even one that the
// awaiting code would catch.
try {
  await mp.runPythonAsync(`
import asyncio, runner
suite = asyncio.create_task(runner.run("${module}", runner.shared_loop))
while not suite.done():
    await asyncio.sleep_ms(2)
await suite
`);
} catch (error) {
  console.log(error.message);
  process.exitCode = 1;
}
// What a test has left asleep is no reason to wait for.
process.exit();
