"use strict";
// Draws what /live says, twice a second. Text goes in as text, never as markup.
const KEEP = 240, COLORS = ["#2f6fde", "#d9822b", "#2ca25f", "#c0399f", "#7a5cd6", "#b8403a"];
const history = new Map(); // connection -> {color, cwnd: [], rtt: []}
const $ = (id) => document.getElementById(id);
let messages = 0, socket = null;

function table(id, heads, rows) {
  const t = $(id);
  t.replaceChildren();
  const line = (cells, tag) => {
    const tr = t.insertRow();
    for (const c of cells) {
      const cell = document.createElement(tag);
      if (c instanceof Node) cell.append(c); else cell.textContent = c ?? "";
      tr.append(cell);
    }
  };
  line(heads, "th");
  for (const r of rows) line(r, "td");
}

const bytes = (n) => n == null ? "" : n < 10000 ? `${n} B` : n < 1e7 ? `${Math.round(n / 1e3)} kB` : `${Math.round(n / 1e6)} MB`;

function remember(connections) {
  const seen = new Set();
  for (const c of connections) {
    if (c.proto !== "tcp" || c.cwnd == null || !c.remote || c.state === "LISTEN") continue;
    const key = `${c.local} ${c.remote}`;
    seen.add(key);
    if (!history.has(key)) history.set(key, { color: COLORS[history.size % COLORS.length], cwnd: [], rtt: [] });
    const h = history.get(key);
    h.cwnd.push(c.cwnd);
    h.rtt.push((c.srtt_us || 0) / 1000);
    if (h.cwnd.length > KEEP) { h.cwnd.shift(); h.rtt.shift(); }
  }
  for (const key of history.keys()) if (!seen.has(key)) history.delete(key);
}

function plot(id, what) {
  const canvas = $(id), g = canvas.getContext("2d"), w = canvas.width, h = canvas.height;
  const ink = getComputedStyle(document.body).color;
  g.clearRect(0, 0, w, h);
  let most = 0;
  for (const c of history.values()) most = Math.max(most, ...c[what]);
  most = most * 1.15 || 1;
  g.strokeStyle = g.fillStyle = ink;
  g.globalAlpha = 0.25;
  g.lineWidth = 1;
  for (const part of [0, 0.5, 1]) {
    const y = 8 + (h - 16) * (1 - part / 1.15);
    g.beginPath(); g.moveTo(0, y); g.lineTo(w, y); g.stroke();
  }
  g.globalAlpha = 0.7;
  g.font = "11px system-ui";
  g.fillText(Number((most / 1.15).toPrecision(3)).toLocaleString("en"), 4, 19);
  g.globalAlpha = 1;
  g.lineWidth = 2;
  for (const c of history.values()) {
    const points = c[what];
    g.strokeStyle = c.color;
    g.beginPath();
    points.forEach((v, i) => {
      const x = w - (points.length - 1 - i) * (w / KEEP), y = 8 + (h - 16) * (1 - v / most);
      if (i) g.lineTo(x, y); else g.moveTo(x, y);
    });
    g.stroke();
  }
}

function dot(color) {
  const s = document.createElement("span");
  s.style.color = color;
  s.textContent = "\u25cf";
  return s;
}

function meter(words, used, total) {
  const box = document.createElement("div"), bar = document.createElement("div"), fill = document.createElement("i");
  box.textContent = `${words}: ${bytes(used)} of ${bytes(total)}`;
  bar.className = "meter";
  fill.style.width = `${total ? Math.min(100, 100 * used / total) : 0}%`;
  bar.append(fill);
  return [box, bar];
}

function show(s) {
  table("interfaces", ["name", "driver", "address", "IPv6", "MAC", "link", "received", "sent"],
    s.interfaces.map((i) => [i.name, i.driver, i.ip4, [].concat(i.ip6 ?? []).join(" "), i.mac, i.up ? "up" : "down",
      `${i.rx_frames} frames, ${bytes(i.rx_bytes)}`, `${i.tx_frames} frames, ${bytes(i.tx_bytes)}`]));
  remember(s.connections);
  table("connections", ["", "", "local", "remote", "state", "cwnd", "RTT", "retransmits"],
    s.connections.map((c) => {
      const h = history.get(`${c.local} ${c.remote}`);
      return [h ? dot(h.color) : "", c.proto, c.local, c.remote, c.state, bytes(c.cwnd),
        c.srtt_us ? `${(c.srtt_us / 1000).toFixed(2)} ms` : "", c.retransmits];
    }));
  plot("cwnd", "cwnd");
  plot("rtt", "rtt");
  const m = s.memory;
  $("memory").replaceChildren(...meter("Heap", m.heap_used, m.heap_used + m.heap_free),
    ...meter("Data of connections", m.buffers_used, m.buffers_limit));
  table("dns", ["name", "type", "answer", "seconds left"], s.dns.map((d) => Array.isArray(d) ? d : Object.values(d)));
  const p = $("packets"), end = p.scrollTop + p.clientHeight >= p.scrollHeight - 20;
  const lines = p.textContent.split("\n").concat(s.packets);
  if (s.more_packets) lines.push(`... and ${s.more_packets} more`);
  p.textContent = lines.filter((l) => l).slice(-300).join("\n");
  if (end) p.scrollTop = p.scrollHeight;
  messages += 1;
  document.body.dataset.messages = messages;
  $("status").textContent = `${s.hostname ?? ""} up ${s.uptime} s, watched by ${s.clients}`;
}

function connect() {
  socket = new WebSocket(`${location.protocol.replace("http", "ws")}//${location.host}/live`);
  socket.onmessage = (e) => show(JSON.parse(e.data));
  socket.onclose = () => {
    $("status").textContent = "the connection is closed; trying again";
    setTimeout(connect, 1000);
  };
}

$("ask").addEventListener("submit", (e) => {
  e.preventDefault();
  if ($("name").value && socket.readyState === 1) socket.send(`dns ${$("name").value}`);
});
connect();
