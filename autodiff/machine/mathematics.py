"""Functions of the reals as vector instructions, in the order: exponentials, logarithms, hyperbolic and logistic, the
normal distribution, trigonometric.

Each takes (builder, type, x) and returns y, over the whole range of float32 and float64: subnormal numbers, ±0, ±∞ and
NaN. Arithmetic only, no branches but for sines of huge numbers, no fast-math flags. Polynomials are near-minimax fits
(Chebyshev, in 45 digits) with relative error below 2⁻²⁶ (float32) and 2⁻⁵⁶ (float64); the schemes are those of Sun's
fdlibm (reductions, log, log1p, sin, cos), Cody and Waite (reductions), Payne and Hanek (huge arguments).
"""

from __future__ import annotations

import math
from collections.abc import Callable

from .ir import Builder

LOG2E = 1 / math.log(2)
MAGIC = {"f": 1.5 * 2**23, "d": 1.5 * 2**52}
"""Added to a small number: its integer part is then in the lowest bits."""
BIAS = {"f": 127, "d": 1023}
MANTISSA = {"f": 23, "d": 52}
LN2 = {  # in two parts, both rounded
    "f": (0.693147182464599609375, -1.904654323148236017e-09),
    "d": (0.693147180559945286227, 2.319046813846299558e-17),
}
LN2_SHORT = {  # the first with so few bits that its product with an exponent is exact
    "f": (6.9313812256e-01, 9.0580006145e-06),
    "d": (6.93147180369123816490e-01, 1.90821492927058770002e-10),
}
EXP = {  # (eʳ − 1 − r)/r², |r| ≤ ln(2)/2
    "f": (0.0001989103, 0.0013933686, 0.0083333105, 0.041666463, 0.16666667, 0.5),
    "d": (
        2.0914717341716378e-09, 2.5105259538448494e-08, 2.755727357010214e-07, 2.7557255297969643e-06,
        2.4801587325605324e-05, 0.0001984126987490126, 0.001388888888888373, 0.008333333333326112,
        0.04166666666666667, 0.1666666666666667, 0.5,
    ),
}  # fmt: skip
LOG = {  # (2 artanh(√z)/√z − 2)/z, 0 ≤ z ≤ ((√2 − 1)/(√2 + 1))²
    "f": (0.23331614, 0.2855078, 0.40000123, 0.6666667),
    "d": (
        0.14617807153417325, 0.15331611722055008, 0.1818289243253687, 0.22222211089379496, 0.28571428625653836,
        0.3999999999989889, 0.666666666666667,
    ),
}  # fmt: skip
SIN = {  # (sin(√z)/√z − 1)/z, 0 ≤ z ≤ (π/4)²
    "f": (2.7249314e-06, -0.00019840083, 0.008333332, -0.16666667),
    "d": (
        1.591784866512194e-10, -2.505112794596564e-08, 2.755731608382574e-06, -0.00019841269836722437,
        0.008333333333330925, -0.16666666666666666,
    ),
}  # fmt: skip
COS = {  # (cos(√z) − 1 + z/2)/z²
    "f": (2.4547437e-05, -0.00138883, 0.041666664),
    "d": (
        -1.1382456865840483e-11, 2.0876143829213935e-09, -2.755731726001471e-07, 2.480158729874308e-05,
        -0.0013888888888887382, 0.041666666666666664,
    ),
}  # fmt: skip
ERF = {  # erf(√z)/√z − 1, 0 ≤ z ≤ 1
    "f": (7.875875e-05, -0.00080168643, 0.0051890872, -0.026854211, 0.11283594, -0.37612626, 0.12837917),
    "d": (
        -7.795898827002142e-10, 1.3720064546777686e-08, -1.6208483801871705e-07, 1.6447424703317362e-06,
        -1.492473690741966e-05, 0.00012055294904839707, -0.0008548325975389692, 0.0052239776071164225,
        -0.02686617064323777, 0.11283791670945006, -0.37612638903183543, 0.12837916709551256,
    ),
}  # fmt: skip
CENTRE = {"f": 2.0, "d": 4.0}
ERFCX = {  # (1 + 2a) exp(a²) erfc(a) of q = (a − c)/(a + c), 0 ≤ a ≤ 11 (float32) and 28
    "f": (
        8.477312e-05, 0.0001796296, -0.00040199968, -0.0014321455, 0.0012501199, 0.008713559, -0.008029536,
        -0.054218564, 0.16405085, -0.16603048, -0.09276381, 1.2769784,
    ),
    "d": (
        1.263782858042137e-09, 1.868487385473519e-09, -1.4091982822555755e-08, -1.799947545903142e-08,
        1.1005996198640057e-07, 7.471952780500971e-08, -8.254699744871162e-07, 2.9377854943443786e-07,
        5.709784760966506e-06, -1.1222046316669005e-05, -2.439924428312988e-05, 0.00015062169704678355,
        -0.00019925668432389153, -0.0007577732973669146, 0.005031969975753176, -0.01619773405599449,
        0.03716751553777026, -0.0663303658124095, 0.09373283499833023, -0.10103906603629459, 0.06809705425469323,
        0.015379652102619558, -0.13962111684056253, 1.2329951186255526,
    ),
}  # fmt: skip
HALF_PI = (1.5707963267948966, 6.123233995736766e-17, -1.4973849048591833e-33)
HUGE = 2.0**30
"""From here on a sine takes the exact reduction."""


