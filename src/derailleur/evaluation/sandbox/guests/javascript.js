// Runs a JavaScript program inside the box and tells the supervisor what came of it.
//
// Lines of JSON on descriptor 3. The guest says ["ready"] and is told one of
//   {"values": source}             source hands values to `derailleurReport`: ["value", plain] for each, then ["end"];
//                                  what is left of `assert` it takes from `derailleurAssert`
//   {"joined": program, "key"}     runs it, says ["ran", key], is told {"tests", "token", "drain"}, runs these,
//                                  says ["passed", token]
//   {"expressions": [source]}      says ["values", [plain or null]] and waits to be told more
// An exception is said as ["error", "compile", "wrong" or "runtime", text]. verdicts/plain.py describes plain data.
//
// Whatever is needed after the program ran is taken before: a program can replace all that it can reach.
"use strict";

const fs = require("fs");
const vm = require("vm");
const { Module } = require("module");

const CHANNEL = 3;
const PROGRAM = "/tmp/box/program.js";
const MOST_VALUES = 1_000_000;
const MOST_DEPTH = 150; // of the 200 that the supervisor reads

const { apply, getPrototypeOf, getOwnPropertyDescriptor, ownKeys, defineProperty } = Reflect;
const method = (prototype, name) => {
  const taken = prototype[name];
  return (self, ...rest) => apply(taken, self, rest);
};
const { readSync, writeSync } = fs;
const { isProxy, isMap, isSet, isDate, isArgumentsObject } = require("util").types;
const { stringify: quote, parse } = JSON; // `quote` is only given strings: of objects it would call `toJSON`
const { isArray } = Array;
const { keys, is } = Object;
const asText = String;
const { Script } = vm;
const runScript = method(Script.prototype, "runInThisContext");
const compileModule = method(Module.prototype, "_compile");
const hasInstance = method(Function.prototype, Symbol.hasInstance);
const eachOfMap = method(Map.prototype, "forEach");
const eachOfSet = method(Set.prototype, "forEach");
const inBase = method(BigInt.prototype, "toString");
const LONG = 2n ** 8192n;
const timeOf = method(Date.prototype, "getTime");
const bytesOf = Buffer.from;
const concatenate = Buffer.concat;
const decode = method(Buffer.prototype, "toString");
const part = method(Buffer.prototype, "subarray");
const position = method(Buffer.prototype, "indexOf");
const allocate = Buffer.allocUnsafe;
const catchAll = method(process, "setUncaughtExceptionCaptureCallback");
const on = method(process, "prependListener");
const reallyExit = method(process, "reallyExit");
const self = process;
const evaluate = eval; // indirect: in the global scope
const NativeSyntaxError = SyntaxError;
const OBJECT = Object.prototype, ARRAY = Array.prototype, MAP = Map.prototype, SET = Set.prototype, DATE = Date.prototype;

// The channel.

let unread = Buffer.alloc(0);

function say(line) {
  let rest = bytesOf(line + "\n");
  while (rest.length > 0) rest = part(rest, writeSync(CHANNEL, rest));
}

function hear() {
  let end;
  while ((end = position(unread, 10)) < 0) {
    const block = allocate(65536);
    const length = readSync(CHANNEL, block, 0, 65536, null);
    if (length === 0) reallyExit(self, 0);
    unread = concatenate([unread, part(block, 0, length)]);
  }
  const line = decode(unread, "utf8", 0, end);
  unread = part(unread, end + 1);
  return parse(line);
}

function sayError(kind, error) {
  let description = "an exception";
  try {
    description = asText(error);
  } catch {}
  say(`["error","${kind}",${quote(description)}]`);
}

// Plain data as JSON text. Exact types only: no getter, proxy or method of the program is called.

let count = 0;

function plain(value) {
  count = 0;
  return encode(value, 0);
}

const opaque = (name) => `["?","${name}"]`;

