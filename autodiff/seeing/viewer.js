// The page of a graph: opens and closes groups, moves and zooms. Texts are set as text, never as markup.
"use strict";
(() => {
  const find = (id) => document.getElementById(id);
  const { groups, nodes, layouts, tensors } = JSON.parse(find("data").textContent);
  const canvas = find("canvas"), world = find("world"), map = find("map");
  const embedded = window.parent !== window;
  const BAR = 24, PAD = 10, MOST = 1500;
  const opener = new Map(nodes.flatMap((node, i) => (node.group === null ? [] : [[node.group, i]])));
  const texts = nodes.map((node) =>
    [node.name, ...node.lines.map(([, text]) => text), ...node.facts.map(([, text]) => text)].join("\n").toLowerCase());
  let open, chosen = -1, focused = -1, plan, view = { x: 0, y: 0, k: 1 }, fitted = null;

  const make = (name, attributes, parent, text) => {
    const element = document.createElementNS(canvas.namespaceURI, name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    if (text !== undefined) element.textContent = text;
    if (parent) parent.append(element);
    return element;
  };
  const html = (name, text, parent) => {
    const element = document.createElement(name);
    element.textContent = text;
    if (parent) parent.append(element);
    return element;
  };

  // Making room: along each axis, the stretch of a box that is opened grows, and all behind it moves on.

  function stretched(boxes, axis) {
    const parts = [];
    const at = (v) => parts.reduce((sum, [low, high, more]) =>
      sum + more * Math.min(Math.max((v - low) / (high - low), 0), 1), v);
    for (const { box, size } of [...boxes].sort((a, b) => b.size[axis] - a.size[axis])) {
      const low = box[axis] - box[axis + 2] / 2, high = box[axis] + box[axis + 2] / 2;
      const missing = size[axis] - (at(high) - at(low));
      if (missing > 0) parts.push([low, high, missing]);
    }
    return at;
  }

  function planned(index) {
    const group = groups[index], { size, boxes, edges } = layouts[group.layout], first = group.ins.length;
    const inner = group.nodes.map((node) => (open.has(node) ? planned(nodes[node].group) : null));
    const opened = inner.flatMap((sub, i) =>
      (sub ? [{ box: boxes[first + i], size: [Math.max(sub.size[0], 8 * nodes[group.nodes[i]].name.length + 40) + 2 * PAD, sub.size[1] + BAR + 2 * PAD] }] : []));
    const x = stretched(opened, 0), y = stretched(opened, 1);
    let k = 0;
    const placed = boxes.map(([cx, cy, w, h], i) => {
      if (!inner[i - first]) return [x(cx), y(cy), w, h];
      return [(x(cx - w / 2) + x(cx + w / 2)) / 2, (y(cy - h / 2) + y(cy + h / 2)) / 2, ...opened[k++].size];
    });
    const end = (i, px, py) => {
      const [cx, cy, w, h] = boxes[i], [nx, ny, nw, nh] = placed[i];
      const inside = (v) => Math.min(Math.max(v, -0.5), 0.5);
      return [nx + inside((px - cx) / w) * nw, ny + inside((py - cy) / h) * nh];
    };
    const bend = (points, i, next, to) => { // an end keeps its direction
      const [dx, dy] = [to[0] - points[i][0], to[1] - points[i][1]];
      points[i] = to;
      points[next] = [points[next][0] + dx, points[next][1] + dy];
    };
    const lines = edges.map(([from, to, ...points]) => {
      const moved = [];
      for (let i = 0; i < points.length; i += 2) moved.push([x(points[i]), y(points[i + 1])]);
      bend(moved, 0, 1, end(from, points[0], points[1]));
      bend(moved, moved.length - 1, moved.length - 2, end(to, ...points.slice(-2)));
      return moved;
    });
    return { size: [x(size[0]), y(size[1])], placed, lines, inner, group };
  }

  // Drawing

  function draw() {
    plan = planned(0);
    const top = make("g", {}), land = document.createDocumentFragment();
    places.clear();
    drawGroup(plan, top, 0, 0, land);
    world.replaceChildren(top);
    find("land").replaceChildren(land);
    if (chosen >= 0 && places.has(chosen)) places.get(chosen).element.classList.add("chosen");
    if (!places.has(focused)) focused = places.keys().next().value ?? -1;
    if (places.has(focused)) places.get(focused).element.setAttribute("tabindex", "0");
  }

  const places = new Map();

  function drawGroup({ placed, lines, inner, group }, parent, left, top, land) {
    for (const points of lines) {
      const [[x, y], ...rest] = points.map(([a, b]) => [left + a, top + b]);
      make("path", { class: "edge", d: `M${x} ${y}C${rest.map((p) => p.join(" ")).join(" ")}` }, parent);
    }
    placed.forEach(([x, y, w, h], i) => {
      const place = { left: left + x - w / 2, top: top + y - h / 2, w, h }, k = i - group.ins.length;
      if (k < 0 || k >= group.nodes.length) {
        const text = k < 0 ? group.ins[i] : group.outs[k - group.nodes.length];
        const port = make("g", { class: "port" }, parent);
        make("rect", { x: place.left, y: place.top, width: w, height: h, rx: h / 2 }, port);
        make("text", { x: left + x, y: top + y + 3.5 }, port, text);
        return;
      }
      const element = inner[k] ? drawFrame(group.nodes[k], place, parent) : drawNode(group.nodes[k], place, parent);
      places.set(group.nodes[k], { ...place, h: inner[k] ? BAR : h, closed: !inner[k], element });
      const rect = { x: place.left, y: place.top, width: w, height: h };
      make("rect", inner[k] ? { ...rect, class: "frame" } : rect, land);
      if (inner[k]) drawGroup(inner[k], parent, place.left + (w - inner[k].size[0]) / 2, place.top + BAR + PAD, land);
    });
  }

  function button(index, kind, parent, expanded) { // called by the texts in it, of which a part may be out of sight
    const element = make("g", { class: kind, role: "button", tabindex: "-1", "data-node": index }, parent);
    if (nodes[index].group !== null) element.setAttribute("aria-expanded", expanded);
    return element;
  }

  function drawFrame(index, { left, top, w, h }, parent) {
    const kind = groups[nodes[index].group].kind;
    make("rect", { class: `frame ${kind}`, x: left, y: top, width: w, height: h, rx: 6 }, parent);
    const bar = button(index, "bar", parent, true);
    make("rect", { x: left, y: top, width: w, height: BAR - 4, rx: 6 }, bar);
    make("text", { x: left + 8, y: top + 14, "aria-hidden": true }, bar, "−");
    make("text", { x: left + 20, y: top + 14 }, bar, nodes[index].name);
    return bar;
  }

  function drawNode(index, { left, top, w, h }, parent) {
    const node = nodes[index], group = node.group === null ? null : groups[node.group];
    const element = button(index, `node ${node.kind}`, parent, false);
    if (group && group.kind === "repeat") {
      for (const d of [6, 3]) make("rect", { x: left + d, y: top + d, width: w, height: h, rx: 3 }, element);
    }
    make("rect", { x: left, y: top, width: w, height: h, rx: { operation: Math.min(h / 2, 14), result: 8, output: 8, gradient: 8 }[node.kind] || 3 }, element);
    if (node.kind === "output") make("rect", { x: left + 3, y: top + 3, width: w - 6, height: h - 6, rx: 6 }, element);
    let y = top + 6;
    for (const [style, text] of node.lines) {
      const size = { title: 13, note: 10 }[style] || 11;
      y += size * 1.3;
      make("text", { class: style, x: left + w / 2, y: y - size * 0.3 }, element, `${text} `); // what is read aloud is apart, as what is seen
    }
    if (group) make("text", { class: "sign", x: left + w - 8, y: top + 13, "aria-hidden": true }, element, "+");
    return element;
  }

  // Moving and zooming

  function room() {
    return { w: canvas.clientWidth || 1, h: canvas.clientHeight || 1 };
  }

  function move(next, smooth = false) {
    const { w, h } = room(), k = Math.min(Math.max(next.k, 0.02), 4);
    const [wide, high] = plan.size, keep = 40;
    fitted = null;
    view = {
      k,
      x: Math.min(Math.max(next.x, keep - wide * k), w - keep),
      y: Math.min(Math.max(next.y, keep - high * k), h - keep),
    };
    world.classList.toggle("moved", smooth);
    world.setAttribute("transform", `translate(${view.x} ${view.y}) scale(${k})`);
    const most = Math.min(150, w / 4), scale = Math.min(most / wide, most / high), rect = find("window");
    map.setAttribute("width", wide * scale + 8);
    map.setAttribute("height", high * scale + 8);
    map.setAttribute("viewBox", `${-4 / scale} ${-4 / scale} ${wide + 8 / scale} ${high + 8 / scale}`);
    const a = { x: Math.max(-view.x / k, 0), y: Math.max(-view.y / k, 0) };
    rect.setAttribute("x", a.x);
    rect.setAttribute("y", a.y);
    rect.setAttribute("width", Math.max(Math.min((w - view.x) / k, wide) - a.x, 0));
    rect.setAttribute("height", Math.max(Math.min((h - view.y) / k, high) - a.y, 0));
    rect.setAttribute("stroke-width", 2 / scale);
    const whole = view.x >= 0 && view.y >= 0 && view.x + wide * k <= w + 1 && view.y + high * k <= h + 1;
    if (whole && document.activeElement === map) canvas.focus();
    map.toggleAttribute("hidden", whole);
  }

  function zoom(factor, x = room().w / 2, y = room().h / 2, smooth = true) {
    const k = Math.min(Math.max(view.k * factor, 0.02), 4), f = k / view.k;
    move({ k, x: x - (x - view.x) * f, y: y - (y - view.y) * f }, smooth);
  }

  // All of it; at first, only as small as can be read, from its first node on.
  function fit(least = 0) {
    const { w, h } = room(), [wide, high] = plan.size;
    const k = Math.min(Math.max(Math.min((w - 24) / wide, (h - 24) / high), least), 1.25);
    const { left, top, w: across, h: down } = [...places.values()].find(({ closed }) => closed);
    const start = (size, all, from, length) =>
      (size * k <= all ? (all - size * k) / 2 : (from + length) * k + 12 <= all ? 12 : all / 2 - (from + length / 2) * k);
    move({ k, x: start(wide, w, left, across), y: start(high, h, top, down) });
    fitted = least;
  }

  function show(index, smooth = true) {
    const place = places.get(index), { w, h } = room(), k = view.k;
    if (!place) return;
    const at = { l: place.left * k + view.x, t: place.top * k + view.y };
    if (at.l >= 8 && at.t >= 8 && at.l + place.w * k <= w - 8 && at.t + place.h * k <= h - 8) return;
    move({ k, x: w / 2 - (place.left + place.w / 2) * k, y: h / 2 - (place.top + place.h / 2) * k }, smooth);
  }

  // Opening and closing

  function toggle(index) {
    const before = places.get(index), x = before.left * view.k + view.x, y = before.top * view.k + view.y;
    if (!open.delete(index)) open.add(index);
    focused = index;
    draw();
    const after = places.get(index); // stays where it was
    move({ k: view.k, x: x - after.left * view.k, y: y - after.top * view.k });
    if (!open.has(index)) show(index);
    remember();
    find("status").textContent = `${nodes[index].name} ${open.has(index) ? "opened" : "closed"}`;
  }

  function reveal(index) {
    for (let up = opener.get(nodes[index].around); up !== undefined; up = opener.get(nodes[up].around)) open.add(up);
    draw();
  }

  function choose(index, speak = true) {
    chosen = index;
    for (const { element } of places.values()) element.classList.remove("chosen");
    find("panel").hidden = index < 0;
    if (index >= 0) {
      if (places.has(index)) places.get(index).element.classList.add("chosen");
      describe(nodes[index]);
      if (speak) find("status").textContent = nodes[index].name;
    }
    remember();
    move(view);
  }

  function act(index) {
    if (nodes[index].kind === "gap") return;
    if (nodes[index].group !== null) toggle(index);
    choose(index, nodes[index].group === null);
    focus(index);
  }

  function focus(index, visibly = true) {
    if (!places.has(index)) return;
    if (places.has(focused)) places.get(focused).element.setAttribute("tabindex", "-1");
    focused = index;
    const { element } = places.get(index);
    element.setAttribute("tabindex", "0");
    element.focus({ preventScroll: true });
    if (visibly) show(index);
  }

  // The panel

  function describe(node) {
    find("panel-title").textContent = node.name;
    find("facts").replaceChildren(...pairs(node.facts));
    find("tensors").replaceChildren(...node.tensors.map((i) => section(tensors[i])));
    find("panel").scrollTop = 0;
  }

  function pairs(facts, rounded = false) { // to four figures, the others in the tooltip
    return facts.flatMap(([key, value]) => {
      const short = rounded && /^-?\d.*[.e]/.test(value) ? String(Number(Number(value).toPrecision(4))) : value;
      const item = html("dd", short);
      if (short !== value) item.title = value;
      return [html("dt", key), item];
    });
  }

  function section(tensor) {
    const part = html("section", "");
    html("h3", tensor.name, part);
    numbers(tensor, part);
    if (tensor.gradient) {
      const back = html("div", "", part);
      back.className = "back";
      html("h4", "gradient", back);
      numbers(tensor.gradient, back);
    }
    return part;
  }

  function numbers(array, part) {
    const keys = ["shape", "dtype", "min", "max", "mean", "std", "true", "NaN", "infinite"];
    html("dl", "", part).append(...pairs(keys.filter((key) => key in array).map((key) => [key, array[key]]), true));
    if (array.values) html("pre", array.values, part);
    if (array.digits) {
      const more = html("details", "", part);
      html("summary", "All digits", more);
      html("pre", array.digits, more);
    }
    if (!array.counts) return;
    const figure = html("figure", "", part), most = Math.max(...array.counts);
    const chart = make("svg", {
      viewBox: `0 0 ${array.counts.length} 1`, preserveAspectRatio: "none", role: "img",
      "aria-label": `Histogram: ${array.counts.join(", ")}`,
    }, figure);
    array.counts.forEach((n, i) => make("rect", { x: i + 0.05, y: 1 - n / most, width: 0.9, height: n / most }, chart));
    const caption = html("figcaption", "", figure);
    html("span", array.from, caption);
    html("span", array.every ? `every ${array.every}th value` : "histogram", caption);
    html("span", array.to, caption);
  }

  // The address

  function remember() {
    const parts = [`open=${[...open].join(",")}`, ...(chosen >= 0 ? [`node=${chosen}`] : [])];
    try {
      history.replaceState(null, "", `#${parts.join("&")}`);
    } catch { /* a frame without an address of its own */ }
  }

  function start() {
    const asked = new URLSearchParams(location.hash.slice(1));
    const initial = nodes.flatMap((node, i) => (node.group !== null && groups[node.group].opened ? [i] : []));
    const given = asked.has("open") ? asked.get("open").split(",").filter(Boolean).map(Number) : initial;
    open = new Set(given.filter((i) => nodes[i] && nodes[i].group !== null));
    draw();
    fit(0.75);
    const node = asked.has("node") ? Number(asked.get("node")) : -1;
    if (nodes[node]) {
      reveal(node);
      choose(node, false);
      show(node, false);
    }
  }

  // Searching

  let hits = [], at = 0;

  function search() {
    const words = find("search").value.toLowerCase().split(/\s+(?![^(]*\))/).filter(Boolean);
    hits = words.length ? nodes.flatMap((node, i) => (node.kind !== "gap" && words.every((word) => texts[i].includes(word)) ? [i] : [])) : [];
    at = 0;
    find("found").replaceChildren(...hits.slice(0, 50).map((index, i) => {
      const item = html("li", nodes[index].name);
      item.setAttribute("role", "option");
      item.id = `hit-${i}`;
      item.dataset.hit = index;
      html("small", [pathOf(index), ...nodes[index].lines.slice(1).map(([, text]) => text)].filter(Boolean).join(" · "), item);
      return item;
    }));
    if (words.length && !hits.length) html("li", "nothing found", find("found"));
    mark();
    find("found").hidden = !words.length;
    find("search").setAttribute("aria-expanded", String(!find("found").hidden));
    find("status").textContent = words.length ? `${hits.length} found` : "";
  }

  function pathOf(index) {
    const up = opener.get(nodes[index].around);
    return up === undefined ? "" : nodes[up].name;
  }

  function mark() {
    [...find("found").children].forEach((item, i) => item.setAttribute("aria-selected", String(i === at)));
    const item = find("found").children[at];
    if (item) item.scrollIntoView({ block: "nearest" });
    if (hits.length) find("search").setAttribute("aria-activedescendant", `hit-${at}`);
    else find("search").removeAttribute("aria-activedescendant");
  }

  function pick(index) {
    find("found").hidden = true;
    find("search").setAttribute("aria-expanded", "false");
    reveal(index);
    if (view.k < 0.5) move({ ...view, k: 0.9 });
    choose(index);
    focus(index);
  }

  find("search").addEventListener("input", search);
  find("search").addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key], n = Math.min(hits.length, 50);
    if (step && n) at = (at + step + n) % n;
    else if (event.key === "Enter" && n) return pick(hits[at]);
    else if (event.key === "Escape") { find("search").value = ""; return search(); }
    else return undefined;
    event.preventDefault();
    return mark();
  });
  find("found").addEventListener("pointerdown", (event) => {
    const item = event.target.closest("[data-hit]");
    event.preventDefault();
    if (item) pick(Number(item.dataset.hit));
  });
  find("search").addEventListener("blur", () => { find("found").hidden = true; });

  // Listening

  const pointers = new Map();
  let pressed = null, travelled = 0;

  canvas.addEventListener("pointerdown", (event) => {
    pointers.set(event.pointerId, event);
    const target = event.target.closest("[data-node]");
    pressed = target ? Number(target.dataset.node) : null;
    travelled = 0;
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    const before = pointers.get(event.pointerId);
    if (!before) return;
    const box = canvas.getBoundingClientRect();
    travelled += Math.abs(event.clientX - before.clientX) + Math.abs(event.clientY - before.clientY);
    if (pointers.size === 2) {
      const other = [...pointers].find(([id]) => id !== event.pointerId)[1];
      const distance = (a) => Math.hypot(a.clientX - other.clientX, a.clientY - other.clientY) || 1;
      zoom(distance(event) / distance(before), (event.clientX + other.clientX) / 2 - box.left,
        (event.clientY + other.clientY) / 2 - box.top, false);
    }
    if (travelled > 4) {
      const share = 1 / pointers.size;
      canvas.classList.add("dragged");
      move({ k: view.k, x: view.x + (event.clientX - before.clientX) * share, y: view.y + (event.clientY - before.clientY) * share });
    }
    pointers.set(event.pointerId, event);
  });
  for (const type of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(type, (event) => {
      const last = pointers.delete(event.pointerId) && !pointers.size;
      canvas.classList.remove("dragged");
      if (last && type === "pointerup" && travelled <= 4 && pressed !== null) act(pressed);
    });
  }
  canvas.addEventListener("wheel", (event) => {
    if (embedded && !document.hasFocus() && !event.ctrlKey) return; // the page around scrolls on
    event.preventDefault();
    const box = canvas.getBoundingClientRect(), unit = event.deltaMode ? 20 : 1;
    zoom(Math.exp(-event.deltaY * unit * (event.ctrlKey ? 0.01 : 0.002)), event.clientX - box.left, event.clientY - box.top, false);
  }, { passive: false });

  function leap(event) {
    if (event.type === "pointermove" && !event.buttons) return;
    const box = map.getBoundingClientRect(), [, , wide, high] = map.getAttribute("viewBox").split(" ").map(Number);
    const { w, h } = room();
    move({ k: view.k, x: w / 2 - ((event.clientX - box.left) / box.width) * wide * view.k, y: h / 2 - ((event.clientY - box.top) / box.height) * high * view.k });
  }
  function stride([dx, dy]) { // on the map: a quarter of what is seen
    const { w, h } = room(), [wide, high] = plan.size, share = (at, all) => Math.round(100 * Math.min(Math.max(at / all, 0), 1));
    move({ k: view.k, x: view.x - (dx * w) / 4, y: view.y - (dy * h) / 4 }, true);
    find("status").textContent =
      `Centre at ${share((w / 2 - view.x) / view.k, wide)}% from the left, ${share((h / 2 - view.y) / view.k, high)}% from the top`;
  }
  map.addEventListener("pointerdown", leap);
  map.addEventListener("pointermove", leap);

  // The nearest node in a direction; what lies aside counts for more than what lies ahead.
  function neighbour(dx, dy) {
    const here = places.get(focused);
    if (!here) return -1;
    const centre = (p) => [p.left + p.w / 2, p.top + p.h / 2], [x, y] = centre(here);
    let best = -1, least = Infinity;
    for (const [index, place] of places) {
      const [px, py] = centre(place), ahead = (px - x) * dx + (py - y) * dy;
      const aside = Math.abs((px - x) * dy) + Math.abs((py - y) * dx);
      if (index !== focused && ahead > 1 && ahead + 2 * aside < least) {
        best = index;
        least = ahead + 2 * aside;
      }
    }
    return best;
  }

  const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.target.closest("input")) return;
    const arrow = event.target.closest("#canvas, #map") && ARROWS[event.key];
    const node = event.target.closest("[data-node]");
    if (arrow && event.target === map) stride(arrow);
    else if (arrow && event.shiftKey) move({ k: view.k, x: view.x - arrow[0] * 80, y: view.y - arrow[1] * 80 }, true);
    else if (arrow && !node) focus(focused);
    else if (arrow) focus(neighbour(...arrow));
    else if (node && (event.key === "Enter" || event.key === " ")) act(Number(node.dataset.node));
    else if (event.key === "+" || event.key === "=") zoom(1.25);
    else if (event.key === "-") zoom(0.8);
    else if (event.key === "0") fit();
    else if (event.key === "/") find("search").focus();
    else if (event.key === "Escape") { const back = chosen; choose(-1); focus(back); }
    else return;
    event.preventDefault();
  });

  find("in").addEventListener("click", () => zoom(1.25));
  find("out").addEventListener("click", () => zoom(0.8));
  find("fit").addEventListener("click", () => fit());
  find("close-panel").addEventListener("click", () => { const back = chosen; choose(-1); focus(back); });
  find("close-all").addEventListener("click", () => { open.clear(); draw(); fit(0.75); remember(); });
  find("open-all").addEventListener("click", () => {
    let n = places.size;
    const waiting = [0];
    for (const group of waiting) {
      for (const index of groups[group].nodes) {
        const inner = nodes[index].group;
        if (inner === null) continue;
        if (!open.has(index)) n += groups[inner].nodes.length;
        if (n > MOST) continue;
        open.add(index);
        waiting.push(inner);
      }
    }
    draw();
    fit(0.75);
    remember();
  });
  find("legend-button").addEventListener("click", () => {
    find("legend").hidden = !find("legend").hidden;
    find("legend-button").setAttribute("aria-expanded", String(!find("legend").hidden));
  });
  addEventListener("hashchange", start);
  // What was fitted and not moved is fitted again: a frame in a notebook may have no size yet when the page begins.
  addEventListener("resize", () => (fitted === null ? move(view) : fit(fitted)));
  find("legend-button").setAttribute("aria-expanded", String(!find("legend").hidden));
  start();
})();
