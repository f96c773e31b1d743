// The steps of the page. All text is already in the table, the picture and the data; this only shows, marks and copies
// it (never as markup).
"use strict";
(() => {
  const find = (id) => document.getElementById(id);
  const { digits, steps, numbers, parts } = JSON.parse(find("data").textContent);
  const rows = [...find("rows").rows].map(read);
  const placeOf = new Map(rows.map((row) => [row.step, row.place]));
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  const picture = charted(document.querySelector(".view"));
  const answered = new Set();
  const score = { right: 0, asked: 0 };
  const VALUE = 3; // the cell of it
  let now = -1;
  let timer = null;
  let predicting = false;
  let asked = -1; // the row whose value may be hidden
  let described = -1; // the step of which the nodes tell
  let tried = false; // a first answer to the question was wrong

  // Reading

  // A step: the texts of its row in the table, and what the data know of it.
  function read(element, place) {
    const [step, quantity, expression, value, from] = [...element.cells].map((cell) => cell.textContent);
    const row = { element, place, step, quantity, expression, value, sources: from ? from.split(", ") : [] };
    for (const [fact, [texts, places]] of Object.entries(steps)) row[fact] = texts[places[place]];
    row.full = laid(row.full.replace(/\d+/g, (each) => numbers[each]));
    row.ask = row.ask.replace(/\|.*$/, (end) => end.replace(/\d+/, (each) => numbers[each]));
    Object.assign(row, { fills: [], recorded: { ...row } });
    element.dataset.pass = row.pass;
    element.setAttribute("role", "row"); // as a narrow window shows it, it is no table to a browser
    [...element.cells].forEach((cell, i) => cell.setAttribute("role", i ? "cell" : "rowheader"));
    return row;
  }

  // The rows of a matrix each on a line of its own.
  function laid(full) {
    const depth = /^\[*/.exec(full)[0].length;
    return full.replace(/(\]+), (?=\[)/g, (_, ends) => `${ends},${"\n".repeat(ends.length)}${" ".repeat(depth - ends.length)}`);
  }

  function charted(view) {
    const nodes = new Map(), into = new Map(), outOf = new Map(), slots = new Map(), tips = new Map();
    if (!view) return { view, nodes, slots, tips, into: () => [], outOf: () => [], edges: [] };
    const put = (map, key, item) => map.set(key, [...(map.get(key) || []), item]);
    for (const node of view.querySelectorAll("[data-node]")) {
      const key = node.dataset.node, title = node.querySelector("title");
      nodes.set(key, node);
      tips.set(key, title ? title.textContent.split("\n") : []);
      if (title) title.remove(); // the browser's own would not open by tap or key
      node.setAttribute("tabindex", nodes.size === 1 ? "0" : "-1");
      node.setAttribute("role", "button");
      for (const slot of node.querySelectorAll("[data-slot]")) {
        const name = slot.dataset.slot, [frame, ...lines] = slot.children;
        slots.set(`${key} ${name}`, { name, frame, lines, fills: [], widest: lines.map(() => 0) });
      }
    }
    const edges = [...view.querySelectorAll("[data-from]")];
    for (const edge of edges) {
      edge.setAttribute("aria-hidden", "true");
      put(into, edge.dataset.to, edge);
      put(outOf, edge.dataset.from, edge);
    }
    return { view, nodes, slots, tips, edges, into: (key) => into.get(key) || [], outOf: (key) => outOf.get(key) || [] };
  }

  const sourcesOf = (row) => row.sources.filter((step) => placeOf.has(step)).map((step) => rows[placeOf.get(step)]);
  const isBack = (row) => row.pass === "second" || (row.pass === "backward" && row.role !== "value" && row.role !== "given");
  const asks = (place) => predicting && rows[place].ask !== "" && !answered.has(place);
  const told = (row) => (row.place === now && asks(now) ? "?" : row.value); // what is asked is not said yet

  // What comes into which slot, and from when to when a node has a part in it.
  const first = new Map(), last = new Map();
  const touch = (key, i) => {
    if (!first.has(key)) first.set(key, i);
    last.set(key, i);
  };
  rows.forEach(({ node, other, also, slot, lines, copy, role }, i) => {
    const keep = (key, name, text) => {
      const known = picture.slots.get(`${key} ${name}`);
      if (!known) return;
      const written = { i, lines: text.split("\n"), copied: text === copy && name === "value" && key !== node };
      known.fills.push(Object.assign(written, { recorded: written.lines }));
      known.widest = known.widest.map((n, k) => Math.max(n, (written.lines[k] || "").length)); // for so much there is room
      rows[i].fills.push(written);
    };
    if (node) {
      touch(node, i);
      if (role === "value") touch(node.replace(/^t/, "op"), i);
      if (slot) keep(node, slot, lines);
    }
    if (other) touch(other, i);
    for (const key of also ? also.split(" ") : []) {
      touch(key, i);
      touch(key.replace(/^t/, "op"), i);
      keep(key, "value", copy);
    }
  });
  const keptRows = rows.filter((row) => row.kept && row.node);

  // Other numbers than were recorded: for each step its texts, or null for those that were.
  document.addEventListener("numbers", ({ detail }) => {
    detail.forEach((texts, i) => {
      const row = rows[i], { recorded } = row;
      const given = texts || recorded;
      Object.assign(row, { value: given.value, put: given.put, heat: given.heat, full: texts ? laid(texts.full) : recorded.full });
      row.ask = !texts || !recorded.ask ? recorded.ask : texts.answer && `${recorded.ask.split("|")[0]}|${texts.answer}`;
      row.element.cells[VALUE].textContent = row.value;
      for (const fill of row.fills) {
        const start = !texts || fill.copied ? "" : (/^(grad |→ )*/.exec(fill.recorded[0]) || [""])[0];
        fill.lines = !texts ? fill.recorded : (fill.copied ? texts.copy : texts.lines).map((line, k) => (k ? line : start + line));
      }
    });
    described = -1;
    if (now >= 0) show(false);
  });

  // Showing one step

  function go(place, speak = true) {
    const target = Math.min(Math.max(place, 0), rows.length - 1);
    if (target < 0 || target === now) return;
    const [low, high] = now < 0 ? [0, rows.length - 1] : [Math.min(now, target), Math.max(now, target)];
    for (let i = low; i <= high; i++) rows[i].element.hidden = i > target;
    now = target;
    tried = false;
    show(speak);
    remember();
  }

  function show(speak) {
    const row = rows[now];
    markRows(row);
    describe(row);
    fill();
    light(row);
    reveal(row);
    const seek = find("seek");
    seek.value = String(now + 1);
    seek.setAttribute("aria-valuetext", `${heading(row)}: ${row.quantity}`);
    for (const id of ["first", "previous"]) find(id).setAttribute("aria-disabled", String(now === 0));
    for (const id of ["next", "last"]) find(id).setAttribute("aria-disabled", String(now === rows.length - 1));
    ask();
    if (speak) find("status").textContent = spoken(row);
    scrollables();
  }

  // What is larger than its place is scrolled by keys too.
  function scrollables() {
    for (const part of document.querySelectorAll(".words ol, #now-math, #now-matrix, #now-full, #now-factors dd")) {
      const larger = part.scrollWidth > part.clientWidth || part.scrollHeight > part.clientHeight;
      part.classList.toggle("scrolled", larger);
      if (larger) part.setAttribute("tabindex", "0");
      else part.removeAttribute("tabindex");
    }
  }

  const heading = (row) => `Step ${row.step} of ${rows.length}, ${row.phase}`;

  const spoken = (row) => `${heading(row)}. ${row.quantity}: ${row.expression}, value ${told(row)}`;

  function markRows(row) {
    for (const marked of find("rows").querySelectorAll(".now-row, .with, .source")) {
      marked.classList.remove("now-row", "with", "source");
      marked.removeAttribute("aria-current");
    }
    for (const place of new Set([asked, now])) {
      if (place >= 0) rows[place].element.cells[VALUE].textContent = told(rows[place]);
    }
    asked = now;
    for (const each of together()) each.element.classList.add("with");
    row.element.classList.add("now-row");
    row.element.setAttribute("aria-current", "step");
    for (const source of sourcesOf(row)) source.element.classList.add("source");
  }

  function reveal({ element: row }) {
    const box = find("steps"), head = box.querySelector("thead").offsetHeight;
    const top = row.offsetTop, bottom = Math.min(top + row.offsetHeight, top - head + box.clientHeight); // a tall one from its top on
    if (bottom > box.scrollTop + box.clientHeight) box.scrollTop = bottom - box.clientHeight;
    else if (top - head < box.scrollTop) box.scrollTop = top - head;
  }

  const RESULTS = { local: "local derivative", product: "product", sum: "sum", cotangent: "result", update: "new value" };

  function roleOf(source, row, i) {
    if (row.role === "product" && i < 2) return i ? "local derivative" : "incoming cotangent";
    if (row.role === "sum") return "contribution";
    return isBack(source) ? "derivative" : "value of";
  }

  function describe(row) {
    const secret = asks(now);
    find("now").dataset.pass = row.pass;
    find("now-title").textContent = heading(row);
    find("now-quantity").textContent = row.quantity;
    const repeated = row.expression === row.value && !secret; // a constant is said once
    find("now-expression").textContent = row.expression && !repeated && (row.role === "given" ? `(${row.expression})` : `= ${row.expression}`);
    find("now-value").textContent = `= ${told(row)}`;
    find("now-full").textContent = row.full && !secret ? `All digits: ${row.full}` : "";
    find("now-numbers").textContent = row.put && !secret && row.put !== row.value ? `= ${row.put}` : "";
    find("now-math").hidden = row.rule === "";
    if (row.rule !== "") find("now-math").firstElementChild.replaceChildren(formula(row.rule));
    const drawn = secret ? [] : matrix(row);
    find("now-matrix").replaceChildren(...drawn);
    find("now-value").classList.toggle("unseen", drawn.some((each) => each.matches("table"))); // it stands below, in rows
    factors(row, secret);
    grouped();
    const [forward, backward, second, kept, all] = row.cost.split(" ").map(Number);
    const about = all ? "" : "at least ", n = (count) => count.toLocaleString("en");
    find("now-cost").textContent = `So far ${about}${n(forward)} multiply–adds forward, ${n(backward)} backward`
      + (second ? `, ${n(second)} in the second backward pass` : "") + `; ${n(kept)} bytes kept for rules to come.`;
    const plane = document.querySelector(".plane");
    if (plane) plane.hidden = !(row.pass === "second" && row.role === "cotangent" && now > rows.length - 3) || secret;
  }

  // A part of a formula, made of its own parts.
  function formula(place) {
    const [name, ...inside] = parts[place];
    const element = document.createElementNS(find("now-math").firstElementChild.namespaceURI, name);
    if (name === "mspace") element.setAttribute("width", inside[0]);
    else element.append(...inside.map((each) => (typeof each === "number" ? formula(each) : each)));
    return element;
  }

  function factors(row, secret) {
    const list = find("now-factors"), from = sourcesOf(row);
    list.replaceChildren();
    // A local derivative is about to be multiplied by the cotangent that came in; the next step is the product.
    const product = row.role === "local" ? rows[now + 1] : null;
    const incoming = product ? sourcesOf(product).slice(0, 1) : [];
    [...incoming, ...from].forEach((source, k) => {
      const i = k - incoming.length;
      const title = document.createElement("dt"), value = document.createElement("dd");
      const jump = document.createElement("button");
      jump.type = "button";
      jump.textContent = `step ${source.step}`;
      jump.setAttribute("aria-label", `Go to step ${source.step}`);
      jump.dataset.jump = source.step;
      title.append(`${i < 0 ? "incoming cotangent" : roleOf(source, row, i)} ${source.quantity} `, jump);
      value.textContent = source.value;
      list.append(title, value);
    });
    if (from.length || incoming.length) {
      const title = document.createElement("dt"), value = document.createElement("dd");
      title.className = value.className = "result";
      title.textContent = RESULTS[row.role] || "value";
      value.textContent = told(row);
      list.append(title, value);
    }
  }

  // The other steps of the same operation, where it is shown as one.
  function together() {
    if (find("pace").value !== "operation") return [];
    return rows.filter((row, i) => i < now && row.group === rows[now].group);
  }

  function grouped() {
    const items = together().map((row) => {
      const item = document.createElement("li");
      item.textContent = [row.quantity, ...new Set([row.expression, row.value])].join(" = ");
      return item;
    });
    find("now-group").replaceChildren(...items);
  }

  // A small matrix as one, a large one as a heat map.
  function matrix(row) {
    if (row.heat) return [heat(row)];
    const text = row.value;
    if (!/^\[\[.*\]\]$/.test(text) || /^\[\[\[/.test(text)) return [];
    const table = document.createElement("table");
    table.className = "matrix";
    table.setAttribute("aria-label", `${row.quantity} as a matrix`);
    for (const line of text.slice(2, -2).split("], [")) {
      const out = table.insertRow();
      for (const entry of line.split(", ")) out.insertCell().textContent = entry;
    }
    return [table];
  }

  // Cells that are no finite numbers have a pattern instead of a colour.
  const ODD = [["NaN", "chequered", (x, y) => (x ^ y) & 2], ["∞", "upright stripes", (x) => x & 2], ["−∞", "level stripes", (x, y) => y & 2]];
  const LEVELS = 252; // levels above it are these

  function heat(row) {
    const [height, width, down, across, low, high, ...rest] = row.heat.split(" ");
    const levels = Uint8Array.from(atob(rest.pop()), (letter) => letter.charCodeAt(0));
    const odd = ODD.flatMap(([name, pattern], k) => (rest[k] === "0" ? [] : `${rest[k]} ${name} (${pattern})`));
    const box = document.createElement("figure"), canvas = document.createElement("canvas"), said = document.createElement("figcaption");
    const side = odd.length ? 8 : 1; // of a cell: a pattern needs room
    box.className = "heat";
    [canvas.width, canvas.height] = [width * side, height * side];
    canvas.style.width = `${16 * Math.min(1, width / height)}rem`;
    canvas.setAttribute("role", "img");
    const paint = canvas.getContext("2d"), image = paint.createImageData(canvas.width, canvas.height);
    for (let i = 0, y = 0; y < canvas.height; y++) {
      for (let x = 0; x < canvas.width; x++, i++) {
        const level = levels[Math.floor(y / side) * width + Math.floor(x / side)];
        const [, , dark] = ODD[level - LEVELS - 1] || [];
        const shade = dark ? Array(3).fill(dark(x, y) ? 30 : 235) : colour(level / LEVELS, Number(low), Number(high));
        image.data.set([...shade, 255], 4 * i);
      }
    }
    paint.putImageData(image, 0, 0);
    const finite = low === "nan" ? [] : low === high ? [`all ${low}`] : [`blue ${low} … orange ${high}`];
    const blocks = down * across > 1 ? [`each cell the mean of ${down} × ${across} entries`] : [];
    said.textContent = [...finite, ...odd, ...blocks].join(", ");
    canvas.setAttribute("aria-label", `${row.quantity} as a heat map: ${[...finite, ...odd].join(", ")}`);
    box.append(canvas, said);
    return box;
  }

  // White at zero where there are both signs, else in the middle.
  function colour(level, low, high) {
    const value = low * (1 - level) + high * level, both = low < 0 && high > 0;
    const part = low === high ? 0 : both ? value / Math.max(-low, high) : 2 * level - 1;
    const end = part < 0 ? [0, 90, 181] : [220, 100, 0], size = Math.abs(part);
    return end.map((c) => Math.round(250 + size * (c - 250)));
  }

  // The picture: slots, and what of it is past and future

  function fill() {
    const row = rows[now], secret = asks(now), others = [];
    for (const slot of picture.slots.values()) {
      let k = slot.fills.length - 1;
      while (k >= 0 && slot.fills[k].i > now) k--;
      const written = slot.fills[k], hidden = written && secret && written.i === now;
      slot.lines.forEach((line, i) => {
        const text = !written ? "" : hidden ? (i ? "" : "?") : written.lines[i] || "";
        if (line.textContent !== text) line.textContent = text;
        if (line.hasAttribute("textLength")) line.removeAttribute("textLength");
        if (written && written.lines !== written.recorded && text.length > slot.widest[i]) others.push([line, slot.frame]);
      });
      const by = written ? rows[written.i] : {};
      slot.frame.classList.toggle("filled", Boolean(written));
      slot.frame.classList.toggle("adding", Boolean(written) && written.lines.some((line) => line.includes("+= ")));
      slot.frame.dataset.pass = by.pass || "";
      slot.frame.classList.toggle("fresh", Boolean(written) && (written.i === now || (by.group === row.group && find("pace").value === "operation")));
    }
    const lengths = others.map(([line]) => line.getComputedTextLength()); // all at once: the first makes the layout
    others.forEach(([line, frame], i) => {
      const room = frame.width.baseVal.value - 4;
      if (lengths[i] > room) line.setAttribute("textLength", String(room));
    });
    for (const [key, node] of picture.nodes) {
      const begins = first.get(key);
      node.classList.toggle("future", begins === undefined ? false : begins > now);
      node.classList.toggle("past", (last.has(key) ? last.get(key) : Infinity) < now);
    }
    const [from, to] = described < 0 ? [0, rows.length - 1] : [Math.min(described, now), Math.max(described, now)];
    const changed = new Set(rows.slice(from, to + 1).flatMap(({ node, also }) => [node, ...(also || "").split(" ")]));
    for (const [key, node] of picture.nodes) {
      if (described < 0 || changed.has(key)) node.setAttribute("aria-description", tipOf(key).join(", "));
    }
    described = now;
    for (const edge of picture.edges) {
      const ends = [edge.dataset.from, edge.dataset.to].map((key) => picture.nodes.get(key));
      edge.classList.toggle("future", ends.some((node) => node && node.classList.contains("future")));
    }
    const step = Number(row.step), kept = new Set();
    for (const each of keptRows) {
      const [begin, end] = each.kept.split(" ").map(Number);
      if (begin <= step && step < end) kept.add(each.node);
    }
    for (const [key, node] of picture.nodes) node.classList.toggle("kept", kept.has(key));
  }

  function light(row) {
    if (!picture.view) return;
    for (const part of picture.view.querySelectorAll(".lit, .near, .read")) part.classList.remove("lit", "near", "back", "read");
    find("picture").dataset.pass = row.pass;
    for (const each of together()) lightOne(each, true);
    lightOne(row, false);
    if (row.node) follow(row.node);
  }

  function lightOne(row, beside) {
    const { node: key, other, role } = row;
    if (!key) return;
    const back = isBack(row);
    const on = (part, ...more) => {
      if (!part) return;
      part.classList.add("lit", ...more);
      part.classList.toggle("back", back);
    };
    on(picture.nodes.get(key), ...(beside ? ["near"] : []));
    if (!beside) picture.nodes.get(key).classList.remove("near");
    if (role === "local" || role === "product") {
      const [operation, input] = role === "local" ? [key, other] : [other, key];
      if (other !== key) on(picture.nodes.get(other), "near"); // (both may be in one box)
      for (const edge of [...picture.into(operation), ...picture.outOf(operation)]) {
        if (key[0] === "p" || key[0] === "d" || edge.dataset.from === input || edge.dataset.from === operation) on(edge);
      }
    } else if (role === "sum") {
      for (const edge of key[0] === "d" ? picture.into(key) : picture.outOf(key)) on(edge);
    } else if (role === "value") {
      for (const edge of picture.into(key)) {
        on(edge);
        on(picture.nodes.get(edge.dataset.from), "near");
        for (const earlier of picture.into(edge.dataset.from)) on(earlier);
      }
    }
    if (role === "local") { // the values that its rule reads
      for (const source of sourcesOf(row)) {
        const node = picture.nodes.get(source.node);
        if (node) node.classList.add("read");
      }
    }
  }

  // The lit node comes into the middle of its view, or the middle of all lit nodes where these fit into it.
  function follow(key) {
    const { view, nodes } = picture, node = nodes.get(key);
    if (!node) return;
    const box = view.getBoundingClientRect(), at = node.getBoundingClientRect();
    const lit = [...view.querySelectorAll(".node.lit")].map((each) => each.getBoundingClientRect());
    const middle = (low, high, room) => {
      const start = Math.min(...lit.map((each) => each[low])), end = Math.max(...lit.map((each) => each[high]));
      return end - start <= room - 16 ? (start + end) / 2 : (at[low] + at[high]) / 2;
    };
    const left = middle("left", "right", view.clientWidth) - box.left - box.width / 2;
    const top = middle("top", "bottom", view.clientHeight) - box.top - box.height / 2;
    const far = Math.abs(left) > view.clientWidth / 2 || Math.abs(top) > view.clientHeight / 2; // not a neighbour's step
    const behavior = far || calm.matches || timer !== null ? "instant" : "smooth";
    view.scrollTo({ left: view.scrollLeft + left, top: view.scrollTop + top, behavior });
  }

  function fit(on) {
    picture.view.classList.toggle("fit", on);
    find("fit").checked = on;
    if (now < 0) return;
    light(rows[now]);
    reveal(rows[now]);
  }

  // What a node is, and what is known of it so far

  function tipOf(key) {
    const lines = [...(picture.tips.get(key) || [])];
    for (const slot of [`${key} value`, `${key} grad`].map((each) => picture.slots.get(each)).filter(Boolean)) {
      const written = slot.fills.filter(({ i }) => i <= now && !(i === now && asks(now))).at(-1);
      const what = slot.name === "grad" ? "gradient" : "value";
      lines.push(written ? `${rows[written.i].quantity} = ${rows[written.i].full || rows[written.i].value}` : `${what}: not yet`);
    }
    return lines;
  }

  function openTip(key) {
    const tip = find("tip"), node = picture.nodes.get(key);
    tip.textContent = tipOf(key).join("\n");
    tip.hidden = false;
    const at = node.getBoundingClientRect(), box = tip.getBoundingClientRect();
    const below = at.bottom + 6 + box.height < innerHeight ? at.bottom + 6 : Math.max(at.top - box.height - 6, 4);
    tip.style.left = `${Math.max(Math.min(at.left, innerWidth - box.width - 8), 4) + scrollX}px`;
    tip.style.top = `${below + scrollY}px`;
    tip.dataset.key = key;
  }

  const closeTip = () => { find("tip").hidden = true; };

  // To the step of a node: of its value, then of its gradient, and round.
  function visit(key) {
    const places = [...new Set([`${key} value`, `${key} grad`].flatMap((each) => (picture.slots.get(each) || { fills: [] }).fills.slice(-1).map(({ i }) => i)))];
    if (!places.length && first.has(key)) places.push(first.get(key), last.get(key));
    if (!places.length) return;
    pause();
    go(places[(places.indexOf(now) + 1) % places.length]);
    openTip(key);
  }

  // Predicting

  function ask() {
    const box = find("predict-box"), open = asks(now);
    if (!predicting) { box.hidden = true; return; }
    find("score").textContent = score.asked ? `${score.right} of ${score.asked} right` : "";
    box.hidden = !open;
    find("verdict").hidden = true;
    if (!open) return;
    const row = rows[now], [index] = row.ask.split("|");
    find("question").textContent = `What is ${row.quantity}${index}? ${places()} significant digits are enough.`;
    find("guess").value = "";
    find("verdict").textContent = "";
    if (timer !== null) pause();
    find("guess").focus({ preventScroll: true });
  }

  const places = () => Math.min(digits, 3);

  // What an answer may mean, each number once: a comma stands before decimals or between thousands.
  function numbersIn(text) {
    const plain = text.trim().replace(/[−–]/g, "-").toLowerCase();
    const words = { nan: NaN, inf: Infinity, "-inf": -Infinity, "∞": Infinity, "-∞": -Infinity };
    if (plain in words) return [words[plain]];
    const [above, below, ...more] = plain.split("/").map(readings);
    if (more.length) return [];
    return [...new Set(below ? above.flatMap((a) => below.map((b) => a / b)) : above)].filter((x) => !Number.isNaN(x));
  }

  function readings(text) {
    const found = /^([-+]?)([\d.,]+)(e[-+]?\d+)?$/.exec(text);
    if (!found) return [];
    const [, sign, figures, power = ""] = found, plain = [];
    if (/^(\d+\.?\d*|\.\d+)$/.test(figures)) plain.push(figures);
    if (/^(\d+,\d*|,\d+|\d{1,3}(\.\d{3})+,\d*)$/.test(figures)) plain.push(figures.replace(/\./g, "").replace(",", "."));
    if (/^[1-9]\d{0,2}(,\d{3})+(\.\d*)?$/.test(figures)) plain.push(figures.replace(/,/g, ""));
    return plain.map((each) => Number(sign + each + power));
  }

  // Right if it is within half a unit of the last of the digits asked for.
  function right(given, value) {
    if (!Number.isFinite(value)) return Object.is(given, value);
    if (value === 0) return Math.abs(given) < 1e-12;
    return Math.abs(given - value) <= 0.5000001 * 10 ** (Math.floor(Math.log10(Math.abs(value))) + 1 - places());
  }

  function check() {
    const row = rows[now], answer = row.ask.split("|")[1], given = numbersIn(find("guess").value);
    if (!given.length) {
      say("Please type a number, like -0.25 or 1/3.");
      find("guess").select();
      return;
    }
    if (given.some((each) => right(each, Number(answer.replace("inf", "Infinity"))))) {
      conclude(!tried, tried ? "Now it is right." : "Right.");
    } else {
      const hint = row.put ? `, with numbers ${row.put}` : "", read = given.length > 1 ? ` (${given.join(" or ")})` : "";
      say(`Not ${find("guess").value.trim()}${read}. The rule: ${row.quantity} = ${row.expression}${hint}. Try again, or press Show.`);
      tried = true;
      find("guess").select();
    }
  }

  function say(text) {
    find("verdict").textContent = text;
    find("verdict").hidden = false;
  }

  function conclude(good, word) {
    const row = rows[now], held = find("predict-box").contains(document.activeElement);
    answered.add(now);
    score.asked += 1;
    score.right += good ? 1 : 0;
    show(false);
    const numbers = row.put ? ` = ${row.put}` : "";
    say(`${word} ${row.quantity} = ${row.expression}${numbers} = ${row.value}.`);
    if (held) find("next").focus({ preventScroll: true });
  }

  function predict(on) {
    predicting = on;
    find("predict").setAttribute("aria-pressed", String(on));
    if (on && now >= 0) answered.add(now); // what is shown is no question any more
    find("score").textContent = "";
    show(false);
    if (on) say("From the next step on, say the number before it is shown.");
  }

  // Playing

  function pause() {
    if (timer === null) return;
    clearInterval(timer);
    timer = null;
    label(false);
    if (now >= 0) find("status").textContent = spoken(rows[now]);
    remember();
  }

  function play() {
    if (now === rows.length - 1) go(0, false);
    timer = setInterval(() => {
      go(following(), false);
      if (now === rows.length - 1) pause();
    }, Number(find("speed").value));
    label(true);
  }

  function label(playing) {
    find("play").classList.toggle("playing", playing);
    find("play").querySelector(".word").textContent = playing ? "Pause" : "Play";
    find("play").title = playing ? "Pause (space)" : "Play all steps (space)";
  }

  // The address follows, when it comes to rest; a frame in a notebook has none of its own.
  let later = null;
  function remember() {
    clearTimeout(later);
    later = setTimeout(() => {
      if (timer !== null || location.protocol === "about:") return;
      try { history.replaceState(null, "", `#step=${rows[now].step}`); } catch { /* not allowed here */ }
    }, 250);
  }

  // Moving: single steps, or the last step of an operation

  const groupOf = (place) => rows[place].group;

  function following() {
    if (find("pace").value !== "operation") return now + 1;
    let end = Math.min(now + 1, rows.length - 1);
    const question = (place) => asks(place) && rows[place].role !== "local";
    while (!question(end) && end + 1 < rows.length && groupOf(end + 1) === groupOf(end)) end++;
    return end;
  }

  function preceding() {
    if (find("pace").value !== "operation") return now - 1;
    let end = now;
    while (end >= 0 && groupOf(end) === groupOf(now)) end--;
    return Math.max(end, 0);
  }

  const moves = {
    first: () => go(0),
    previous: () => go(preceding()),
    next: () => (asks(now) ? conclude(false, "Shown.") : go(following())),
    last: () => go(rows.length - 1),
    up: () => go(now - 1),
    down: () => (asks(now) ? conclude(false, "Shown.") : go(now + 1)),
  };

  // Listening

  for (const id of ["first", "previous", "next", "last"]) {
    find(id).addEventListener("click", () => { pause(); moves[id](); });
  }
  find("play").addEventListener("click", () => (timer === null ? play() : pause()));
  find("speed").addEventListener("change", () => { if (timer !== null) { pause(); play(); } });
  find("pace").addEventListener("change", () => { if (now >= 0) show(true); });
  find("predict").addEventListener("click", () => { pause(); predict(!predicting); });
  find("check").addEventListener("click", check);
  find("show").addEventListener("click", () => { if (asks(now)) conclude(false, "Shown."); });
  find("guess").addEventListener("keydown", (event) => { if (event.key === "Enter") { event.preventDefault(); check(); } });
  find("seek").addEventListener("input", (event) => { pause(); go(Number(event.target.value) - 1); });
  find("now-factors").addEventListener("click", (event) => {
    const step = event.target.dataset.jump;
    if (step === undefined) return;
    pause();
    go(placeOf.get(step));
    find("seek").focus({ preventScroll: true }); // the button that was pressed is gone
  });
  find("rows").addEventListener("click", (event) => {
    const row = event.target.closest("tr");
    if (row && String(getSelection()) === "") { pause(); go(row.sectionRowIndex); }
  });

  if (picture.view) {
    const order = [...picture.nodes.values()];
    const nodeAt = (target) => (target.closest ? target.closest("[data-node]") : null);
    picture.view.addEventListener("click", (event) => {
      const node = nodeAt(event.target);
      if (node) visit(node.dataset.node);
    });
    picture.view.addEventListener("pointerover", (event) => {
      const node = nodeAt(event.target);
      if (node && event.pointerType === "mouse") openTip(node.dataset.node);
    });
    picture.view.addEventListener("pointerout", (event) => { if (event.pointerType === "mouse") closeTip(); });
    picture.view.addEventListener("focusin", (event) => {
      const node = nodeAt(event.target);
      if (!node) return;
      for (const each of order) each.setAttribute("tabindex", each === node ? "0" : "-1");
      if (node.matches(":focus-visible")) openTip(node.dataset.node);
    });
    picture.view.addEventListener("focusout", closeTip);
    picture.view.addEventListener("keydown", (event) => {
      const node = nodeAt(event.target);
      if (!node || event.ctrlKey || event.altKey || event.metaKey) return;
      const move = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      if (move) order[(order.indexOf(node) + move + order.length) % order.length].focus();
      else if (event.key === "Enter" || event.key === " ") visit(node.dataset.node);
      else return;
      event.preventDefault();
      event.stopPropagation();
    });
    document.addEventListener("pointerdown", (event) => { if (!nodeAt(event.target)) closeTip(); });
  }

  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") closeTip();
    if (event.ctrlKey || event.altKey || event.metaKey || event.shiftKey) return;
    const at = event.target.closest ? event.target : document.body;
    if (at.closest("select, #guess, [type=number]")) return; // they have these keys themselves
    if (event.key === " ") {
      if (at.closest("button, summary, [type=checkbox], [role=button]")) return;
      event.preventDefault();
      if (timer === null) play();
      else pause();
      return;
    }
    if (at.closest("[type=range]")) return;
    const id = { ArrowRight: "next", ArrowLeft: "previous", Home: "first", End: "last", ArrowUp: "up", ArrowDown: "down" }[event.key];
    if (!id || at.matches(".scrolled") || (/up|down/.test(id) && at.closest(".view, .now"))) return; // these scroll by them
    event.preventDefault();
    pause();
    moves[id]();
  });
  addEventListener("hashchange", start);
  addEventListener("resize", () => {
    closeTip();
    if (now < 0) return;
    light(rows[now]);
    reveal(rows[now]);
    scrollables();
  });
  for (const each of document.querySelectorAll("details")) each.addEventListener("toggle", scrollables);
  if (find("fit")) {
    find("fit").addEventListener("change", (event) => fit(event.target.checked));
    const drawn = picture.view.querySelector("svg"), [width, height] = [drawn.width, drawn.height].map((side) => side.baseVal.value);
    const bands = picture.view.querySelector(".pass2") !== null; // all three are to be seen at once, if they are legible
    document.body.classList.toggle("bands", bands);
    const room = parseFloat(getComputedStyle(picture.view).maxHeight);
    fit(Math.min(picture.view.clientWidth / width, room / height) > (bands ? 0.45 : 0.62));
  }

  function start() {
    const wanted = /^#step=(.*)$/.exec(location.hash), n = wanted ? Number(wanted[1]) : NaN;
    if (wanted && placeOf.has(wanted[1])) go(placeOf.get(wanted[1]));
    else if (wanted) {
      go(n > rows.length ? rows.length - 1 : 0);
      say(`There is no step ${wanted[1]}: the steps are 1 to ${rows.length}. This is step ${rows[now].step}.`);
    } else if (now < 0) go(0);
  }
  if (rows.length) start();
})();
