"use strict";
// A message: 4 bytes length, a JSON header, then the parts, whose sizes are in the header (see board.py).
// Frames are read one at a time; while one is drawn, the server keeps the next and drops older ones.
const STALE_MS = 1500, HISTORY = 200, STAGES = ["input", "infer", "view"];
const $ = (id) => document.getElementById(id);
const make = (name, of = {}, ...inner) => {
  const node = Object.assign(document.createElement(name), of);
  node.append(...inner);
  return node;
};
const fixed = (value, digits = 1) => (value == null ? "–" : value.toFixed(digits));
const state = { tiles: [], chosen: 0, hidden: new Set(), opacity: 0.5, classes: [], palette: [], frozen: false, rows: [], ended: false };

function tokenOfPage() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given) {
    sessionStorage.setItem("token", given);
    history.replaceState(null, "", location.pathname);
  }
  return sessionStorage.getItem("token") || "";
}

class Inbox {
  constructor(stream) { this.reader = stream.getReader(); this.chunks = []; this.length = 0; }
  async take(count) {
    while (this.length < count) {
      const { done, value } = await this.reader.read();
      if (done) throw new Error("the connection ended");
      this.chunks.push(value);
      this.length += value.length;
    }
    const whole = new Uint8Array(count);
    let filled = 0;
    while (filled < count) {
      const part = this.chunks[0].subarray(0, count - filled);
      whole.set(part, filled);
      filled += part.length;
      if (part.length === this.chunks[0].length) this.chunks.shift();
      else this.chunks[0] = this.chunks[0].subarray(part.length);
    }
    this.length -= count;
    return whole;
  }
  async message() {
    const size = new DataView((await this.take(4)).buffer).getUint32(0);
    const header = JSON.parse(new TextDecoder().decode(await this.take(size)));
    const parts = [];
    for (const count of header.parts) parts.push(await this.take(count));
    return [header, parts];
  }
}

