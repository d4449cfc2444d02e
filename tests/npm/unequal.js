// 100 streams on one connection of node:http2, read unequally: of every five one is not read at
// all until the others are through, one is read in small sips. Prints JSON.
// node unequal.js HOST PATH LENGTH
"use strict";
const assert = require("node:assert");
const http2 = require("node:http2");
const { once } = require("node:events");

const [host, path, length] = process.argv.slice(2);
const session = http2.connect(`http://${host}`);
const get = async (path) => {
  let text = "";
  for await (const piece of session.request({ ":path": path })) text += piece;
  return text;
};

async function read(stream, sip) {
  let n = 0;
  for await (const piece of stream) {
    n += piece.length;
    if (sip) await new Promise((turn) => setImmediate(turn));
  }
  assert.equal(n, Number(length));
}

(async () => {
  await once(session, "connect");
  session.setLocalWindowSize(16 << 20);  // of the connection: the streams' windows are what stops
  await get("/memory");
  const before = Number(await get("/memory"));
  const all = [];
  for (let i = 0; i < 99; i++) {  // and the one that asks for the memory
    const stream = session.request({ ":path": path });
    stream.pause();
    all.push(stream);
  }
  await Promise.all(all.map((s) => once(s, "response")));
  const held = all.filter((_, i) => i % 5 === 0);
  await Promise.all(all.filter((_, i) => i % 5).map((s, i) => read(s, i % 4 === 0)));
  const during = Number(await get("/memory"));
  await Promise.all(held.map((s) => read(s, false)));
  console.log(JSON.stringify({ held: held.length, took: before - during }));
  session.close();
})().catch((e) => { console.error(e); process.exit(1); });