def _at_most(b: Builder, t: str, x: str, bound: float) -> str:
    """min(x, bound), and NaN where x is NaN."""
    return b.select(t, b.compare("ogt", t, x, b.constant(bound, t)), b.constant(bound, t), x)


def _at_least(b: Builder, t: str, x: str, bound: float) -> str:
    return b.select(t, b.compare("olt", t, x, b.constant(bound, t)), b.constant(bound, t), x)


def _power_of_two(b: Builder, t: str, magic: str) -> str:
    """2ⁿ of n + MAGIC."""
    return b.unbits(t, b.on_bits("shl", t, b.on_bits("add", t, b.bits(t, magic), BIAS[t]), MANTISSA[t]))


def _scaled(b: Builder, t: str, y: str, n: str) -> str:
    """y · 2ⁿ in two steps, so that the result may be subnormal or overflow."""
    magic = b.constant(MAGIC[t], t)
    half = b.fma(t, n, b.constant(0.5, t), magic)
    rest = b.add(t, b.sub(t, n, b.sub(t, half, magic)), magic)
    return b.mul(t, b.mul(t, y, _power_of_two(b, t, half)), _power_of_two(b, t, rest))


def _reduced(b: Builder, t: str, x: str) -> tuple[str, str, str]:
    """n + MAGIC, n and r of x = n ln 2 + r, |r| ≤ ln(2)/2."""
    magic = b.constant(MAGIC[t], t)
    shifted = b.fma(t, x, b.constant(LOG2E, t), magic)
    n = b.sub(t, shifted, magic)
    r = b.fma(t, n, b.constant(-LN2[t][0], t), x)
    return shifted, n, b.fma(t, n, b.constant(-LN2[t][1], t), r)


def _exp_less_one(b: Builder, t: str, r: str) -> str:
    """eʳ − 1 of a reduced r."""
    return b.fma(t, b.mul(t, r, r), b.polynomial(t, r, EXP[t]), r)


def exp(b: Builder, t: str, x: str) -> str:
    x = _at_least(b, t, _at_most(b, t, x, {"f": 89, "d": 710}[t]), {"f": -105, "d": -746}[t])
    _, n, r = _reduced(b, t, x)
    return _scaled(b, t, b.add(t, _exp_less_one(b, t, r), b.constant(1, t)), n)


def exp2(b: Builder, t: str, x: str) -> str:
    magic = b.constant(MAGIC[t], t)
    x = _at_least(b, t, _at_most(b, t, x, {"f": 129, "d": 1025}[t]), {"f": -151, "d": -1077}[t])
    n = b.sub(t, b.add(t, x, magic), magic)
    r = b.mul(t, b.sub(t, x, n), b.constant(math.log(2), t))
    return _scaled(b, t, b.add(t, _exp_less_one(b, t, r), b.constant(1, t)), n)


