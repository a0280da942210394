// Says of each call of `node:fs` which paths it is given, from where it is made, and when it is over, in calls that
// write to a descriptor that nobody has: the gate sees them, and nothing comes of them.
import fs from "node:fs";
import { syncBuiltinESMExports } from "node:module";
const write = fs.writeSync;
const say = (record) => {
  try {
    write(1000003, JSON.stringify(record) + "\n");
  } catch {}
};
let calls = 0;
// The paths of open descriptors.
const opened = new Map();
const path = (value) => (value instanceof URL ? value.pathname : typeof value === "number" ? opened.get(value) : value);
const isText = (value) => typeof value === "string";
const begun = (caller, name, args, own) => {
  const limit = Error.stackTraceLimit;
  const from = {};
  Error.stackTraceLimit = 50;
  Error.captureStackTrace(from, caller);
  Error.stackTraceLimit = limit;
  const count = /^(rename|link|copyFile|symlink)/.test(name) ? 2 : 1;
  const paths = own ? [own] : args.slice(0, count).map(path).filter(isText);
  say({ begun: ++calls, paths, stack: from.stack });
  return calls;
};
const over = (call, name, args, value) => {
  say({ ended: call });
  if (!name.startsWith("open")) return;
  const own = path(args[0]);
  if (typeof value === "number") opened.set(value, own);
  else if (typeof value?.fd === "number") {
    for (const method of Object.getOwnPropertyNames(Object.getPrototypeOf(value))) {
      if (/^(appendFile|chmod|datasync|read|stat|sync|truncate|write|close)/.test(method))
        value[method] = told(value[method], method, own);
    }
  }
};
const told = (known, name, own) => {
  const wrapper = function caller(...args) {
    const call = begun(caller, name, args, own);
    const back = args.at(-1);
    if (typeof back === "function") {
      args[args.length - 1] = function (error, value, ...more) {
        over(call, name, args, value);
        return back.call(this, error, value, ...more);
      };
      return known.apply(this, args);
    }
    let value;
    try {
      value = known.apply(this, args);
    } catch (error) {
      over(call, name, args);
      throw error;
    }
    if (typeof value?.then === "function") value.then((value) => over(call, name, args, value), () => over(call, name, args));
    else over(call, name, args, value);
    return value;
  };
  // What others know a function by, as `util.promisify` does.
  for (const key of Reflect.ownKeys(known))
    if (!Object.hasOwn(wrapper, key)) Object.defineProperty(wrapper, key, Object.getOwnPropertyDescriptor(known, key));
  return wrapper;
};
for (const all of [fs, fs.promises])
  for (const [name, known] of Object.entries(all))
    if (typeof known === "function" && /^[a-z]/.test(name) && !/watch|Stream|exists$|opendir|AsBlob/i.test(name))
      all[name] = told(known, name);
syncBuiltinESMExports();
