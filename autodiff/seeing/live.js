// The numbers of the page, computed from other values of the leaves by the recorded passes (`program`, on the functions of
// `np`), and written as the page writes them. Order: numbers as text, the texts of the steps, computing, the panel.
(() => {
  const find = (id) => document.getElementById(id);
  const { live, digits } = JSON.parse(find("data").textContent);
  const UNKNOWN = "—";

  // Numbers as text, as formats.py, slots.py and playback.py write them

  const signed = (x, text) => (x < 0 ? `-${text}` : text);
  const power = (e) => `e${e < 0 ? "-" : "+"}${String(Math.abs(e)).padStart(2, "0")}`;
  const odd = (x) => (Number.isNaN(x) ? "nan" : signed(x, "inf"));
  const bare = (text) => (text.includes(".") ? text.replace(/\.?0+$/, "") : text);

  // Decimal figures of a number and the power of ten of the first, rounded to so many: halves to even, as in Python.
  function figures(x, n) {
    let [mantissa, e] = Math.abs(x).toExponential(n - 1).split("e");
    const longer = Math.abs(x).toExponential(n);
    if (/5e/.test(longer) && Number(longer) === Math.abs(x)) { // a half
      const below = longer.replace(".", "").slice(0, n);
      if (Number(below.at(-1)) % 2 === 0) [mantissa, e] = [below, longer.split("e")[1]];
    }
    return [mantissa.replace(".", ""), Number(e)];
  }

  function general(x, n) {
    if (!Number.isFinite(x)) return odd(x);
    if (x === 0) return "0";
    const [head, e] = figures(x, n);
    if (e < -4 || e >= n) return signed(x, bare(`${head[0]}.${head.slice(1)}`).replace(/\.$/, "") + power(e));
    return signed(x, e < 0 ? bare(`0.${"0".repeat(-e - 1)}${head}`) : bare(`${head.slice(0, e + 1)}.${head.slice(e + 1)}`).replace(/\.$/, ""));
  }

  // With every figure that tells it from its neighbours.
  function shortest(x, single) {
    if (!Number.isFinite(x)) return odd(x);
    let text = x.toExponential();
    for (let n = 0; single && n < 9; n++) {
      text = x.toExponential(n);
      if (Math.fround(Number(text)) === x) break;
    }
    const [mantissa, e] = text.replace("-", "").split("e").map((part, i) => (i ? Number(text.split("e")[1]) : part));
    const all = mantissa.replace(".", "").replace(/0+$/, "") || "0", minus = x < 0 || Object.is(x, -0) ? "-" : "";
    if (x !== 0 && (e < -4 || e >= 16)) return minus + (all.length > 1 ? `${all[0]}.${all.slice(1)}` : all) + power(e);
    if (e < 0) return `${minus}0.${"0".repeat(-e - 1)}${all}`;
    return `${minus}${all.slice(0, e + 1).padEnd(e + 1, "0")}.${all.slice(e + 1) || "0"}`;
  }

  function nested({ shape, data }, text) {
    const inside = (axis, at, step) => {
      if (axis === shape.length) return text(data[at]);
      const inner = step / shape[axis];
      return `[${Array.from({ length: shape[axis] }, (_, i) => inside(axis + 1, at + i * inner, inner)).join(", ")}]`;
    };
    return inside(0, 0, data.length);
  }

  const size = ({ shape }) => shape.join("×") || "1";
  const counted = (n) => String(n).replace(/\B(?=(\d{3})+$)/g, ",");

  function range(x, n) {
    const finite = Array.from(x.data).filter(Number.isFinite), said = [];
    if (finite.length) said.push(`${general(Math.min(...finite), n)} … ${general(Math.max(...finite), n)}`);
    for (const [name, test] of [["nan", Number.isNaN], ["inf", (v) => v === Infinity], ["-inf", (v) => v === -Infinity]]) {
      const found = x.data.filter(test).length;
      if (found) said.push(`${counted(found)} ${name}`);
    }
    return said.join(", ");
  }

  const element = (n, whole) => (v) => (whole ? String(v) : general(v, n));

  function plain(x, n, whole = false) {
    if (!x.data.length) return `[] (${size(x)})`;
    if (x.data.length <= 16) return nested(x, element(n, whole));
    const mean = x.data.reduce((a, b) => a + b, 0) / x.data.length;
    return `${size(x)}: ${range(x, n)}, mean ${general(mean, n)}`;
  }

  function distinct(x, before) {
    let n = digits;
    while (n < 17 && plain(x, n) === plain(before, n) && x.data.some((v, i) => !Object.is(v, before.data[i]))) n++;
    return plain(x, n);
  }

  const ROWS = 4, COLUMNS = 6, ENTRY = 4;

  function lines(x, value, whole) {
    const { shape, data } = x, columns = shape.at(-1);
    if (!shape.length) return [value];
    if (data.length && shape.length <= 2 && columns <= COLUMNS && data.length <= ROWS * columns) {
      const text = element(Math.min(digits, ENTRY), whole);
      return Array.from({ length: data.length / columns }, (_, i) => nested({ shape: [columns], data: data.slice(i * columns, (i + 1) * columns) }, text));
    }
    return data.length ? [range(x, 3)] : [`[] (${size(x)})`];
  }

  function full(x, value, single, whole) {
    if (x.data.length > 64) return "";
    const text = nested(x, whole ? String : (v) => shortest(v, single));
    return text.replace(/\.0(?=[\],]|$)/g, "") === value ? "" : text;
  }

  // Levels of blocks' means, from the lowest to the highest; what is not finite has a level of its own.
  function heat(x) {
    if (![1, 2].includes(x.shape.length) || x.data.length <= 16) return "";
    const [height, width] = x.shape.length === 1 ? [1, x.shape[0]] : x.shape, side = [height, width].map((n) => Math.ceil(n / 32));
    const [rows, columns] = [height, width].map((n, i) => Math.ceil(n / side[i])), means = [];
    for (let i = 0; i < rows; i++) {
      for (let j = 0; j < columns; j++) {
        const block = [];
        for (let k = i * side[0]; k < Math.min(height, (i + 1) * side[0]); k++) {
          for (let l = j * side[1]; l < Math.min(width, (j + 1) * side[1]); l++) block.push(x.data[k * width + l]);
        }
        means.push(block.reduce((sum, v) => sum + v / block.length, 0));
      }
    }
    const finite = means.filter(Number.isFinite), low = Math.min(...finite), high = Math.max(...finite);
    const level = (v) => (Number.isFinite(v) ? Math.round(((v / 2 - low / 2) / (high / 2 - low / 2 || 1)) * 252) : Number.isNaN(v) ? 253 : v > 0 ? 254 : 255);
    const odd = [Number.isNaN, (v) => v === Infinity, (v) => v === -Infinity].map((test) => x.data.filter(test).length);
    const ends = finite.length ? [general(low, 4), general(high, 4)] : ["nan", "nan"];
    return [rows, columns, ...side, ...ends, ...odd, btoa(String.fromCharCode(...means.map(level)))].join(" ");
  }

  // The texts of the steps

  const sum = (a, b) => ({ shape: a.shape, data: a.data.map((v, i) => v + b.data[i]) });

  function texts(outputs, known) {
    const numbers = live.rows.map((out) => (out >= 0 && known(out) ? outputs[out] : null)), values = [];
    return numbers.map((x, i) => {
      const whole = live.integer[i] === 1;
      if (live.rows[i] < 0) return null; // as it was
      if (!x) return { value: (values[i] = UNKNOWN), full: "", put: "", heat: "", answer: "", lines: [UNKNOWN], copy: [UNKNOWN] };
      const before = numbers[live.first[i]], style = live.styles[i];
      const value = (values[i] = style === "range" ? `${size(x)}: ${range(x, digits)}` : style === "distinct" && before ? distinct(x, before) : plain(x, digits, whole));
      const written = lines(x, value, whole), earlier = (live.added[i] || []).map((k) => numbers[k]);
      const answer = x.data.length ? shortest(x.data[((i + 1) * 7) % x.data.length], live.single[i] === 1) : "";
      return {
        value, full: full(x, value, live.single[i] === 1, whole), put: put(live.put[i], values), heat: whole && x.data.length <= 16 ? "" : heat(x),
        answer, lines: live.added[i] ? added(earlier, written) : written, copy: written,
      };
    });
  }

  function added(earlier, written) {
    if (earlier.some((x) => !x)) return [UNKNOWN];
    const before = earlier.length ? earlier.reduce(sum) : null, there = before ? lines(before, plain(before, digits)) : ["0"];
    if (there.length === 1 && written.length === 1 && there[0].length + written[0].length < 24) return [`${there[0]} += ${written[0]}`];
    return [...there, `+= ${written[0]}`, ...written.slice(1)];
  }

  function put(template, values) {
    if (!template) return "";
    const text = template.replace(/\ue000(\d+)\ue001/g, (_, i) => (values[i] && values[i].startsWith("-") ? `(${values[i]})` : values[i] || UNKNOWN));
    return text.includes(UNKNOWN) ? "" : text.replace(/−0(?![\d.])/g, "0").replace(/\((\(-[^()]*\))\)/g, "$1");
  }

  // Computing

  const note = (text) => {
    find("live-note").hidden = text === "";
    if (find("live-note").textContent !== text) find("live-note").textContent = text;
  };
  if (live.failure) {
    note(`This page cannot compute with other values: ${live.failure}.`);
    return;
  }

  const recorded = live.inputs.map(({ values }) => Float64Array.from(values, Number));
  const now = recorded.map((values) => values.slice());
  const losses = [];
  let outputs = null;
  let stopped = false; // there are no steps

  const moved = (i) => now[i].some((v, k) => !Object.is(v, recorded[i][k]));
  const lossAt = live.rows[live.loss];

  function computed() {
    try {
      const found = program(...live.inputs.map(({ shape }, i) => np.array(shape, now[i])));
      return found.map((x) => (typeof x === "number" ? np.array([], Float64Array.of(x)) : x));
    } catch (error) {
      if (error instanceof np.Unmet) return null;
      throw error;
    }
  }

  function update() {
    const changed = live.inputs.map((_, i) => moved(i));
    outputs = computed();
    const known = (out) => outputs !== null && !live.behind[out].some((i) => changed[i]);
    const shown = changed.some(Boolean) || outputs === null;
    document.body.classList.toggle("moved", shown);
    const all = shown ? texts(outputs, known) : live.rows.map(() => null);
    document.dispatchEvent(new CustomEvent("numbers", { detail: all }));
    const blank = outputs !== null && live.behind.some((inputs) => inputs.some((i) => changed[i]));
    note(outputs === null
      ? "What was recorded does not hold for these values: a rule would go another way. No numbers are shown; reset, or move back."
      : blank ? `${live.formless.join(", ")}: not computed in a page. What lies behind is shown for the recorded values alone.` : "");
    const loss = outputs !== null && known(lossAt) ? outputs[lossAt].data[0] : NaN;
    find("live-step").disabled = stopped || outputs === null;
    find("live-loss").textContent = `${live.name} = ${outputs === null || !known(lossAt) ? UNKNOWN : general(loss, digits)}`;
    return loss;
  }

  function descend() {
    const rate = find("live-rate").valueAsNumber;
    if (outputs === null || !Number.isFinite(rate)) return;
    if (!losses.length) losses.push(outputs[lossAt].data[0]);
    const before = outputs; // all gradients are of the same values
    live.inputs.forEach(({ gradient, single }, i) => {
      if (gradient < 0) return;
      const g = before[gradient].data, round = single ? Math.fround : (v) => v, lr = round(rate);
      now[i] = now[i].map((v, k) => round(v - round(lr * g[k])));
    });
    losses.push(update());
    fields();
    chart();
  }

  // The panel

  function chart() {
    const drawn = losses.filter(Number.isFinite), low = Math.min(...drawn), high = Math.max(...drawn), figure = find("live-chart");
    figure.hidden = drawn.length < 2;
    if (figure.hidden) return;
    const points = losses.flatMap((v, i) => (Number.isFinite(v) ? [`${(6 + (228 * i) / (losses.length - 1)).toFixed(1)},${(66 - (60 * (v - low)) / (high - low || 1)).toFixed(1)}`] : []));
    figure.querySelector("polyline").setAttribute("points", points.join(" "));
    const said = `${live.name} after ${losses.length - 1} step${losses.length === 2 ? "" : "s"}: ${general(losses[0], 4)} → ${general(losses.at(-1), 4)}`;
    figure.querySelector("svg").setAttribute("aria-label", said);
    figure.querySelector("figcaption").textContent = said;
  }

  function restart() {
    losses.length = 0;
    chart();
  }

  const controls = []; // of each entry: where it is, its slider, its field

  // A slider reaches from its value as far as that is large, at least 2 each way; farther where a step or a field leads it.
  function span(slider, value) {
    const reach = 2 * Math.max(Math.abs(value), 1);
    [slider.min, slider.max] = [value - reach, value + reach];
  }

  function fields() {
    for (const { i, k, slider, field } of controls) {
      const value = now[i][k];
      if (Number.isFinite(value) && (value < Number(slider.min) || value > Number(slider.max))) span(slider, value);
      slider.value = String(value);
      if (field !== document.activeElement) field.value = general(value, digits);
      slider.setAttribute("aria-valuetext", general(value, digits));
      field.removeAttribute("aria-invalid");
    }
  }

  function change(i, k, value) {
    now[i][k] = live.inputs[i].single ? Math.fround(value) : value;
    restart();
    update();
  }

  function entry(i, k) {
    const { shape, name } = live.inputs[i], row = document.createElement("div"), said = document.createElement("span");
    const strides = shape.map((_, axis) => shape.slice(axis + 1).reduce((a, b) => a * b, 1));
    const index = shape.length ? `[${shape.map((n, axis) => Math.floor(k / strides[axis]) % n).join(", ")}]` : "";
    const [slider, field] = ["range", "number"].map((type) => Object.assign(document.createElement("input"), { type, step: "any" }));
    row.className = "entry";
    said.textContent = index;
    slider.setAttribute("aria-label", `${name}${index}`);
    field.setAttribute("aria-label", `${name}${index} as a number`);
    slider.id = `live-${i}-${k}`;
    field.id = `live-${i}-${k}-field`;
    span(slider, recorded[i][k]);
    slider.addEventListener("input", () => { change(i, k, slider.valueAsNumber); fields(); });
    field.addEventListener("input", () => {
      const value = field.valueAsNumber;
      if (!Number.isFinite(value)) { field.setAttribute("aria-invalid", "true"); return; }
      field.removeAttribute("aria-invalid");
      change(i, k, value);
      if (value < Number(slider.min) || value > Number(slider.max)) span(slider, value);
      slider.value = String(value);
      slider.setAttribute("aria-valuetext", general(value, digits));
    });
    field.addEventListener("change", fields);
    controls.push({ i, k, slider, field });
    row.append(said, slider, field);
    return row;
  }

  const fixed = [];
  live.inputs.forEach(({ name, shape, slider, trained, size: long, values }, i) => {
    if (!slider) {
      const large = values.length > 16;
      if (!large) fixed.push(`${name} goes into ${live.formless.join(", ")}, which a page cannot compute, and keeps its value.`);
      else if (trained) fixed.push(`${name} (${long}) is changed by steps alone.`);
      return;
    }
    const group = document.createElement("fieldset"), legend = document.createElement("legend");
    legend.textContent = name;
    group.append(legend, ...recorded[i].keys().map((k) => entry(i, k)));
    find("live-leaves").append(group);
  });

  const trained = live.inputs.flatMap(({ gradient }, i) => (gradient < 0 ? [] : [i]));
  const stuck = trained.filter((i) => !live.inputs[i].slider && recorded[i].length <= 16);
  const unknown = trained.filter((i) => live.behind[live.inputs[i].gradient].length || live.unchecked.length);
  if (!trained.length || unknown.length || stuck.length) {
    stopped = true;
    fixed.push(trained.length ? `There are no steps: gradients lie behind ${live.formless.join(", ")}, which a page cannot compute.` : "There are no steps: no leaf requires a gradient.");
  }
  if (live.decided.length) {
    const several = live.decided.length > 1;
    fixed.push(`${live.decided.join(", ")} stay${several ? "" : "s"} as ${several ? "they were" : "it was"}: which entries are true was decided before, by what is not recorded (a comparison).`);
  }
  find("live-fixed").textContent = fixed.join(" ");
  find("live-fixed").hidden = !fixed.length;
  find("live-rate").value = String(live.rate);
  find("live-step").addEventListener("click", descend);
  find("live-reset").addEventListener("click", () => {
    recorded.forEach((values, i) => { now[i] = values.slice(); });
    for (const { i, k, slider } of controls) span(slider, recorded[i][k]);
    restart();
    fields();
    update();
  });
  find("live-tools").hidden = false;
  fields();
  update();
})();