def expm1(b: Builder, t: str, x: str) -> str:
    """2ⁿ(eʳ − 1) + (2ⁿ − 1), with n − 1 in place of n, which does not overflow."""
    half = b.constant(0.5, t)
    c = _at_least(b, t, _at_most(b, t, x, {"f": 89, "d": 710}[t]), {"f": -30, "d": -60}[t])
    shifted, _, r = _reduced(b, t, c)
    scale = _power_of_two(b, t, b.sub(t, shifted, b.constant(1, t)))
    y = b.fma(t, scale, _exp_less_one(b, t, r), b.sub(t, scale, half))
    tiny = b.compare("olt", t, b.intrinsic("fabs", t, x), b.constant({"f": 2.0**-25, "d": 2.0**-54}[t], t))
    return b.select(t, tiny, x, b.add(t, y, y))


def _split(b: Builder, t: str, x: str) -> tuple[str, str]:
    """e and f of x = 2ᵉ (1 + f), √½ ≤ 1 + f < √2; x is positive and not subnormal."""
    root = {"f": 0x3F3504F3, "d": 0x3FE6A09E667F3BCD}[t]  # √½
    bits = b.bits(t, x)
    e = b.on_bits("ashr", t, b.on_bits("sub", t, bits, root), MANTISSA[t])
    f = b.sub(t, b.unbits(t, b.on_bits("sub", t, bits, b.on_bits("shl", t, e, MANTISSA[t]))), b.constant(1, t))
    magic = {"f": 0x4B400000, "d": 0x4338000000000000}[t]
    return b.sub(t, b.unbits(t, b.on_bits("add", t, e, magic)), b.constant(MAGIC[t], t)), f


def _log_of(b: Builder, t: str, e: str, f: str, correction: str) -> str:
    """e ln 2 + log(1 + f) + correction."""
    s = b.div(t, f, b.add(t, f, b.constant(2, t)))
    z = b.mul(t, s, s)
    r = b.mul(t, z, b.polynomial(t, z, LOG[t]))
    half_square = b.mul(t, b.mul(t, f, f), b.constant(0.5, t))
    low = b.fma(t, e, b.constant(LN2_SHORT[t][1], t), correction)
    inner = b.sub(t, half_square, b.fma(t, s, b.add(t, half_square, r), low))
    return b.fma(t, e, b.constant(LN2_SHORT[t][0], t), b.sub(t, f, inner))


def _at_the_ends(b: Builder, t: str, u: str, y: str) -> str:
    """The logarithm y of u, and its values at 0, ∞ and below 0."""
    zero, infinity = b.constant(0, t), b.constant(math.inf, t)
    y = b.select(t, b.compare("oeq", t, u, infinity), u, y)
    pole = b.select(t, b.compare("oeq", t, u, zero), b.constant(-math.inf, t), b.constant(math.nan, t))
    return b.select(t, b.compare("ogt", t, u, zero), y, pole)


def _exponent(b: Builder, t: str, x: str) -> tuple[str, str]:
    """As _split, of subnormal numbers too."""
    smallest, shift = {"f": (2.0**-126, 25), "d": (2.0**-1022, 54)}[t]
    subnormal = b.compare("olt", t, x, b.constant(smallest, t))
    e, f = _split(b, t, b.select(t, subnormal, b.mul(t, x, b.constant(2.0**shift, t)), x))
    return b.select(t, subnormal, b.sub(t, e, b.constant(shift, t)), e), f


def log(b: Builder, t: str, x: str) -> str:
    e, f = _exponent(b, t, x)
    return _at_the_ends(b, t, x, _log_of(b, t, e, f, b.constant(0, t)))


def log2(b: Builder, t: str, x: str) -> str:
    e, f = _exponent(b, t, x)
    zero = b.constant(0, t)
    return _at_the_ends(b, t, x, b.fma(t, _log_of(b, t, zero, f, zero), b.constant(LOG2E, t), e))


def log1p(b: Builder, t: str, x: str) -> str:
    """log u of u = 1 + x, and (1 + x − u)/u; x itself is f where u is near 1."""
    one, zero = b.constant(1, t), b.constant(0, t)
    u = b.add(t, one, x)
    e, f = _split(b, t, u)
    lost = b.select(t, b.compare("oge", t, x, one), b.sub(t, one, b.sub(t, u, x)), b.sub(t, x, b.sub(t, u, one)))
    near = b.compare("oeq", t, e, zero)
    y = _log_of(b, t, e, b.select(t, near, x, f), b.select(t, near, zero, b.div(t, lost, u)))
    tiny = b.compare("olt", t, b.intrinsic("fabs", t, x), b.constant({"f": 2.0**-25, "d": 2.0**-54}[t], t))
    return b.select(t, tiny, x, _at_the_ends(b, t, u, y))


