// What Node's clients get of net.httpd: `ws`, undici, and node:http2. Prints a line of JSON.
// node client.js HOST
"use strict";
const assert = require("node:assert");
const http2 = require("node:http2");
const { once } = require("node:events");
const undici = require("undici");
const WebSocket = require("ws");

const host = process.argv[2];
const plain = `http://${host}`, tls = `https://${host}`;
const loose = { rejectUnauthorized: false };

async function overWs(perMessageDeflate) {
  const ws = new WebSocket(`ws://${host}/ws`, ["x", "chat"], { perMessageDeflate });
  await once(ws, "open");
  assert.equal(ws.protocol, "chat");
  assert.equal(ws.extensions !== "", perMessageDeflate);
  for (const message of ["", "hällo", Buffer.from([0, 255]), "x".repeat(100000),
                         Buffer.alloc(200000, 7)]) {
    ws.send(message);
    const [data, binary] = await once(ws, "message");
    assert.equal(binary, typeof message !== "string");
    assert(data.equals(Buffer.from(message)));
  }
  ws.send("in ", { fin: false });
  ws.ping("between");
  ws.send("pieces", { fin: true });
  const pong = once(ws, "pong");
  const [data] = await once(ws, "message");
  assert.equal(String(data), "in pieces");
  assert.equal(String((await pong)[0]), "between");
  ws.close(1000, "bye");
  const [code] = await once(ws, "close");
  return code;
}

async function overUndici(base, allowH2) {
  const dispatcher = new undici.Agent({ allowH2, connect: loose, connections: 4, pipelining: 5 });
  const body = Buffer.alloc(150000, "ab");
  const answers = [];
  for (let i = 0; i < 30; i++) {
    // The HTTP/2 of undici 6 takes answers for those of its oldest request: one at a time.
    if (allowH2) await answers.at(-1);
    answers.push(undici.request(`${base}/form?q=${i}`, {
      method: "POST", body: `a=${i}`, dispatcher,
      headers: { "content-type": "application/x-www-form-urlencoded" },
    }).then((r) => r.body.json()));
  }
  const got = await Promise.all(answers);
  got.forEach((g, i) => assert.deepEqual(g.form, { a: String(i) }));
  got.forEach((g, i) => assert.deepEqual(g.args, { q: String(i) }));
  const echo = await undici.request(`${base}/echo`, { method: "POST", body, dispatcher });
  assert(Buffer.from(await echo.body.arrayBuffer()).equals(body));
  const stream = await undici.fetch(`${base}/stream`, { dispatcher });
  assert.equal((await stream.text()).length, 79000);
  await dispatcher.close();
  return got[0].version;
}

async function overHttp2(base) {
  const session = http2.connect(base, loose);
  const answers = [];
  for (let i = 0; i < 50; i++) {
    const s = session.request({ ":path": i % 2 ? "/stream" : "/hello" });
    answers.push((async () => {
      let n = 0, trailers = null;
      s.on("trailers", (t) => (trailers = t));
      for await (const piece of s) n += piece.length;
      assert.equal(n, i % 2 ? 79000 : 6);
      if (i % 2) assert.equal(trailers["x-end"], "yes");
    })());
  }
  await Promise.all(answers);
  const pings = await new Promise((done, fail) =>
    session.ping((e, ms, payload) => (e ? fail(e) : done(payload.length))));
  session.close();
  await once(session, "close");
  return pings;
}

(async () => {
  console.log(JSON.stringify({
    ws: [await overWs(false), await overWs(true)],
    undici: [await overUndici(plain, false), await overUndici(tls, false), await overUndici(tls, true)],
    http2: [await overHttp2(plain), await overHttp2(tls)],
  }));
})().catch((e) => { console.error(e); process.exit(1); });