async function inflated(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

class Tile {
  constructor(number, name) {
    this.number = number; this.name = name; this.frame = null; this.came = 0; this.figures = null;
    this.ages = []; this.stages = []; this.ink = document.createElement("canvas"); this.regions = [];
    this.canvas = make("canvas", { className: "empty", width: 16, height: 9 });
    this.canvas.setAttribute("role", "img");
    this.pill = make("span", { className: "pill", textContent: "waiting" });
    this.rate = make("span", { className: "rate" });
    this.veil = make("div", { className: "veil", textContent: "waiting for the first frame" });
    this.probe = make("div", { className: "probe", hidden: true });
    this.node = make("figure", { className: "tile" }, this.canvas, this.veil, this.probe,
      make("figcaption", {}, this.pill, make("span", { className: "title", textContent: name, title: name }), this.rate));
    this.canvas.addEventListener("pointermove", (event) => this.tell(event));
    this.canvas.addEventListener("pointerleave", () => { this.probe.hidden = true; });
  }
  async take(header, [jpeg, packed]) {
    const [picture, map] = await Promise.all([createImageBitmap(new Blob([jpeg], { type: "image/jpeg" })), inflated(packed)]);
    if (this.frame) this.frame.picture.close();
    this.frame = { header, picture, map };
    this.came = performance.now();
    this.ages.push(header.age_ms);
    this.stages.push(STAGES.map((stage) => header.stages_ms[stage]));
    if (this.ages.length > HISTORY) { this.ages.shift(); this.stages.shift(); }
    this.draw();
  }
  draw() {
    if (!this.frame) return;
    const { header, picture, map } = this.frame, [width, height] = header.map;
    if (this.canvas.width !== picture.width || this.canvas.height !== picture.height || this.canvas.className) {
      this.canvas.width = picture.width; this.canvas.height = picture.height; this.canvas.className = "";
    }
    if (this.ink.width !== width || this.ink.height !== height) { this.ink.width = width; this.ink.height = height; }
    const inked = this.ink.getContext("2d"), image = inked.createImageData(width, height);
    const pixels = new Uint32Array(image.data.buffer), inks = inkTable();
    for (let at = 0; at < map.length; at++) pixels[at] = inks[map[at]];
    inked.putImageData(image, 0, 0);
    const context = this.canvas.getContext("2d");
    context.drawImage(picture, 0, 0);
    context.drawImage(this.ink, 0, 0, picture.width, picture.height);
    for (const region of this.regions) outline(context, region, picture);
  }
  tell(event) {
    if (!this.frame) return;
    const box = this.canvas.getBoundingClientRect(), [width, height] = this.frame.header.map;
    const shown = Math.min(box.width / width, box.height / height);
    const x = Math.floor((event.clientX - box.left - (box.width - shown * width) / 2) / shown);
    const y = Math.floor((event.clientY - box.top - (box.height - shown * height) / 2) / shown);
    this.probe.hidden = x < 0 || y < 0 || x >= width || y >= height;
    if (this.probe.hidden) return;
    const index = this.frame.map[y * width + x];
    this.probe.textContent = state.classes[index] ?? "nothing";
    this.probe.style.setProperty("--c", css(index));
    const left = Math.min(event.clientX - box.left + 14, box.width - this.probe.offsetWidth - 6);
    this.probe.style.transform = `translate(${Math.max(6, left)}px, ${Math.max(6, event.clientY - box.top - 34)}px)`;
  }
  show() {
    const since = this.frame ? performance.now() - this.came + this.frame.header.age_ms : null, figures = this.figures;
    let word = figures ? figures.state : "waiting";
    if (word === "open" && !state.frozen && (since == null || since > STALE_MS)) word = since == null ? "waiting" : "stale";
    const isOld = since != null && since > STALE_MS && !state.frozen;
    this.pill.dataset.state = word;
    this.pill.textContent = state.frozen ? "frozen" : word === "open" ? "live" : word;
    this.node.classList.toggle("old", isOld && word !== "ended");
    this.veil.hidden = this.frame && !(isOld && word !== "ended");
    if (this.frame) this.veil.textContent = `last frame ${(since / 1000).toFixed(since < 1e4 ? 1 : 0)} s ago`;
    const age = this.frame ? `${Math.round(isOld ? since : this.frame.header.age_ms)} ms old` : "";
    this.rate.textContent = figures && this.frame ? `${fixed(figures.fps)} fps · ${age}` : "";
    this.canvas.setAttribute("aria-label", `${this.name}: ${word}`);
  }
}

const css = (index) => `rgb(${(state.palette[index] || [0, 0, 0]).join(" ")})`;
const isLight = ([red, green, blue]) => 0.299 * red + 0.587 * green + 0.114 * blue > 140;

function inkTable() {
  const table = new Uint32Array(256), bytes = new Uint8ClampedArray(table.buffer);
  for (let index = 0; index < 256; index++) {
    bytes.set(state.palette[index] || [0, 0, 0], 4 * index);
    bytes[4 * index + 3] = state.hidden.has(index) ? 0 : Math.round(255 * state.opacity);
  }
  return table;
}

function outline(context, region, { width, height }) {
  const size = Math.max(11, Math.round(width / 60)), [left, top] = region.points[0];
  context.beginPath();
  for (const [x, y] of region.points) context.lineTo(x * width, y * height);
  context.closePath();
  context.lineWidth = Math.max(1.5, width / 480);
  context.strokeStyle = "#fff";
  context.shadowColor = "#000"; context.shadowBlur = 4;
  context.stroke();
  context.font = `600 ${size}px system-ui, sans-serif`;
  context.fillStyle = "#fff";
  context.fillText(region.name, left * width + 6, Math.max(size + 2, top * height - 6));
  context.shadowBlur = 0;
}

function hello(greeting) {
  Object.assign(state, { classes: greeting.classes, palette: greeting.palette });
  if (!state.tiles.length) {
    state.hidden = new Set(greeting.hidden);
    state.opacity = greeting.opacity;
    $("opacity").value = Math.round(100 * greeting.opacity);
    $("opacity-value").textContent = `${$("opacity").value} %`;
  }
  $("model").textContent = `${greeting.model} · ${greeting.engine}`;
  if (state.tiles.map((tile) => tile.name).join("\n") !== greeting.sources.join("\n")) {  // otherwise keep the images
    state.tiles = greeting.sources.map((name, number) => new Tile(number, name));
    state.chosen = 0;
    $("stage").replaceChildren(...state.tiles.map((tile) => tile.node));
    $("stage").classList.toggle("several", state.tiles.length > 1);
    if (state.tiles.length > 1) state.tiles.forEach(choosable);
  }
  state.tiles.forEach((tile) => { tile.regions = greeting.regions; });
  state.noted = -1;
  $("events-card").hidden = !greeting.rules.length;
  $("events").replaceChildren(make("li", { textContent: greeting.rules.join(" · ") }));
  state.rows = greeting.classes.map(classRow);
  $("classes").replaceChildren(...state.rows.map((row) => row.node));
}

function choosable(tile) {
  const choose = () => {
    state.chosen = tile.number;
    state.tiles.forEach((each) => each.node.setAttribute("aria-pressed", each === tile));
    refresh();
  };
  tile.node.tabIndex = 0;
  tile.node.setAttribute("role", "button");
  tile.node.setAttribute("aria-label", `show figures of ${tile.name}`);
  tile.node.setAttribute("aria-pressed", tile.number === state.chosen);
  tile.node.addEventListener("click", choose);
  tile.node.addEventListener("keydown", (event) => {
    if (event.key === "Enter" || event.key === " ") { event.preventDefault(); choose(); }
  });
}

function classRow(name, index) {
  const box = make("input", { type: "checkbox", checked: !state.hidden.has(index) });
  const fill = make("i"), share = make("span", { className: "share" });
  const label = make("label", {}, box, make("span", { className: "word", textContent: name, title: name }),
    make("span", { className: "meter" }, fill), share);
  label.style.setProperty("--c", css(index));
  label.style.setProperty("--tick", isLight(state.palette[index]) ? "#000" : "#fff");
  box.addEventListener("change", () => {
    state.hidden[box.checked ? "delete" : "add"](index);
    redraw();
  });
  return { node: make("li", {}, label), box, label, fill, share };
}

function redraw() { state.tiles.forEach((tile) => tile.draw()); }

function setAll(isShown) {
  state.rows.forEach((row, index) => {
    row.box.checked = isShown;
    state.hidden[isShown ? "delete" : "add"](index);
  });
  redraw();
}

function plot(canvas, series, colours) {
  const scale = devicePixelRatio || 1, width = canvas.clientWidth, height = canvas.clientHeight;
  canvas.width = width * scale; canvas.height = height * scale;
  const context = canvas.getContext("2d"), style = getComputedStyle(document.documentElement);
  context.scale(scale, scale);
  const tops = series.map((values) => values.reduce((sum, value) => sum + value, 0));
  const most = niceTop(Math.max(...tops, 1)), step = width / (HISTORY - 1);
  context.strokeStyle = style.getPropertyValue("--line");
  context.fillStyle = style.getPropertyValue("--dim");
  context.font = "11px system-ui, sans-serif";
  for (const part of [0, 0.5, 1]) {
    const y = Math.round((height - 1) * (1 - part)) + 0.5;
    context.beginPath(); context.moveTo(0, y); context.lineTo(width, y); context.stroke();
  }
  const first = HISTORY - series.length, base = series.map(() => 0);
  const yOf = (value) => height - 1 - (value / most) * (height - 2);
  colours.forEach((name, layer) => {
    const below = base.slice();
    series.forEach((values, at) => { base[at] += values[layer]; });
    context.beginPath();
    base.forEach((value, at) => context.lineTo((first + at) * step, yOf(value)));
    context.strokeStyle = context.fillStyle = style.getPropertyValue(name);
    context.lineWidth = 1.5;
    if (colours.length === 1) context.stroke();
    for (let at = below.length - 1; at >= 0; at--) context.lineTo((first + at) * step, yOf(below[at]));
    context.globalAlpha = colours.length === 1 ? 0.2 : 0.85; context.fill(); context.globalAlpha = 1;
  });
  context.fillStyle = style.getPropertyValue("--dim");
  context.fillText(`${most} ms`, 3, 12);
}

function niceTop(value) {
  const unit = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((factor) => factor * unit).find((top) => top >= value);
}

function refresh() {
  state.tiles.forEach((tile) => tile.show());
  const tile = state.tiles[state.chosen];
  if (!tile) return;
  const figures = tile.figures, header = tile.frame && tile.frame.header;
  if (header) {
    const total = header.pixels.reduce((sum, count) => sum + count, 0) || 1;
    state.rows.forEach((row, index) => {
      const share = header.pixels[index] / total;
      row.share.textContent = share ? (share < 0.001 ? "<0.1 %" : `${(100 * share).toFixed(1)} %`) : "–";
      row.fill.style.transform = `scaleX(${share})`;
      row.label.classList.toggle("absent", !share);
    });
  }
  if (figures) {
    $("age").textContent = fixed(figures.frame_age_ms.p50);
    $("stage-names").replaceChildren(...STAGES.map((stage, layer) => {
      const key = make("span", { textContent: `${stage} ${fixed(figures.stages_ms[stage].p50)}` });
      key.style.setProperty("--c", `var(--s${layer})`);
      return key;
    }));
    $("source-name").textContent = figures.source;
    $("trouble").hidden = !figures.trouble;
    $("trouble").textContent = figures.trouble;
    const rows = [
      ["state", figures.state], ["image size", figures.size ? `${figures.size[1]} × ${figures.size[0]}` : "–"], ["policy", figures.policy],
      ["frames", figures.frames_out], ["frames per second", fixed(figures.fps)], ["age, p99", `${fixed(figures.frame_age_ms.p99)} ms`],
      ["dropped", figures.dropped], ["repeated", figures.duplicated], ["gaps", figures.gaps], ["not decoded", figures.skipped],
      ["reconnects", figures.reconnects],
    ];
    if (header && header.presented_s !== null) rows.unshift(["time in the video", `${fixed(header.presented_s)} s`]);
    $("figures").replaceChildren(...rows.map(([word, value]) => make("div", {}, make("dt", { textContent: word }), make("dd", { textContent: value }))));
  }
  plot($("age-plot"), tile.ages.map((age) => [age]), ["--s1"]);
  plot($("stage-plot"), tile.stages, ["--s0", "--s1", "--s2"]);
}

function note(event) {
  const when = make("time", { textContent: new Date(event.time).toLocaleTimeString(), dateTime: event.time });
  const where = state.tiles.length > 1 ? `${state.tiles[event.stream].name}: ` : "";
  const words = event.state === "began" ? `${event.event} (${(100 * event.share).toFixed(1)} %)` : `${event.event}: over`;
  $("events").prepend(make("li", { className: event.state }, when, where + words));
  while ($("events").children.length > 50) $("events").lastChild.remove();
}

function link(word, name) { $("link").textContent = word; $("link").dataset.state = name; }

async function handle([header, parts]) {
  if (header.kind === "hello") hello(header);
  else if (header.kind === "frame") { if (!state.frozen) await state.tiles[header.stream].take(header, parts); }
  else if (header.kind === "status") {
    header.streams.forEach((figures) => { state.tiles[figures.stream].figures = figures; });
    header.events.forEach((event) => { if (event.number > state.noted) { state.noted = event.number; note(event); } });
    link(header.viewers > 1 ? `connected · ${header.viewers} viewers` : "connected", "open");
  } else if (header.kind === "end") { state.ended = true; link("run ended", "ended"); }
}

async function watch() {
  const answer = await fetch("live", { headers: { Authorization: `Bearer ${tokenOfPage()}` }, cache: "no-store" });
  if (answer.status === 401) { ask(); return false; }
  if (!answer.ok) throw new Error(await answer.text());
  state.ended = false;
  const inbox = new Inbox(answer.body);
  while (!state.ended) await handle(await inbox.message());
  return true;
}

function ask() {
  sessionStorage.removeItem("token");
  $("ask").hidden = false; $("main").hidden = true;
  link("token required", "stale");
  $("token").focus();
}

async function watchForEver() {
  for (let wait = 500; ; wait = Math.min(2 * wait, 8000)) {
    try {
      if (!(await watch())) return;
    } catch (error) {
      if (!state.ended) link("disconnected, retrying", "lost");
    }
    if (state.tiles.some((tile) => performance.now() - tile.came < 5000)) wait = 500;
    await new Promise((resolve) => setTimeout(resolve, wait));
  }
}

$("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("token", $("token").value);
  $("ask").hidden = true; $("main").hidden = false;
  watchForEver();
});
$("opacity").addEventListener("input", () => {
  state.opacity = $("opacity").value / 100;
  $("opacity-value").textContent = `${$("opacity").value} %`;
  redraw();
});
$("all").addEventListener("click", () => setAll(true));
$("none").addEventListener("click", () => setAll(false));
$("freeze").addEventListener("click", () => {
  state.frozen = !state.frozen;
  $("freeze").setAttribute("aria-pressed", state.frozen);
});
$("snapshot").addEventListener("click", () => {
  const tile = state.tiles[state.chosen];
  if (!tile || !tile.frame) return;
  tile.canvas.toBlob((blob) => {
    const url = URL.createObjectURL(blob);
    make("a", { href: url, download: `fcn-edge-${tile.number}-${tile.frame.header.index}.png` }).click();
    setTimeout(() => URL.revokeObjectURL(url), 10000);
  });
});
setInterval(refresh, 200);
watchForEver();