def tanh(b: Builder, t: str, x: str) -> str:
    """m/(m + 2) of m = e²ˣ − 1."""
    a = _at_most(b, t, b.intrinsic("fabs", t, x), {"f": 10, "d": 22}[t])
    m = expm1(b, t, b.add(t, a, a))
    return b.intrinsic("copysign", t, b.div(t, m, b.add(t, m, b.constant(2, t))), x)


def _half_exp(b: Builder, t: str, a: str) -> str:
    """eᵃ/2 of what is not negative, as large as numbers are."""
    _, n, r = _reduced(b, t, _at_most(b, t, a, {"f": 90, "d": 711}[t]))
    return _scaled(b, t, b.add(t, _exp_less_one(b, t, r), b.constant(1, t)), b.sub(t, n, b.constant(1, t)))


def cosh(b: Builder, t: str, x: str) -> str:
    """h + 1/(4h) of h = eᵃ/2, a = |x|."""
    h = _half_exp(b, t, b.intrinsic("fabs", t, x))
    return b.add(t, h, b.div(t, b.constant(0.25, t), h))


def sinh(b: Builder, t: str, x: str) -> str:
    """(m + m/(m + 1))/2 of m = eᵃ − 1, a = |x|; far out eᵃ/2."""
    a = b.intrinsic("fabs", t, x)
    m = expm1(b, t, a)
    near = b.mul(t, b.add(t, m, b.div(t, m, b.add(t, m, b.constant(1, t)))), b.constant(0.5, t))
    far = b.compare("ogt", t, a, b.constant({"f": 20, "d": 40}[t], t))
    return b.intrinsic("copysign", t, b.select(t, far, _half_exp(b, t, a), near), x)


def expit(b: Builder, t: str, x: str) -> str:
    """1/(1 + e⁻ˣ), or eˣ/(1 + eˣ) below 0."""
    one = b.constant(1, t)
    e = exp(b, t, b.negative(t, b.intrinsic("fabs", t, x)))
    top = b.select(t, b.compare("olt", t, x, b.constant(0, t)), e, one)
    return b.div(t, top, b.add(t, one, e))


def _tail(b: Builder, t: str, a: str, exponent: str, lost: str) -> str:
    """exp(−exponent) (1 − lost) exp(a²) erfc a."""
    c, one = b.constant(CENTRE[t], t), b.constant(1, t)
    inverse = b.div(t, one, b.add(t, a, c))
    q = b.mul(t, b.sub(t, a, c), inverse)
    rest = b.fma(t, b.negative(t, q), a, b.fma(t, b.add(t, q, one), b.negative(t, c), a))  # a − c − q (a + c)
    p = b.polynomial(t, b.fma(t, inverse, rest, q), ERFCX[t])
    p = b.div(t, b.fma(t, p, b.negative(t, lost), p), b.fma(t, a, b.constant(2, t), one))
    return b.mul(t, p, exp(b, t, b.negative(t, exponent)))


def _squared(b: Builder, t: str, a: str) -> tuple[str, str]:
    """a², and what its rounding lost."""
    square = b.mul(t, a, a)
    return square, b.fma(t, a, a, b.negative(t, square))


def erfc(b: Builder, t: str, x: str) -> str:
    a = _at_most(b, t, b.intrinsic("fabs", t, x), {"f": 10.9, "d": 27.9}[t])
    y = _tail(b, t, a, *_squared(b, t, a))
    return b.select(t, b.compare("olt", t, x, b.constant(0, t)), b.sub(t, b.constant(2, t), y), y)


def erf(b: Builder, t: str, x: str) -> str:
    a = _at_most(b, t, b.intrinsic("fabs", t, x), {"f": 5, "d": 7}[t])
    square, lost = _squared(b, t, a)
    near = b.fma(t, a, b.polynomial(t, square, ERF[t]), a)
    far = b.sub(t, b.constant(1, t), _tail(b, t, a, square, lost))
    y = b.select(t, b.compare("olt", t, a, b.constant(1, t)), near, far)
    return b.intrinsic("copysign", t, y, x)


