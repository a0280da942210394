// The worker side of tearproof's protocol: one JSON object a line, and one answer to each.

import { createInterface } from "node:readline";

/** Serves functions named after the operations; each takes the path and the request, and may be asynchronous. */
export async function serve(functions) {
  for await (const line of createInterface({ input: process.stdin })) {
    const request = JSON.parse(line);
    if (request.t === "stop") break;
    const answer = request.t === "hello"
      ? { t: "ready", proto: 1, name: "node", ops: Object.keys(functions) }
      : { id: request.id, ...(await answerTo(functions, request)) };
    process.stdout.write(JSON.stringify(answer) + "\n");
  }
}

async function answerTo(functions, request) {
  try {
    return { t: "ok", ...(await functions[request.op](request.path, request)) };
  } catch (error) {
    // Who only looked, or got no lock, changed nothing.
    const harmless = request.op === "read" || request.op === "acquire";
    return { t: harmless ? "fail" : "info", error: error.message, busy: error.code === "EEXIST" };
  }
}