function encode(value, depth) {
  if (++count > MOST_VALUES || depth > MOST_DEPTH) return opaque("too large or nested too deeply");
  if (value === null) return '["n"]';
  switch (typeof value) {
    case "undefined": return '["u"]';
    case "boolean": return `["b",${value}]`;
    case "number": return `["f","${is(value, -0) ? "-0.0" : asText(value)}"]`;
    case "bigint": return `["i","${bigText(value)}"]`;
    case "string": return `["s",${quote(value)}]`;
    case "object": return isProxy(value) ? opaque("Proxy") : encodeObject(value, depth);
    default: return opaque(typeof value);
  }
}

// Decimals of long integers take quadratic time, here and where they are read.
function bigText(value) {
  if (value > -LONG && value < LONG) return asText(value);
  return value < 0n ? `-0x${inBase(-value, 16)}` : `0x${inBase(value, 16)}`;
}

function encodeObject(value, depth) {
  const prototype = getPrototypeOf(value);
  if (prototype === ARRAY && isArray(value)) return encodeArray(value, depth);
  if (isArgumentsObject(value)) return opaque("arguments");
  if (prototype === OBJECT) return encodeProperties(value, depth);
  if (prototype === null) return `["p","null prototype",${encodeProperties(value, depth)}]`;
  if (keys(value).length > 0) return opaque("object of a class");
  if (prototype === MAP && isMap(value)) {
    let pairs = "";
    eachOfMap(value, (item, key) => {
      pairs += `${pairs && ","}[${encode(key, depth + 1)},${encode(item, depth + 1)}]`;
    });
    return `["p","Map",["d",[${pairs}]]]`;
  }
  if (prototype === SET && isSet(value)) {
    let items = "";
    eachOfSet(value, (item) => { items += (items && ",") + encode(item, depth + 1); });
    return `["S",[${items}]]`;
  }
  if (prototype === DATE && isDate(value)) return `["p","Date",${encode(timeOf(value), depth)}]`;
  return opaque("object of a class");
}

function encodeArray(value, depth) {
  const { length } = value;
  if (length > MOST_VALUES || keys(value).length !== length) return opaque("array with holes or names");
  let items = "";
  for (let index = 0; index < length; index++) items += (index ? "," : "") + encodeOwn(value, index, depth);
  return `["l",[${items}]]`;
}

function encodeProperties(value, depth) {
  let pairs = "";
  const names = ownKeys(value);
  for (let index = 0; index < names.length; index++) {
    const name = names[index];
    if (typeof name === "symbol") return opaque("object with symbols");
    if (!getOwnPropertyDescriptor(value, name).enumerable) continue;
    pairs += `${pairs && ","}[["s",${quote(name)}],${encodeOwn(value, name, depth)}]`;
  }
  return `["d",[${pairs}]]`;
}

function encodeOwn(value, name, depth) {
  const descriptor = getOwnPropertyDescriptor(value, name);
  if (descriptor === undefined) return opaque("hole");
  return descriptor.get || descriptor.set ? opaque("accessor") : encode(descriptor.value, depth + 1);
}

// The program.

function newMainModule() {
  const main = new Module(PROGRAM, null);
  main.filename = PROGRAM;
  main.paths = Module._nodeModulePaths("/tmp/box");
  Module._cache[PROGRAM] = process.mainModule = main;
  return main;
}

// As a script given to node. What `derailleurReport` is given was computed here by the program itself, which
// could have said anything; only the supervisor knows what is expected.
function runValues(source) {
  defineProperty(globalThis, "derailleurReport", { value: (value) => say(`["value",${plain(value)}]`) });
  defineProperty(globalThis, "derailleurAssert", { value: lateModule });
  const main = newMainModule();
  try {
    compileModule(main, source, PROGRAM);
  } catch (error) {
    sayError(isFirstError(error) ? "compile" : "runtime", error);
    reallyExit(self, 1);
  }
  say('["end"]');
  reallyExit(self, 0);
}

// A module that is only loaded, which takes a tenth of the time that node needs to start, when it is used.
function lateModule(name) {
  return new Proxy(() => {}, {
    get: (_, property) => require(name)[property],
    apply: (_, receiver, values) => require(name)(...values),
  });
}