def ndtr(b: Builder, t: str, x: str) -> str:
    """erfc(|x|/√2)/2 below 0; the exponent is of x², which is split exactly."""
    half = b.constant(0.5, t)
    a = _at_most(b, t, b.intrinsic("fabs", t, x), {"f": 15, "d": 39}[t])
    square, lost = _squared(b, t, a)
    scaled = b.mul(t, a, b.constant(math.sqrt(0.5), t))
    y = b.mul(t, half, _tail(b, t, scaled, b.mul(t, half, square), b.mul(t, half, lost)))
    return b.select(t, b.compare("ogt", t, x, b.constant(0, t)), b.sub(t, b.constant(1, t), y), y)


_TWO_OVER_PI = int(
    "A2F9836E4E441529FC2757D1F534DDC0DB6295993C439041FE5163ABDEBBC561B7246E3A424DD2E006492EEA09D1921CFE1DEB1C"
    "B129A73EE88235F52EBB4484E99C7026B45F7E413991D639835339F49C845F8BBDF9283B1FF897FFDE05980FEF2F118B5A0A6D1F"
    "6D367ECF27CB09B74F463F669E5FEA2D7527BAC7EBE5F17B3D0739F78A5292EA6BFB5FB11F8D5D0856033046FC7B6BAB",
    16,
)
"""The first 1216 bits of 2/π behind the point."""


def _huge_reduction(b: Builder) -> str:
    """The name of a function of one number: x − qπ/2 in two parts and q, by all bits of 2/π that matter (Payne, Hanek).

    x = M 2ᴱ with M < 2⁵³. Of x · 2/π the bits of weight 4 and more do not matter, so M is multiplied by the 192 bits of
    2/π from weight 2²⁻ᴱ on; the product's upper two bits are the quadrant.
    """
    name = "huge_reduction"
    if name in b.module.functions:
        return name
    words = 1 + _TWO_OVER_PI.bit_length() // 64
    listed = [(_TWO_OVER_PI >> (64 * (words - 1 - i))) & (2**64 - 1) for i in range(1, words)]
    listed = [0, *listed]
    text = ", ".join(f"i64 {w}" for w in listed)
    b.module.constants[name] = f"@two_over_pi = private constant [{words} x i64] [{text}]"
    s = Builder(b.module, 1)
    bits = s("bitcast double %x to i64")
    mantissa = s(f"and i64 {bits}, {2**52 - 1}")
    mantissa = s(f"or i64 {mantissa}, {2**52}")
    exponent = s(f"lshr i64 {bits}, 52")
    exponent = s(f"and i64 {exponent}, 2047")
    start = s(f"sub i64 {exponent}, {1023 + 52 - 62}")  # in the words, which 64 zeros precede
    word, shift = s(f"lshr i64 {start}, 6"), s(f"and i64 {start}, 63")
    window = "0"
    for i in range(4):
        place = s(f"add i64 {word}, {i}")
        address = s(f"getelementptr [{words} x i64], ptr @two_over_pi, i64 0, i64 {place}")
        bits_there = s(f"load i64, ptr {address}")
        wide = s(f"zext i64 {bits_there} to i256")
        window = s(f"shl i256 {window}, 64")
        window = s(f"or i256 {window}, {wide}")
    shift = s(f"zext i64 {shift} to i256")
    window = s(f"shl i256 {window}, {shift}")
    window = s(f"lshr i256 {window}, 64")
    window = s(f"trunc i256 {window} to i192")
    mantissa = s(f"zext i64 {mantissa} to i192")
    product = s(f"mul i192 {window}, {mantissa}")
    fraction = s(f"shl i192 {product}, 2")
    below = s(f"icmp slt i192 {fraction}, 0")
    quadrant = s(f"lshr i192 {product}, 190")
    quadrant = s(f"trunc i192 {quadrant} to i64")
    carry = s(f"zext i1 {below} to i64")
    quadrant = s(f"add i64 {quadrant}, {carry}")
    opposite = s(f"sub i192 0, {fraction}")
    size = s(f"select i1 {below}, i192 {opposite}, i192 {fraction}")
    b.module.declared.add("declare i192 @llvm.ctlz.i192(i192, i1)")
    zeros = s(f"call i192 @llvm.ctlz.i192(i192 {size}, i1 false)")
    size = s(f"shl i192 {size}, {zeros}")
    upper = s(f"lshr i192 {size}, 128")
    upper = s(f"trunc i192 {upper} to i64")
    upper = s(f"and i64 {upper}, -2048")
    lower = s(f"lshr i192 {size}, 75")
    lower = s(f"trunc i192 {lower} to i64")
    zeros = s(f"trunc i192 {zeros} to i64")
    scale = s(f"sub i64 1023, {zeros}")
    scale = s(f"shl i64 {scale}, 52")
    scale = s(f"bitcast i64 {scale} to double")
    minus = s(f"icmp slt i64 {bits}, 0")
    scale = s.select("d", s(f"xor i1 {below}, {minus}"), s.negative("d", scale), scale)
    upper, lower = s(f"uitofp i64 {upper} to double"), s(f"uitofp i64 {lower} to double")
    high = s.mul("d", s.mul("d", upper, s.constant(2.0**-64, "d")), scale)
    low = s.mul("d", s.mul("d", lower, s.constant(2.0**-117, "d")), scale)
    pi = [s.constant(p, "d") for p in HALF_PI]
    r = s.mul("d", high, pi[0])
    rest = s.fma("d", high, pi[0], s.negative("d", r))
    rest = s.fma("d", low, pi[0], s.fma("d", high, pi[1], rest))
    reverse = s(f"sub i64 0, {quadrant}")
    quadrant = s(f"select i1 {minus}, i64 {reverse}, i64 {quadrant}")
    result = "{ double, double, i64 }"
    first = s(f"insertvalue {result} poison, double {r}, 0")
    second = s(f"insertvalue {result} {first}, double {rest}, 1")
    third = s(f"insertvalue {result} {second}, i64 {quadrant}, 2")
    s.put(f"ret {result} {third}")
    head = f"define internal {result} @{name}(double %x) #1 {{"
    b.module.functions[name] = "\n".join([head, *s.lines, "}"])
    return name


