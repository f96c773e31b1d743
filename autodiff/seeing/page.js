// The steps of the page. All text is already in the table; this only shows, marks and copies it (never as markup).
"use strict";
(() => {
  const find = (id) => document.getElementById(id);
  const rows = [...find("rows").children];
  const placeOf = new Map(rows.map((row, i) => [row.dataset.step, i]));
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  const views = [...document.querySelectorAll(".view")].map(charted);
  let now = -1;
  let timer = null;

  // Reading

  function charted(view) {
    const nodes = new Map(), into = new Map(), outOf = new Map();
    const put = (map, key, edge) => map.set(key, [...(map.get(key) || []), edge]);
    for (const node of view.querySelectorAll("[data-node]")) nodes.set(node.dataset.node, node);
    for (const edge of view.querySelectorAll("[data-from]")) {
      put(into, edge.dataset.to, edge);
      put(outOf, edge.dataset.from, edge);
    }
    return { view, nodes, into: (key) => into.get(key) || [], outOf: (key) => outOf.get(key) || [] };
  }

  const sourcesOf = (row) => row.dataset.sources.split(" ").filter((step) => placeOf.has(step));
  const textOf = (row, name) => row.querySelector("." + name).textContent;
  const isBack = (row) => "back" in row.dataset;
  const rowOf = (step) => rows[placeOf.get(step)];

  // Showing one step

  function go(place, speak = true) {
    const target = Math.min(Math.max(place, 0), rows.length - 1);
    if (target < 0 || target === now) return;
    const [low, high] = now < 0 ? [0, rows.length - 1] : [Math.min(now, target), Math.max(now, target)];
    for (let i = low; i <= high; i++) rows[i].hidden = i > target;
    now = target;
    const row = rows[now];
    markRows(row);
    describe(row);
    light(row);
    reveal(row);
    const seek = find("seek");
    seek.value = String(now + 1);
    seek.setAttribute("aria-valuetext", `${heading(row)}: ${textOf(row, "quantity")}`);
    for (const id of ["first", "previous"]) find(id).setAttribute("aria-disabled", String(now === 0));
    for (const id of ["next", "last"]) find(id).setAttribute("aria-disabled", String(now === rows.length - 1));
    if (speak) find("status").textContent = spoken(row);
  }

  const heading = (row) => `Step ${row.dataset.step} of ${rows.length}, ${row.dataset.phase}`;

  const spoken = (row) => `${heading(row)}. ${textOf(row, "quantity")}: ${textOf(row, "expression")}, value ${textOf(row, "value")}`;

  function markRows(row) {
    for (const marked of find("rows").querySelectorAll(".now-row, .source")) {
      marked.classList.remove("now-row", "back", "source");
      marked.removeAttribute("aria-current");
    }
    row.classList.add("now-row");
    row.classList.toggle("back", isBack(row));
    row.setAttribute("aria-current", "step");
    for (const step of sourcesOf(row)) rowOf(step).classList.add("source");
  }

  function reveal(row) {
    const box = find("steps"), head = box.querySelector("thead").offsetHeight;
    const top = row.offsetTop, bottom = top + row.offsetHeight;
    if (bottom > box.scrollTop + box.clientHeight) box.scrollTop = bottom - box.clientHeight;
    else if (top - head < box.scrollTop) box.scrollTop = top - head;
  }

  function describe(row) {
    find("now-title").textContent = heading(row);
    find("now-quantity").textContent = textOf(row, "quantity");
    const expression = textOf(row, "expression"), said = row.dataset.role === "given";
    find("now-expression").textContent = expression && (said ? `(${expression})` : `= ${expression}`);
    find("now-value").textContent = `= ${textOf(row, "value")}`;
    find("now-full").textContent = row.dataset.full ? `All digits: ${row.dataset.full}` : "";
    const list = find("now-factors"), from = sourcesOf(row).map(rowOf);
    list.replaceChildren();
    // A local derivative is about to be multiplied by the cotangent that came in; the next step is the product.
    const product = row.dataset.role === "local" ? rows[now + 1] : null;
    const incoming = product ? sourcesOf(product).slice(0, 1).map(rowOf) : [];
    [...incoming, ...from].forEach((source, k) => {
      const i = k - incoming.length;
      const title = document.createElement("dt"), value = document.createElement("dd");
      const jump = document.createElement("button");
      jump.type = "button";
      jump.textContent = `step ${source.dataset.step}`;
      jump.setAttribute("aria-label", `Go to step ${source.dataset.step}`);
      jump.dataset.jump = source.dataset.step;
      title.append(`${i < 0 ? "incoming cotangent" : roleOf(source, row, i)} ${textOf(source, "quantity")} `, jump);
      value.textContent = textOf(source, "value");
      list.append(title, value);
    });
    if (from.length || incoming.length) {
      const title = document.createElement("dt"), value = document.createElement("dd");
      title.className = value.className = "result";
      title.textContent = RESULTS[row.dataset.role] || "value";
      value.textContent = textOf(row, "value");
      list.append(title, value);
    }
  }

  const RESULTS = { local: "local derivative", product: "product", sum: "sum", cotangent: "result", update: "new value" };

  function roleOf(source, row, i) {
    if (row.dataset.role === "product" && i < 2) return i ? "local derivative" : "incoming cotangent";
    if (row.dataset.role === "sum") return "contribution";
    return isBack(source) ? "derivative" : "value of";
  }

  // Lighting the picture

  function light(row) {
    const [shown, key] = row.dataset.node ? row.dataset.node.split(":") : ["", ""];
    if (shown && views[shown].view.hidden) {
      views.forEach((each, i) => { each.view.hidden = i !== Number(shown); });
    }
    for (const { view } of views) {
      for (const part of view.querySelectorAll(".lit")) part.classList.remove("lit", "near", "back");
    }
    if (!shown) return;
    const back = isBack(row), chart = views[shown];
    const on = (part, ...more) => {
      if (!part) return;
      part.classList.add("lit", ...more);
      part.classList.toggle("back", back);
    };
    const other = row.dataset.other.split(":")[1];
    on(chart.nodes.get(key));
    if (row.dataset.role === "local" || row.dataset.role === "product") {
      const [operation, input] = row.dataset.role === "local" ? [key, other] : [other, key];
      on(chart.nodes.get(other), "near");
      for (const edge of chart.into(operation)) if (edge.dataset.from === input) on(edge);
      for (const edge of chart.outOf(operation)) on(edge);
    } else if (row.dataset.role === "sum") {
      for (const edge of chart.outOf(key)) on(edge);
    } else if (row.dataset.role === "value") {
      for (const edge of chart.into(key)) {
        on(edge);
        on(chart.nodes.get(edge.dataset.from), "near");
        for (const earlier of chart.into(edge.dataset.from)) on(earlier);
      }
    }
    follow(chart, key);
  }

  // The lit node comes into the middle of its view, or the middle of all lit nodes where these fit into it.
  function follow({ view, nodes }, key) {
    const node = nodes.get(key);
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
    for (const { view } of views) view.classList.toggle("fit", on);
    find("fit").checked = on;
    if (now < 0) return;
    light(rows[now]);
    reveal(rows[now]);
  }

  // Playing

  function pause() {
    if (timer === null) return;
    clearInterval(timer);
    timer = null;
    label(false);
    if (now >= 0) find("status").textContent = spoken(rows[now]);
  }

  function play() {
    if (now === rows.length - 1) go(0, false);
    timer = setInterval(() => {
      go(now + 1, false);
      if (now === rows.length - 1) pause();
    }, Number(find("speed").value));
    label(true);
  }

  function label(playing) {
    find("play").classList.toggle("playing", playing);
    find("play").querySelector(".word").textContent = playing ? "Pause" : "Play";
    find("play").title = playing ? "Pause" : "Play all steps";
  }

  // Listening

  const moves = {
    first: () => go(0), previous: () => go(now - 1), next: () => go(now + 1), last: () => go(rows.length - 1),
  };
  for (const [id, move] of Object.entries(moves)) find(id).addEventListener("click", () => { pause(); move(); });
  find("play").addEventListener("click", () => (timer === null ? play() : pause()));
  find("speed").addEventListener("change", () => { if (timer !== null) { pause(); play(); } });
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
    if (row && String(getSelection()) === "") { pause(); go(rows.indexOf(row)); }
  });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.shiftKey) return;
    if (event.target.closest && event.target.closest("select, [type=range]")) return; // they have these keys themselves
    const id = { ArrowRight: "next", ArrowLeft: "previous", Home: "first", End: "last" }[event.key];
    if (!id) return;
    event.preventDefault();
    pause();
    moves[id]();
  });
  addEventListener("hashchange", start);
  addEventListener("resize", () => {
    if (now < 0) return;
    light(rows[now]);
    reveal(rows[now]);
  });
  if (find("fit")) {
    find("fit").addEventListener("change", (event) => fit(event.target.checked));
    const width = Math.max(...views.map(({ view }) => view.querySelector("svg").width.baseVal.value));
    const room = find("picture").clientWidth;
    fit(width > 0 && width < 1.6 * room);
  }

  function start() {
    const asked = /^#step=(\d+)$/.exec(location.hash);
    if (asked && placeOf.has(asked[1])) go(placeOf.get(asked[1]));
    else if (now < 0) go(0);
  }
  if (rows.length) start();
})();
