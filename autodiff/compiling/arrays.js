// NumPy's functions on small arrays of numbers, as the programs of javascript.py call them: an array is its shape and its
// elements in C order, and nobody writes into one.
//
// Order: arrays, elementwise functions, special functions, reductions, products, choosing and writing, orders, matrices.
"use strict";
const np = (() => {
  class Unmet extends Error {} // what a program takes for granted does not hold of these values

  const array = (shape, data) => ({ shape, data });
  const of = (x) => (typeof x === "number" ? array([], [x]) : x);
  const size = (shape) => shape.reduce((n, length) => n * length, 1);
  const same = (a, b) => a.length === b.length && a.every((n, i) => n === b[i]);
  const count = (n) => Array.from({ length: n }, (_, i) => i);

  // How far one step along each axis leads.
  function stridesOf(shape) {
    const strides = [];
    shape.reduceRight((n, length, axis) => { strides[axis] = n; return n * length; }, 1);
    return strides;
  }

  // Where the elements of an array of this shape lie, in their order, if steps along its axes lead so far.
  function walk(shape, steps, start = 0) {
    let places = [start];
    shape.forEach((n, axis) => {
      const next = [];
      for (const at of places) for (let i = 0; i < n; i++) next.push(at + i * steps[axis]);
      places = next;
    });
    return places;
  }

  function commonShape(shapes) {
    const shape = Array(Math.max(...shapes.map((each) => each.length))).fill(1);
    for (const each of shapes) {
      each.forEach((n, i) => {
        const axis = i + shape.length - each.length;
        if (n !== 1) shape[axis] = n;
      });
    }
    return shape;
  }

  // Where each element of an array of a shape comes from in one that is broadcast to it.
  function places(x, shape) {
    const strides = stridesOf(x.shape), extra = shape.length - x.shape.length;
    return walk(shape, shape.map((_, axis) => (axis < extra || x.shape[axis - extra] === 1 ? 0 : strides[axis - extra])));
  }

  const gather = (x, from, shape) => array(shape, Float64Array.from(from, (i) => x.data[i]));
  const reshape = (x, shape) => array(shape, of(x).data);
  const broadcast_to = (x, shape) => gather(of(x), places(of(x), shape), shape);
  const spread = (x, shape) => (same(x.shape, shape) ? x : broadcast_to(x, shape));

  function transpose(x, axes) {
    const strides = stridesOf(x.shape), shape = axes.map((axis) => x.shape[axis]);
    return gather(x, walk(shape, axes.map((axis) => strides[axis])), shape);
  }

  // Elements taken from their places; −1 stands for a zero.
  const moved = (x, from, shape) => array(shape, Float64Array.from(from, (i) => (i < 0 ? 0 : of(x).data[i])));

  // Elementwise

  function map(f, ...given) {
    const xs = given.map(of), shape = commonShape(xs.map((x) => x.shape)), n = size(shape), data = new Float64Array(n);
    const [a, b, c] = xs.map((x) => spread(x, shape).data);
    if (xs.length === 1) for (let i = 0; i < n; i++) data[i] = f(a[i]);
    else if (xs.length === 2) for (let i = 0; i < n; i++) data[i] = f(a[i], b[i]);
    else for (let i = 0; i < n; i++) data[i] = f(a[i], b[i], c[i]);
    return array(shape, data);
  }

  const f32 = (x) => map(Math.fround, x);

  // Integers, which are exact up to 2⁵³.
  const whole = (x) => map((v) => {
    if (!Number.isSafeInteger(v)) throw new Unmet("an integer is larger than a page can count");
    return v;
  }, x);

  // Integers of so many bits, which go on at the other end.
  const wrapped = (x, bits, signed) => map((v) => {
    const rest = remainder(v, 2 ** bits);
    return signed && rest >= 2 ** (bits - 1) ? rest - 2 ** bits : rest;
  }, x);

  const even = (x) => (Math.abs(x % 1) === 0.5 ? 2 * Math.round(x / 2) : Math.round(x)); // halves to even numbers
  const sameSign = (size, sign) => (sign < 0 || Object.is(sign, -0) ? -Math.abs(size) : Math.abs(size));

  function remainder(a, b) {
    const rest = a % b;
    if (rest === 0) return sameSign(0, b);
    return (rest < 0) === (b < 0) ? rest : rest + b;
  }

  function floor_divide(a, b) { // as NumPy does it, from the rest
    if (b === 0) return a / b;
    const rest = a % b, part = (a - rest) / b - Number(rest !== 0 && (rest < 0) !== (b < 0)), below = Math.floor(part);
    return part === 0 ? sameSign(0, a / b) : part - below > 0.5 ? below + 1 : below;
  }

  function power(a, b) { // 1 to any power is 1, and (−1) to ±∞ too
    return a === 1 || (a === -1 && Math.abs(b) === Infinity) ? 1 : a ** b;
  }

  function logsum(a, b, log1, exp, log) {
    if (a === b) return a + log;
    const far = Math.abs(a - b);
    return Number.isNaN(far) ? NaN : Math.max(a, b) + log1(exp(-far));
  }

  const scalar = {
    add: (a, b) => a + b, subtract: (a, b) => a - b, multiply: (a, b) => a * b, divide: (a, b) => a / b,
    negative: (a) => -a, positive: (a) => a, conjugate: (a) => a, absolute: Math.abs, fabs: Math.abs, sign: Math.sign,
    square: (a) => a * a, reciprocal: (a) => 1 / a, sqrt: Math.sqrt, cbrt: Math.cbrt, power, float_power: power,
    exp: Math.exp, exp2: (a) => 2 ** a, expm1: Math.expm1, log: Math.log, log2: Math.log2, log10: Math.log10,
    log1p: Math.log1p, sin: Math.sin, cos: Math.cos, tan: Math.tan, arcsin: Math.asin, arccos: Math.acos,
    arctan: Math.atan, arctan2: Math.atan2, sinh: Math.sinh, cosh: Math.cosh, tanh: Math.tanh, arcsinh: Math.asinh,
    arccosh: Math.acosh, arctanh: Math.atanh, hypot: Math.hypot,
    deg2rad: (a) => a * (Math.PI / 180), radians: (a) => a * (Math.PI / 180),
    rad2deg: (a) => a * (180 / Math.PI), degrees: (a) => a * (180 / Math.PI),
    floor: Math.floor, ceil: Math.ceil, trunc: Math.trunc, rint: even,
    remainder, fmod: (a, b) => a % b, floor_divide, copysign: sameSign,
    maximum: Math.max, minimum: Math.min,
    ldexp: (a, b) => a * 2 ** Math.trunc(b / 2) * 2 ** (b - Math.trunc(b / 2)),
    fmax: (a, b) => (Number.isNaN(a) ? b : Number.isNaN(b) ? a : Math.max(a, b)),
    fmin: (a, b) => (Number.isNaN(a) ? b : Number.isNaN(b) ? a : Math.min(a, b)),
    heaviside: (a, b) => (Number.isNaN(a) ? a : a === 0 ? b : Number(a > 0)),
    logaddexp: (a, b) => logsum(a, b, Math.log1p, Math.exp, Math.LN2),
    logaddexp2: (a, b) => logsum(a, b, (x) => Math.log1p(x) / Math.LN2, (x) => 2 ** x, 1),
    less: (a, b) => a < b, less_equal: (a, b) => a <= b, greater: (a, b) => a > b, greater_equal: (a, b) => a >= b,
    equal: (a, b) => a === b, not_equal: (a, b) => a !== b,
    logical_and: (a, b) => a !== 0 && b !== 0, logical_or: (a, b) => a !== 0 || b !== 0,
    logical_xor: (a, b) => (a !== 0) !== (b !== 0), logical_not: (a) => a === 0,
    isnan: Number.isNaN, isfinite: Number.isFinite, isinf: (a) => Math.abs(a) === Infinity,
    signbit: (a) => a < 0 || Object.is(a, -0),
    where: (c, a, b) => (c ? a : b), truth: (a) => a !== 0,
  };

  // Special functions

  // ∫ₓ^∞ exp(x² − t²) dt · 2/√π for x from 2 on, by its continued fraction from behind.
  function erfcx(x) {
    let below = x;
    for (let k = 120; k > 0; k--) below = x + k / 2 / below;
    return 1 / below / Math.sqrt(Math.PI);
  }

  // exp(−x²), whose relative error does not grow with x: the square is taken in two exact parts.
  function gauss(x) {
    const high = Math.fround(x), low = x - high;
    return Math.exp(-high * high) * Math.exp(-low * (high + x));
  }

  function erf(x) {
    const a = Math.abs(x);
    if (a > 2.5) return Math.sign(x) * (1 - gauss(a) * erfcx(a));
    let term = x, sum = x; // exp(−x²) Σ 2ᵏ x²ᵏ⁺¹ / (2k + 1)!!, all of one sign
    for (let k = 1; k < 60; k++) sum += term *= (2 * x * x) / (2 * k + 1);
    return (2 / Math.sqrt(Math.PI)) * gauss(x) * sum;
  }

  function erfc(x) {
    if (x >= 2.5) return gauss(x) * erfcx(x);
    if (x < 0.5) return 1 - erf(x);
    return gauss(x) * scaledTail(x);
  }

  // exp(x²) erfc(x) from 0.5 to 2.5: (2/√π) ∫₀^∞ exp(−t² − 2xt) dt by the trapezoidal rule in t = exp(π/2 sinh u).
  function scaledTail(x) {
    const h = 1 / 32;
    let sum = 0;
    for (let k = -128; k <= 96; k++) {
      const u = k * h, t = Math.exp((Math.PI / 2) * Math.sinh(u));
      sum += Math.exp(-t * t - 2 * x * t) * t * (Math.PI / 2) * Math.cosh(u);
    }
    return (2 / Math.sqrt(Math.PI)) * h * sum;
  }

  const scaled = (x) => (x < 0.5 ? Math.exp(x * x) * erfc(x) : x < 2.5 ? scaledTail(x) : erfcx(x));

  const ndtr = (x) => (x < -0.7 ? erfc(-x / Math.SQRT2) / 2 : (1 + erf(x / Math.SQRT2)) / 2);

  function log_ndtr(x) {
    if (x > -1) return Math.log1p(-erfc(x / Math.SQRT2) / 2);
    const a = -x / Math.SQRT2;
    return Math.log((a < 2.5 ? scaledTail(a) : erfcx(a)) / 2) - (x * x) / 2;
  }

  // φ(t)/Φ(−t) = Σ cₖ t¹⁻²ᵏ for large t, from h′ = h (h − t).
  const MILLS = [1];
  for (let m = 0; m < 25; m++) MILLS.push(count(m).reduce((sum, j) => sum - MILLS[m - j] * MILLS[j + 1], MILLS[m] * (1 - 2 * m)));

  // A derivative of the inverse Mills ratio h = φ/Φ, from h′ = −h (x + h) by Leibniz' rule; by its series far out.
  function inverse_mills(order, x) {
    const a = -x / Math.SQRT2, top = Math.sqrt(2 / Math.PI);
    if (order && x < -12) {
      return MILLS.reduceRight((sum, c, k) => sum + count(order).reduce((term, i) => -term * (1 - 2 * k - i), c) * (-x) ** (1 - 2 * k - order), 0);
    }
    const h = [x > -1 ? Math.exp((-x * x) / 2) / Math.sqrt(2 * Math.PI) / ndtr(x) : top / (a < 2.5 ? scaledTail(a) : erfcx(a))];
    for (let n = 0; n < order; n++) {
      let sum = 0, choose = 1;
      for (let k = 0; k <= n; k++) {
        sum -= choose * h[k] * (n - k > 1 ? h[n - k] : n - k ? 1 + h[1] : x + h[0]);
        choose *= (n - k) / (k + 1);
      }
      h.push(sum);
    }
    return h[order];
  }

  // Newton's method on log erfc, for 0 < q < 0.6.
  function tailInverse(q) {
    let x = Math.sqrt(Math.max(-Math.log(q * Math.sqrt(Math.PI) * Math.sqrt(Math.max(-Math.log(q), 0.5))), 0.1));
    for (let i = 0; i < 12; i++) {
      const scaled = x < 2.5 ? scaledTail(x) : erfcx(x);
      x += (Math.log(scaled) - x * x - Math.log(q)) * scaled * Math.sqrt(Math.PI) / 2;
    }
    return x;
  }

  function erfinv(y) {
    if (Math.abs(y) >= 1) return Math.abs(y) === 1 ? y * Infinity : NaN;
    if (Math.abs(y) > 0.5) return Math.sign(y) * tailInverse(1 - Math.abs(y));
    let x = (y * Math.sqrt(Math.PI)) / 2;
    for (let i = 0; i < 8; i++) x -= ((erf(x) - y) * Math.sqrt(Math.PI)) / 2 / gauss(x);
    return x;
  }

  function ndtri(p) {
    if (p <= 0 || p >= 1) return p === 0 ? -Infinity : p === 1 ? Infinity : NaN;
    return Math.SQRT2 * (p < 0.25 ? -tailInverse(2 * p) : erfinv(2 * p - 1));
  }

  // Σ over B₂ₖ / (2k (2k − 1) x²ᵏ⁻¹), and of its derivative, from 10 on.
  const STIRLING = [1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360, 1 / 156, -3617 / 122400];
  const ZETA = count(60).map((k) => (k < 2 ? 0 : count(40).reduceRight((s, n) => s + (n + 2) ** -k, 42 ** -k / 2 + 42 ** (1 - k) / (k - 1) + (k * 42 ** (-k - 1)) / 12 - (k * (k + 1) * (k + 2) * 42 ** (-k - 3)) / 720)));
  const EULER = 0.5772156649015329;

  // log Γ(1 + d) for small d, where it is near its zeros: Σ (−1)ᵏ (ζ(k) − 1) dᵏ / k.
  function nearOne(d) {
    let sum = 0;
    for (let k = 50; k > 1; k--) sum += (k % 2 ? -1 : 1) * ZETA[k] * d ** k / k;
    return sum - Math.log1p(d) + d * (1 - EULER);
  }

  function gammaln(x) {
    if (x === -Infinity || x === Infinity) return Infinity;
    if (x <= 0) {
      if (x === Math.floor(x)) return Infinity;
      return Math.log(Math.PI / Math.abs(sinpi(x))) - gammaln(1 - x);
    }
    if (Math.abs(x - 1) <= 0.5) return nearOne(x - 1);
    if (Math.abs(x - 2) < 0.5) return nearOne(x - 2) + Math.log1p(x - 2);
    let shift = 1, at = x;
    while (at < 10) { shift *= at; at += 1; }
    const sum = STIRLING.reduceRight((s, c) => s / at / at + c, 0) / at;
    return (at - 0.5) * Math.log(at) - at + Math.log(2 * Math.PI) / 2 + sum - Math.log(shift);
  }

  const sinpi = (x) => { const r = x % 2; return Math.sin(Math.PI * r); };

  // Derivatives of log Γ: by recurrence up to 15, then Stirling's series, differentiated.
  function polygamma(n, x) {
    if (Number.isNaN(x)) return NaN;
    if (x <= 0) {
      if (x === Math.floor(x)) return n ? (n % 2 ? Infinity : NaN) : NaN;
      if (n === 0) return polygamma(0, 1 - x) - Math.PI / Math.tan(Math.PI * (x - Math.floor(x)));
      throw new Unmet("polygamma of a negative number");
    }
    let factorial = 1;
    for (let k = 2; k <= n; k++) factorial *= k;
    let sum = 0, at = x;
    for (; at < 16; at += 1) sum += n ? factorial / at ** (n + 1) : 1 / at;
    const sign = n % 2 ? 1 : -1;
    let tail = n ? factorial / n / at ** n + factorial / 2 / at ** (n + 1) : -Math.log(at) + 1 / (2 * at);
    STIRLING.forEach((c, j) => { // c / x²ʲ⁺¹, differentiated n + 1 times
      let rising = c;
      for (let k = 0; k <= n; k++) rising *= 2 * j + 1 + k;
      tail += rising / at ** (2 * j + 2 + n);
    });
    return sign * (sum + tail);
  }

  function gamma(x) {
    if (x === -Infinity || (x < 0 && x === Math.floor(x))) return NaN;
    if (x === 0) return 1 / x;
    return x < 0.5 ? Math.PI / sinpi(x) / gamma(1 - x) : Math.exp(gammaln(x));
  }

  function betaln(a, b) {
    if (!(a > 0 && b > 0)) throw new Unmet("the beta function of a number that is not positive");
    const [low, high] = a < b ? [a, b] : [b, a];
    if (high < 10) return gammaln(low) + gammaln(high) - gammaln(low + high);
    const sum = low + high, tail = (v) => STIRLING.reduceRight((s, c) => s / v / v + c, 0) / v;
    const far = tail(high) - tail(sum) + (high - 0.5) * Math.log1p(-low / sum); // log Γ(high)/Γ(sum) but for the rest
    return gammaln(low) + far - low * Math.log(sum) + low;
  }

  function beta(a, b) {
    if (!(a > 0 && b > 0)) throw new Unmet("the beta function of a number that is not positive");
    return a + b < 150 ? (gamma(a) / gamma(a + b)) * gamma(b) : Math.exp(gammaln(a) + gammaln(b) - gammaln(a + b));
  }

  // A derivative of sin(z)/z by x, z = πx: near 0 by its series, further out by z f⁽ⁿ⁾ = sin⁽ⁿ⁾(z) − n f⁽ⁿ⁻¹⁾.
  function sinc(order, x) {
    const z = Math.PI * x;
    let value = Math.sin(z) / z;
    for (let n = 1; n <= order; n++) value = (Math.sin(z + (n * Math.PI) / 2) - n * value) / z;
    if (Math.abs(z) < order + 1) {
      value = 0;
      for (let k = Math.ceil(order / 2), term; k < 40 && term !== 0; k++) { // (−1)ᵏ z²ᵏ⁻ⁿ / ((2k + 1)(2k − n)!)
        term = (k % 2 ? -1 : 1) / (2 * k + 1);
        for (let j = 1; j <= 2 * k - order; j++) term *= z / j;
        value += term;
      }
    }
    return value * Math.PI ** order;
  }

  // (xᵖ − 1) / p, in the limit log x.
  const boxcox = (x, p) => (p === 0 ? Math.log(x) : Math.expm1(p * Math.log(x)) / p);
  const boxcox1p = (x, p) => (p === 0 ? Math.log1p(x) : Math.expm1(p * Math.log1p(x)) / p);
  const inv_boxcox = (x, p) => (p === 0 ? Math.exp(x) : Math.exp(Math.log1p(p * x) / p));

  const xlogy = (a, b) => (a === 0 && !Number.isNaN(b) ? 0 : a * Math.log(b));

  function rel_entr(x, y) {
    if (Number.isNaN(x) || Number.isNaN(y)) return NaN;
    if (!(x > 0 && y > 0)) return x === 0 && y >= 0 ? 0 : Infinity;
    return x * (x / y > 0.5 && x / y < 2 ? Math.log1p((x - y) / y) : Math.log(x / y));
  }

  const special = {
    rel_entr, kl_div: (x, y) => rel_entr(x, y) - x + y, cosm1: (x) => -2 * Math.sin(x / 2) ** 2,
    huber: (d, r) => (d < 0 ? Infinity : Math.abs(r) > d ? d * (Math.abs(r) - 0.5 * d) : 0.5 * r * r),
    pseudo_huber: (d, r) => (d < 0 ? Infinity : d === 0 || r === 0 ? 0 : (r * r) / (Math.sqrt(1 + (r / d) ** 2) + 1)),
    erf, erfc, erfcx: scaled, erfinv, erfcinv: (q) => (q > 0.5 ? erfinv(1 - q) : q > 0 ? tailInverse(q) : q === 0 ? Infinity : NaN),
    betaln, loggamma: (x) => (x < 0 ? NaN : gammaln(x)), rgamma: (x) => (x <= 0 && x === Math.floor(x) ? 0 : 1 / gamma(x)),
    boxcox, boxcox1p, inv_boxcox, exprel: (x) => (x === 0 ? 1 : Math.expm1(x) / x), ndtr, ndtri, log_ndtr, beta, gamma, gammaln, psi: (x) => polygamma(0, x), xlogy,
    xlog1py: (a, b) => (a === 0 && !Number.isNaN(b) ? 0 : a * Math.log1p(b)),
    entr: (x) => (x < 0 ? -Infinity : -xlogy(x, x)), logit: (x) => Math.log(x / (1 - x)),
    expit: (x) => (x < 0 ? Math.exp(x) / (1 + Math.exp(x)) : 1 / (1 + Math.exp(-x))),
  };

  // Reductions

  const START = { add: 0, multiply: 1, logical_and: 1, logical_or: 0 };

  // For each element of the result where it begins, and how far the elements it is made of lie from there.
  function folded(x, axes) {
    const strides = stridesOf(x.shape), kept = count(x.shape.length).filter((axis) => !axes.includes(axis));
    const along = (list) => walk(list.map((axis) => x.shape[axis]), list.map((axis) => strides[axis]));
    return { shape: kept.map((axis) => x.shape[axis]), starts: along(kept), steps: along(axes) };
  }

  const kept = (x, axes, result) => array(x.shape.map((n, axis) => (axes.includes(axis) ? 1 : n)), result.data);

  function lanes(x, axes, keepdims, f) {
    const { shape, starts, steps } = folded(x, axes);
    const result = array(shape, Float64Array.from(starts, (start) => f(steps.map((step) => x.data[start + step]))));
    return keepdims ? kept(x, axes, result) : result;
  }

  function reduce(name, x, axes, keepdims, initial = START[name]) {
    const f = (a, b) => Number(scalar[name](a, b));
    return lanes(of(x), axes, keepdims, (values) => (initial === undefined ? values.reduce((a, b) => f(a, b)) : values.reduce((a, b) => f(a, b), initial)));
  }

  const best = (better) => (values) => values.reduce((at, v, i) => (Number.isNaN(values[at]) ? at : Number.isNaN(v) || better(v, values[at]) ? i : at), 0);
  const argmax = (x, axes, keepdims) => lanes(x, axes, keepdims, best((a, b) => a > b));
  const argmin = (x, axes, keepdims) => lanes(x, axes, keepdims, best((a, b) => a < b));

  function squares(x, axes, keepdims, ddof) {
    return lanes(x, axes, keepdims, (values) => {
      const mean = values.reduce((a, b) => a + b, 0) / values.length;
      return values.reduce((sum, v) => sum + (v - mean) ** 2, 0) / Math.max(values.length - ddof, 0);
    });
  }

  // Each lane along an axis, replaced by one of the same length.
  function each(x, axis, f) {
    const { starts, steps } = folded(x, [axis]), data = new Float64Array(x.data.length);
    for (const start of starts) f(steps.map((step) => x.data[start + step])).forEach((v, i) => { data[start + steps[i]] = v; });
    return array(x.shape, data);
  }

  function accumulate(name, x, axis) {
    let total;
    return each(x, axis, (values) => values.map((v, i) => (total = i ? Number(scalar[name](total, v)) : v)));
  }

  // hᵢ = bᵢ + aᵢ hᵢ₋₁ along the last axis.
  function linear_recurrence(a, b) {
    const shape = commonShape([a.shape, b.shape]), factors = spread(a, shape).data, data = Float64Array.from(spread(b, shape).data);
    for (let i = 0; i < data.length; i++) if (i % shape.at(-1)) data[i] += factors[i] * data[i - 1];
    return array(shape, data);
  }

  const outer = (name, a, b) => map(scalar[name], reshape(a, [...of(a).shape, ...of(b).shape.map(() => 1)]), b);

  // Products

  function matmul(a, b) {
    const [m, n] = [a.shape.length === 1, b.shape.length === 1];
    const A = m ? [1, ...a.shape] : a.shape, B = n ? [...b.shape, 1] : b.shape, inner = A.at(-1);
    const batch = commonShape([A.slice(0, -2), B.slice(0, -2), []]), shape = [...batch, A.at(-2), B.at(-1)];
    const left = spread(array(A, a.data), [...batch, ...A.slice(-2)]), right = spread(array(B, b.data), [...batch, ...B.slice(-2)]);
    const [rows, columns] = shape.slice(-2), data = new Float64Array(size(shape));
    for (let at = 0, i = 0; at < size(batch); at++) {
      for (let row = 0; row < rows; row++) {
        for (let column = 0; column < columns; column++, i++) {
          for (let k = 0; k < inner; k++) data[i] += left.data[(at * rows + row) * inner + k] * right.data[(at * inner + k) * columns + column];
        }
      }
    }
    return array(shape.filter((_, axis) => !(m && axis === shape.length - 2) && !(n && axis === shape.length - 1)), data);
  }

  const vecdot = (a, b) => {
    const product = map(scalar.multiply, a, b);
    return reduce("add", product, [product.shape.length - 1], false);
  };

  // Labels are letters: of each operand's axes, and of the result's.
  function einsum(labels, result, ...operands) {
    const lengths = {};
    labels.forEach((each, i) => [...each].forEach((label, axis) => { lengths[label] = Math.max(lengths[label] || 0, operands[i].shape[axis]); }));
    const summed = Object.keys(lengths).filter((label) => !result.includes(label));
    const along = (wanted) => operands.map((x, i) => walk(wanted.map((label) => lengths[label]), wanted.map((label) =>
      [...labels[i]].reduce((step, each, axis) => step + (each === label && x.shape[axis] > 1 ? stridesOf(x.shape)[axis] : 0), 0))));
    const starts = along([...result]), steps = along(summed), shape = [...result].map((label) => lengths[label]);
    return array(shape, Float64Array.from(count(size(shape)), (i) => {
      let sum = 0;
      for (let j = 0; j < steps[0].length; j++) sum += operands.reduce((product, x, k) => product * x.data[starts[k][i] + steps[k][j]], 1);
      return sum;
    }));
  }

  // Sums over triples of an output's place y, a place in the input x and one in the weight w, which are (N, C, …),
  // (out, C / groups, …) and (N, out, …); `kind` says which of the three is made of the two that are given.
  function convolution(kind, a, b, shapeX, shapeW, shapeY, stride, padding, dilation, groups) {
    const [lengths, kernel, places_] = [shapeX, shapeW, shapeY].map((shape) => shape.slice(2)), taps = [];
    const [perX, perW, perY] = [lengths, kernel, places_].map(size), steps = [lengths, kernel, places_].map(stridesOf);
    const index = (i, shape, strides) => shape.map((n, axis) => Math.floor(i / strides[axis]) % n);
    for (let o = 0; o < perY; o++) {
      for (let k = 0; k < perW; k++) {
        const at = index(o, places_, steps[2]), tap = index(k, kernel, steps[1]);
        const i = at.map((n, axis) => n * stride[axis] + tap[axis] * dilation[axis] - padding[axis]);
        if (i.every((n, axis) => n >= 0 && n < lengths[axis])) taps.push([i.reduce((sum, n, axis) => sum + n * steps[0][axis], 0), k, o]);
      }
    }
    const [outs, own] = shapeW, result = new Float64Array(size({ forward: shapeY, back: shapeX, weight: shapeW }[kind]));
    for (let n = 0; n < shapeX[0]; n++) {
      for (let out = 0; out < outs; out++) {
        for (let c = 0; c < own; c++) {
          const channel = Math.floor(out / (outs / groups)) * own + c, y = (n * outs + out) * perY, x = (n * shapeX[1] + channel) * perX, w = (out * own + c) * perW;
          for (const [i, k, o] of taps) {
            if (kind === "forward") result[y + o] += a.data[x + i] * b.data[w + k];
            else if (kind === "back") result[x + i] += a.data[y + o] * b.data[w + k];
            else result[w + k] += a.data[y + o] * b.data[x + i];
          }
        }
      }
    }
    return array({ forward: shapeY, back: shapeX, weight: shapeW }[kind], result);
  }

  // Σⱼ a[j] b[i − j], of all i at which anything is there.
  function convolve(a, b) {
    const shape = a.shape.map((n, axis) => n + b.shape[axis] - 1), data = new Float64Array(size(shape)), strides = stridesOf(shape);
    const [left, right] = [a, b].map((x) => walk(x.shape, strides));
    left.forEach((i, j) => right.forEach((k, l) => { data[i + k] += a.data[j] * b.data[l]; }));
    return array(shape, data);
  }

  // Choosing and writing

  function concatenate(axis, ...xs) {
    const inner = size(xs[0].shape.slice(axis + 1)), before = size(xs[0].shape.slice(0, axis)), data = [];
    for (let i = 0; i < before; i++) {
      for (const x of xs) {
        const length = x.shape[axis] * inner;
        for (let j = 0; j < length; j++) data.push(x.data[i * length + j]);
      }
    }
    return array(xs[0].shape.map((n, i) => (i === axis ? xs.reduce((sum, x) => sum + x.shape[axis], 0) : n)), Float64Array.from(data));
  }

  // The places in an array of a shape to which index arrays along its first axes lead.
  function reached(shape, index) {
    const arrays = index.map(of), front = commonShape(arrays.map((i) => i.shape)), back = shape.slice(arrays.length);
    const strides = stridesOf(shape), starts = new Float64Array(size(front));
    arrays.forEach((i, axis) => spread(i, front).data.forEach((v, k) => {
      const at = v < 0 ? v + shape[axis] : v;
      if (!(at >= 0 && at < shape[axis])) throw new Unmet("an index is out of bounds");
      starts[k] += at * strides[axis];
    }));
    const from = [];
    for (const start of starts) from.push(...walk(back, strides.slice(arrays.length), start));
    return [from, [...front, ...back]];
  }

  function put(x, at, shape, value, f = (_, v) => v) {
    const data = Float64Array.from(of(x).data), values = spread(of(value), shape).data;
    at.forEach((place, i) => { data[place] = f(data[place], values[i]); });
    return array(of(x).shape, data);
  }

  const zeros = (shape) => array(shape, new Float64Array(size(shape)));
  const getitem = (x, index) => gather(x, ...reached(x.shape, index));
  const setitem = (x, index, value) => put(x, ...reached(x.shape, index), value);
  const at = (name, x, index, value) => put(x, ...reached(x.shape, index), value, scalar[name]);

  function take(x, index, axis) {
    const moves = [axis, ...count(x.shape.length).filter((i) => i !== axis)], first = transpose(x, moves);
    const found = getitem(first, [index]), n = of(index).shape.length;
    const order = count(found.shape.length), front = order.splice(n, axis);
    return transpose(found, [...front, ...order]);
  }

  function take_along_axis(x, index, axis) {
    const shape = commonShape([index.shape, x.shape.map((n, i) => (i === axis ? 1 : n))]);
    const grid = shape.map((n, i) => (i === axis ? spread(index, shape) : reshape(array([n], count(n)), shape.map((_, j) => (j === i ? n : 1)))));
    return getitem(spread(x, shape.map((n, i) => (i === axis ? x.shape[i] : n))), grid);
  }

  // Orders

  const ascending = (a, b) => (Number.isNaN(a) ? (Number.isNaN(b) ? 0 : 1) : Number.isNaN(b) ? -1 : a - b || 0);
  const sort = (x, axis) => each(x, axis, (values) => [...values].sort(ascending));
  const argsort = (x, axis, stable) => each(x, axis, (values) => {
    const order = count(values.length).sort((i, j) => ascending(values[i], values[j]));
    if (!stable && order.some((at, i) => i && values[at] === values[order[i - 1]])) throw new Unmet("two values that are sorted are equal");
    return order;
  });

  // Matrices

  // Row operations that leave nothing below the diagonal of the first matrix, done to the second; returns ±1 for the
  // exchanges of rows, so that the determinant is that times the diagonal.
  function eliminated(a, b) {
    const n = a.length;
    let sign = 1;
    for (let k = 0; k < n; k++) {
      let pivot = k;
      for (let i = k + 1; i < n; i++) if (Math.abs(a[i][k]) > Math.abs(a[pivot][k])) pivot = i;
      if (pivot !== k) { [a[k], a[pivot]] = [a[pivot], a[k]]; [b[k], b[pivot]] = [b[pivot], b[k]]; sign = -sign; }
      for (let i = k + 1; i < n && a[k][k] !== 0; i++) {
        const factor = a[i][k] / a[k][k];
        for (let j = k; j < n; j++) a[i][j] -= factor * a[k][j];
        b[i].forEach((_, j) => { b[i][j] -= factor * b[k][j]; });
      }
    }
    return sign;
  }

  const rowsOf = (x) => count(x.shape[0]).map((i) => Array.from(x.data.slice(i * x.shape[1], (i + 1) * x.shape[1])));
  function slogdet(a) {
    const rows = rowsOf(a), sign = eliminated(rows, rowsOf(a)), pivots = rows.map((row, i) => row[i]);
    const total = (f, add, start) => array([], [pivots.map(f).reduce(add, start)]);
    return [total(Math.sign, (x, y) => x * y, sign), total((v) => Math.log(Math.abs(v)), (x, y) => x + y, 0)];
  }

  function det(a) {
    const rows = rowsOf(a), sign = eliminated(rows, rowsOf(a));
    return array([], [rows.reduce((product, row, i) => product * row[i], sign)]);
  }

  const inv = (a) => solve(a, array(a.shape, Float64Array.from(a.data, (_, i) => Number(i % (a.shape[0] + 1) === 0))));

  function solve(a, b) {
    const vector = b.shape.length === 1, left = rowsOf(a), right = rowsOf(vector ? reshape(b, [...b.shape, 1]) : b), n = left.length;
    eliminated(left, right);
    if (left.some((row, i) => row[i] === 0)) throw new Unmet("a matrix is singular");
    for (let i = n - 1; i >= 0; i--) {
      right[i] = right[i].map((v, j) => {
        for (let k = i + 1; k < n; k++) v -= left[i][k] * right[k][j];
        return v / left[i][i];
      });
    }
    return array(b.shape, Float64Array.from(right.flat()));
  }

  // What a function of matrices gives for all of them along the axes in front.
  const stacked = (f) => (...xs) => {
    const front = commonShape([[], ...xs.map((x) => x.shape.slice(0, -2))]), n = size(front);
    if (!front.length) return f(...xs);
    const all = xs.map((x) => spread(x, [...front, ...x.shape.slice(-2)]));
    const found = count(n).map((i) => f(...all.map((x) => {
      const length = x.data.length / n;
      return array(x.shape.slice(-2), x.data.slice(i * length, (i + 1) * length));
    })));
    const joined = (parts) => array([...front, ...parts[0].shape], Float64Array.from(parts.flatMap((x) => [...x.data])));
    return Array.isArray(found[0]) ? found[0].map((_, k) => joined(found.map((parts) => parts[k]))) : joined(found);
  };

  function cofactor(a) {
    const n = a.shape[0], minor = (row, column) => a.data.filter((_, i) => Math.floor(i / n) !== row && i % n !== column);
    return array(a.shape, Float64Array.from(a.data, (_, i) => {
      const row = Math.floor(i / n), column = i % n, sign = (row + column) % 2 ? -1 : 1;
      return n === 1 ? 1 : sign * det(array([n - 1, n - 1], minor(row, column))).data[0];
    }));
  }

  function solve_triangular(a, b, trans, lower, unit) {
    const n = a.shape.at(-1), rows = a.shape.length - 2, order = count(a.shape.length);
    const kept = array(a.shape, a.data.map((v, i) => {
      const row = Math.floor(i / n) % n, column = i % n;
      return row === column ? (unit ? 1 : v) : (row > column) === lower ? v : 0;
    }));
    return solveAll(trans ? transpose(kept, [...order.slice(0, rows), rows + 1, rows]) : kept, b);
  }

  // By reflections, as LAPACK does it: a column that is zero below the diagonal stays as it is.
  function qr(a) {
    const [m, n] = a.shape, k = Math.min(m, n), R = rowsOf(a), Q = count(m).map((i) => count(m).map((j) => Number(i === j)));
    for (let j = 0; j < Math.min(m - 1, n); j++) {
      const below = count(m - j - 1).some((i) => R[i + j + 1][j] !== 0);
      if (!below) continue;
      const v = count(m - j).map((i) => R[i + j][j]), norm = Math.hypot(...v);
      v[0] += sameSign(norm, v[0]);
      const scale = 2 / v.reduce((sum, x) => sum + x * x, 0);
      for (let c = 0; c < n; c++) {
        const along = scale * v.reduce((sum, x, i) => sum + x * R[i + j][c], 0);
        v.forEach((x, i) => { R[i + j][c] -= along * x; });
      }
      for (const row of Q) {
        const along = scale * v.reduce((sum, x, i) => sum + x * row[i + j], 0);
        v.forEach((x, i) => { row[i + j] -= along * x; });
      }
    }
    const flat = (rows, f) => Float64Array.from(rows.flatMap(f));
    return [array([m, k], flat(Q, (row) => row.slice(0, k))), array([k, n], flat(R.slice(0, k), (row, i) => row.map((x, c) => (c < i ? 0 : x))))];
  }

  const solveAll = (a, b) => (b.shape.length > 1 ? stacked(solve)(a, b)
    : (a.shape.length < 3 ? solve(a, b) : reshape(stacked(solve)(a, reshape(b, [...b.shape, 1])), a.shape.slice(0, -1))));

  function cholesky(a) {
    const rows = rowsOf(a), n = rows.length, L = rows.map((row) => row.map(() => 0));
    for (let i = 0; i < n; i++) {
      for (let j = 0; j <= i; j++) {
        let v = rows[i][j];
        for (let k = 0; k < j; k++) v -= L[i][k] * L[j][k];
        if (i === j && !(v > 0)) throw new Unmet("a matrix is not positive definite");
        L[i][j] = i === j ? Math.sqrt(v) : v / L[j][j];
      }
    }
    return array(a.shape, Float64Array.from(L.flat()));
  }

  // What a program takes for granted: that these values hold, or are what they were.
  function expect(x, value) {
    for (const v of of(x).data) {
      const holds = typeof value === "boolean" ? (v !== 0) === value : Object.is(v, value) || v === value;
      if (!holds) throw new Unmet("a rule goes another way with these values");
    }
  }

  const each_of = (table) => Object.fromEntries(Object.entries(table).map(([name, f]) => [name, (...xs) => map(f, ...xs)]));
  return {
    Unmet, array, f32, whole, wrapped, expect, reshape, transpose, broadcast_to, moved, zeros, put, ...each_of(scalar),
    special: each_of({ ...special, polygamma, inverse_mills, sinc }),
    reduce, argmax, argmin, accumulate, linear_recurrence, outer, matmul, vecdot, einsum, concatenate, getitem, setitem, at, take, take_along_axis, sort, argsort,
    var: squares, std: (...given) => map(Math.sqrt, squares(...given)), convolution, convolve,
    linalg: { det: stacked(det), slogdet: stacked(slogdet), inv: stacked(inv), solve: solveAll, cholesky: stacked(cholesky), qr: stacked(qr), cofactor: stacked(cofactor), solve_triangular },
    scatter_put: (shape, places, from, value) => put(zeros(shape), places, from, value),
    scatter_add: (shape, places, from, value) => put(zeros(shape), places, from, value, scalar.add),
  };
})();