def _quadrant(b: Builder, x: str) -> tuple[str, str, str]:
    """r in two parts and q of a double x = q π/2 + r."""
    magic, pi = b.constant(MAGIC["d"], "d"), [b.constant(-p, "d") for p in HALF_PI]
    shifted = b.fma("d", x, b.constant(2 / math.pi, "d"), magic)
    n = b.sub("d", shifted, magic)
    exact = b.fma("d", n, pi[0], x)
    product = b.mul("d", n, pi[1])  # rounded, as it may cancel nearly all of what is left
    high = b.add("d", exact, product)
    taken = b.sub("d", high, exact)
    lost = b.add("d", b.sub("d", exact, b.sub("d", high, taken)), b.sub("d", product, taken))
    lost = b.add("d", lost, b.fma("d", n, pi[1], b.negative("d", product)))
    low = b.fma("d", n, pi[2], lost)
    quadrant = b.bits("d", shifted)
    size = b.intrinsic("fabs", "d", x)
    huge = b(
        f"and {b.type('b')} {b.compare('oge', 'd', size, b.constant(HUGE, 'd'))}, "
        f"{b.compare('one', 'd', size, b.constant(math.inf, 'd'))}"
    )
    return _with_huge(b, x, huge, (high, low, quadrant))


def _with_huge(b: Builder, x: str, huge: str, reduced: tuple[str, str, str]) -> tuple[str, str, str]:
    """What the reduction gave, with the exact one where an argument is huge, one number after another."""
    kinds = (b.type("d"), b.type("d"), b.vector("i64"))
    some, k = huge, b.count
    if b.lanes > 1:
        kind = b.type("b")
        b.module.declared.add(f"declare i1 @llvm.vector.reduce.or.v{b.lanes}i1({kind})")
        some = b(f"call i1 @llvm.vector.reduce.or.v{b.lanes}i1({kind} {huge})")
    start, loop, take, following, done = (f"{word}{k}" for word in ("start", "lane", "take", "next", "reduced"))
    b.put(f"br label %{start}")
    b.label(start)
    b.put(f"br i1 {some}, label %{loop}, label %{done}")
    b.label(loop)
    lane, step = b.new(), b.new()
    now, later = [b.new() for _ in reduced], [b.new() for _ in reduced]
    b.put(f"{lane} = phi i64 [ 0, %{start} ], [ {step}, %{following} ]")
    for name, kind, before, after in zip(now, kinds, reduced, later):
        b.put(f"{name} = phi {kind} [ {before}, %{start} ], [ {after}, %{following} ]")
    flag = huge if b.lanes == 1 else b(f"extractelement {b.type('b')} {huge}, i64 {lane}")
    b.put(f"br i1 {flag}, label %{take}, label %{following}")
    b.label(take)
    value = x if b.lanes == 1 else b(f"extractelement {b.type('d')} {x}, i64 {lane}")
    result = "{ double, double, i64 }"
    exact = b(f"call {result} @{_huge_reduction(b)}(double {value})")
    parts = []
    for i, (kind, scalar, name) in enumerate(zip(kinds, ("double", "double", "i64"), now)):
        part = b(f"extractvalue {result} {exact}, {i}")
        parts.append(part if b.lanes == 1 else b(f"insertelement {kind} {name}, {scalar} {part}, i64 {lane}"))
    b.put(f"br label %{following}")
    b.label(following)
    for name, kind, before, after in zip(later, kinds, now, parts):
        b.put(f"{name} = phi {kind} [ {before}, %{loop} ], [ {after}, %{take} ]")
    b.put(f"{step} = add i64 {lane}, 1")
    over = b(f"icmp eq i64 {step}, {b.lanes}")
    b.put(f"br i1 {over}, label %{done}, label %{loop}")
    b.label(done)
    final = []
    for kind, before, after in zip(kinds, reduced, later):
        final.append(b(f"phi {kind} [ {before}, %{start} ], [ {after}, %{following} ]"))
    return final[0], final[1], final[2]


