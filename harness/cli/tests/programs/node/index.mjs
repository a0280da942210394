// A set in a JSON file behind a mutex of promises: each update reads it, adds an element, writes a temporary file of a
// fixed name, and renames it. The mutex keeps apart what one process does at the same time, and knows nothing of others.
//
//   add       adds
//   add-sort  adds, and sorts at the same time

import { readFile, rename, writeFile } from "node:fs/promises";

import { serve } from "./worker.mjs";

let last = Promise.resolve();

/** Runs work when all that came before is done. */
function exclusively(work) {
  const mine = last.then(work);
  last = mine.catch(() => {});
  return mine;
}

async function load(path) {
  return JSON.parse(await readFile(path, "utf8")).elements;
}

function change(path, how) {
  return exclusively(async () => {
    const elements = how(await load(path));
    await writeFile(path + ".tmp", JSON.stringify({ elements }));
    await rename(path + ".tmp", path);
  });
}

const sorts = process.argv[2] === "add-sort";

serve({
  read: async (path) => ({ elements: await load(path) }),
  update: (path, { element }) =>
    Promise.all([
      change(path, (elements) => [...elements, element]),
      sorts && change(path, (elements) => elements.sort()),
    ]),
});