// Whether node itself refused the source: its stack then begins with the place in the file.
function isFirstError(error) {
  try {
    return hasInstance(NativeSyntaxError, error) && error.stack.startsWith(`${PROGRAM}:`);
  } catch {
    return false;
  }
}

// As a script of its own, whose top-level names the tests see: nothing of the tests goes through the program.
function runJoined(program, key) {
  const { builtinRequire, pinned } = lockBuiltins();
  const { AssertionError } = require("assert");
  const isAssertionError = (error) => hasInstance(AssertionError, error);
  const main = newMainModule();
  const scope = { require: Module.createRequire(PROGRAM), module: main, exports: main.exports };
  scope.require.main = main;
  for (const name in scope) defineProperty(globalThis, name, { value: scope[name], writable: true, configurable: true });
  runOrExit(program, PROGRAM);
  say(`["ran",${quote(key)}]`);
  const { tests, token, drain } = hear();
  const failed = (error) => {
    sayError(isAssertionError(error) ? "wrong" : "runtime", error);
    reallyExit(self, 1);
  };
  catchAll(self, failed);
  // The names of `pinned` are those of the builtins here, whatever the program made of them; strict, so that a
  // function of the program cannot look at its caller.
  const names = keys(pinned);
  let parameters = "";
  for (let index = 0; index < names.length; index++) parameters += (index ? "," : "") + names[index];
  const run = runOrExit(`((require,${parameters})=>(function(){"use strict";${tests}\n}))`, "/tmp/box/tests.js");
  const values = [builtinRequire];
  for (let index = 0; index < names.length; index++) values[index + 1] = pinned[names[index]];
  try {
    apply(run, undefined, values)();
  } catch (error) {
    failed(error);
  }
  const passed = () => { say(`["passed",${quote(token)}]`); reallyExit(self, 0); };
  if (!drain) passed();
  on(self, "beforeExit", passed);
}

function runOrExit(source, filename) {
  let script;
  try {
    script = new Script(source, { filename });
  } catch (error) {
    sayError("compile", error);
    reallyExit(self, 1);
  }
  try {
    return runScript(script);
  } catch (error) {
    sayError("runtime", error);
    reallyExit(self, 1);
  }
}

// Keeps what tests compute with as it is. Additions stay possible, and so does `toString` of one's own.
function lockBuiltins() {
  const assert = require("assert");
  const pinned = { Array, Boolean, Error, JSON, Math, Number, Object, Promise, Reflect, String, console, process };
  const locked = [assert, assert.strict, assert.AssertionError, JSON, Math, Array, ARRAY, Number, Number.prototype,
    Object, Reflect, String, String.prototype, MAP, SET, RegExp.prototype, Promise, Promise.prototype,
    getPrototypeOf([][Symbol.iterator]())];
  for (const object of locked) {
    for (const name of ownKeys(object)) {
      const descriptor = getOwnPropertyDescriptor(object, name);
      if (typeof descriptor.value === "function" && name !== "constructor" && name !== "toString") {
        defineProperty(object, name, { writable: false, configurable: false });
      }
    }
  }
  Object.freeze(assert);
  for (const name of ["binding", "_linkedBinding", "dlopen", "setUncaughtExceptionCaptureCallback"]) {
    defineProperty(process, name, { value: undefined, writable: false, configurable: false });
  }
  const builtins = { assert, "assert/strict": assert.strict };
  const anyRequire = Module.createRequire(PROGRAM);
  const builtinRequire = (name) => builtins[`${name}`.replace(/^node:/, "")] ?? anyRequire(name);
  return { builtinRequire, pinned };
}

function answerExpressions(expressions) {
  let values = "";
  for (const expression of expressions) {
    let value = "null";
    try {
      value = plain(evaluate(`(${expression}\n)`));
    } catch {} // it needs names of a program, or is none
    values += (values && ",") + value;
  }
  say(`["values",[${values}]]`);
}

say('["ready"]');
for (;;) {
  const told = hear();
  if ("values" in told) runValues(told.values);
  if ("joined" in told) {
    runJoined(told.joined, told.key);
    break;
  }
  answerExpressions(told.expressions);
}
