// A lock that is a directory.
//
//   plain   whoever makes it has it
//   stale   whoever finds one that is older than ten seconds removes it and makes one. So may another who found the
//           same one, and then removes the new one

import { mkdir, rmdir, stat } from "node:fs/promises";

import { serve } from "./worker.mjs";

const takesOver = process.argv[2] === "stale";

serve({
  acquire: async (path) => {
    try {
      await mkdir(path);
    } catch (error) {
      if (!takesOver || error.code !== "EEXIST") throw error;
      const { mtimeMs } = await stat(path);
      if (Date.now() - mtimeMs < 10_000) throw error;
      await rmdir(path);
      await mkdir(path);
    }
  },
  release: (path) => rmdir(path),
});
