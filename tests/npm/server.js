// Servers of Node's for net.http and net.websocket: HTTP/1.1 and, by ALPN, HTTP/2 over TLS on
// PORT, plain HTTP/1.1 with `ws` on PORT + 1. Says "listening".
// node server.js HOST PORT CERT KEY
"use strict";
const fs = require("node:fs");
const http = require("node:http");
const http2 = require("node:http2");
const zlib = require("node:zlib");
const { WebSocketServer } = require("ws");

const [host, port, cert, key] = process.argv.slice(2);
const counts = {};
const paused = [];
const turns = [];
const sockets = new Map();  // how many requests came by each

function answer(req, res) {
  const path = req.url.split("?")[0];
  const n = counts[req.method + path] = (counts[req.method + path] || 0) + 1;
  const used = sockets.get(req.socket) || 0;
  sockets.set(req.socket, used + 1);
  if (path === "/echo") {
    res.writeHead(200, { "x-version": req.httpVersion });
    req.pipe(res);
  } else if (path === "/early") {
    res.writeEarlyHints({ link: "</style.css>; rel=preload" });
    res.end("after hints");
  } else if (path === "/trailers") {
    if (req.httpVersion !== "2.0") res.writeHead(200, { Trailer: "x-end" });
    res.addTrailers({ "x-end": "yes" });
    res.end("body");
  } else if (path.startsWith("/packed/")) {  // in pieces, flushed one by one
    const coding = path.slice(8);
    const packer = { gzip: zlib.createGzip, deflate: zlib.createDeflate,
                     raw: zlib.createDeflateRaw }[coding]();
    res.writeHead(200, { "content-encoding": coding === "raw" ? "deflate" : coding });
    packer.pipe(res);
    for (let i = 0; i < 100; i++) {
      packer.write(`line ${i} `.repeat(200));
      if (i % 10 === 0) packer.flush();
    }
    packer.end();
  } else if (path === "/resume") {
    for (const ws of paused.splice(0)) ws.resume();
    res.end("resumed");
  } else if (path === "/turn") {  // answered when there are six, and perhaps more
    turns.push(res);
    if (turns.length === 6) setTimeout(() => {
      const n = turns.length;
      for (const r of turns.splice(0)) r.end(String(n));
    }, 100);
  } else if (path === "/drop") {  // a connection that was used is ended, unanswered
    if (used) req.socket.destroy();
    else res.end(String(n));
  } else if (path === "/counts") {
    res.end(JSON.stringify(counts));
  } else if (path === "/hang") {
    // never
  } else if (path === "/drip") {
    res.writeHead(200, { "content-length": "1000000" });
    const timer = setInterval(() => res.write("x"), 20);
    req.socket.on("close", () => clearInterval(timer));
  } else if (path === "/gone") {
    res.writeHead(200, { "content-length": "1000" });
    res.write("x", () => req.socket.destroy());
  } else {
    res.writeHead(404).end("nothing");
  }
}

const tls = { cert: fs.readFileSync(cert), key: fs.readFileSync(key), allowHTTP1: true };
const secure = http2.createSecureServer(tls, answer);
const plain = http.createServer(answer);
plain.on("checkContinue", (req, res) => {
  counts.continues = (counts.continues || 0) + 1;
  if (req.url === "/refuse") res.writeHead(417).end("no");
  else {
    res.writeContinue();
    answer(req, res);
  }
});
const sub = { handleProtocols: (offered) => (offered.has("chat") ? "chat" : false) };
new WebSocketServer({ server: plain, perMessageDeflate: true, maxPayload: 1 << 22, ...sub })
  .on("connection", (ws) => {
    ws.on("message", (data, binary) => {
      if (!binary && String(data) === "close") ws.close(4001, "asked");
      else if (!binary && String(data) === "pause") {  // nothing is read until /resume
        ws.send("paused");
        ws.pause();
        paused.push(ws);
      }
      else if (!binary && String(data) === "pieces") {
        ws.send("in ", { fin: false });
        ws.ping();
        ws.send("pieces", { fin: true });
      } else ws.send(data, { binary });
    });
  });
secure.listen(Number(port), host, () =>
  plain.listen(Number(port) + 1, host, () => console.log("listening")));