def _circular(b: Builder, t: str, x: str, turns: int) -> str:
    """sin(x + turns π/2)."""
    high, low, quadrant = _quadrant(b, b.convert(x, t, "d"))
    if t == "f":
        high, low = b.convert(high, "d", t), b.constant(0, t)
    one, half = b.constant(1, t), b.constant(0.5, t)
    z = b.mul(t, high, high)
    sine = b.fma(t, b.mul(t, z, high), b.polynomial(t, z, SIN[t]), low)
    sine = b.add(t, high, b.fma(t, b.mul(t, z, b.negative(t, half)), low, sine))
    start = b.fma(t, z, b.negative(t, half), one)
    rest = b.fma(t, z, b.negative(t, half), b.sub(t, one, start))
    rest = b.add(t, rest, b.fma(t, b.mul(t, z, z), b.polynomial(t, z, COS[t]), b.negative(t, b.mul(t, high, low))))
    cosine = b.add(t, start, rest)
    quadrant = b.on_bits("add", "d", quadrant, turns)
    odd = b.on_bits("and", "d", quadrant, 1)
    y = b.select(t, b(f"icmp ne {b.vector('i64')} {odd}, {b.integer(0, 'i64')}"), cosine, sine)
    two = b.on_bits("and", "d", quadrant, 2)
    y = b.select(t, b(f"icmp ne {b.vector('i64')} {two}, {b.integer(0, 'i64')}"), b.negative(t, y), y)
    if turns:
        return y
    tiny = b.compare("olt", t, b.intrinsic("fabs", t, x), b.constant(2.0**-30, t))
    return b.select(t, tiny, x, y)


def sin(b: Builder, t: str, x: str) -> str:
    return _circular(b, t, x, 0)


def cos(b: Builder, t: str, x: str) -> str:
    return _circular(b, t, x, 1)


FUNCTIONS: dict[str, Callable[[Builder, str, str], str]] = {
    "exp": exp, "exp2": exp2, "expm1": expm1, "log": log, "log2": log2, "log1p": log1p, "sinh": sinh,
    "cosh": cosh, "tanh": tanh, "special.expit": expit, "special.erf": erf, "special.erfc": erfc, "special.ndtr": ndtr,
    "sin": sin, "cos": cos,
}  # fmt: skip
"""By the names of programs."""
