"""Random programs as users write them: Python numbers, lists, arrays and Tensors mixed, written, viewed and used again.

Hypothesis draws a program: leaves, then steps that each apply one way of writing something to values made before. Every
step is written once, in a style that runs on plain arrays as on Tensors, so that NumPy alone is the oracle: the values
of a program are those of the same program on arrays, its gradient is their central difference, and its second
derivatives are the central differences of that gradient. What exists for Tensors alone (`ad.array`, ``.at``,
`checkpoint`, a gradient inside the program) has its closed form beside it. Steps map values of order one to values of
order one; where two step lengths of a difference disagree, a kink or a jump lies between, and nothing is compared.
"""

import random
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st

import autodiff as ad
from autodiff import Tensor


def is_tensor(a):
    return isinstance(a, Tensor)


# What arrays and Tensors say differently


def build(nested):
    """`np.array` of a nested list of elements."""
    tensors = any(is_tensor(x) for row in nested for x in (row if isinstance(row, list) else [row]))
    return (ad.array if tensors else np.array)(nested)


def updated(a, index, v, how):
    if is_tensor(a) or is_tensor(v):
        return getattr((a if is_tensor(a) else Tensor(a)).at[index], how)(v)
    b = np.array(a)
    if how == "set":
        b[index] = v
    else:
        {"add": np.add, "multiply": np.multiply, "max": np.maximum}[how].at(b, index, v)
    return b


def written(a, index, number):
    """A constant Tensor that is written, used once before and then no more, times `a`."""
    c = np.linspace(0.5, 1.5, a.size).reshape(a.shape)
    if is_tensor(a):
        c = Tensor(c)
    before = (c * 2).sum() * 0.1
    c[index] = number
    c += 0.25
    return a * c + before


def again(function, a, *others):
    return ad.checkpoint(function, a, *others) if is_tensor(a) else function(a, *others)


def slope_inside(a, b):
    """A gradient inside the program that closes over `b`: d/da Σ a³ (1 + b²) / 9."""
    if not is_tensor(a):
        return a**2 * (1 + b * b) / 3
    return ad.grad(lambda z: (z**3 * (1 + b * b)).sum() / 9)(a)


def slope_recorded(a):
    """d/da Σ sin a, by a graph that is recorded again."""
    if not (is_tensor(a) and a.requires_grad):
        return np.cos(a)
    inner = a * 1.0
    return ad.gradients(np.sin(inner).sum(), inner, create_graph=True)[0]


def pushed(a, b):
    if not is_tensor(a):
        return np.cos(a) * b
    return ad.jvp(np.sin, a, (b * np.ones(a.shape)).astype(a.dtype))[1]


def curved(a, b):
    """The Hessian of Σ a⁴/12 times b."""
    if not is_tensor(a):
        return a * a * b
    return ad.hvp(lambda z: (z**4).sum() / 12, a, (b * np.ones(a.shape)).astype(a.dtype))


def added_to(a, b):
    """``t += v`` on a name, and on the values of a loop."""
    t = a * 0.5
    for part in (b, 0.25, [0.125] * a.shape[-1]):
        t += part
        t *= 0.75
    return t


def in_loop(a):
    """A loop over rows, negative indices and Python's own sum, max of a list and comparisons."""
    rows = [row * (i + 1) for i, row in enumerate(a)]
    rows[0] = rows[-1] / 2 if rows[0].sum() > rows[-1].sum() else rows[0] + 1
    return sum(rows) / len(rows)


STEPS = {
    # One value, with numbers, arrays and lists
    "2 - a": lambda a, o: 2 - a,
    "3 * a / 2": lambda a, o: 3 * a / 2,
    "a / (1 + a²)": lambda a, o: a / (1 + a**2),
    "1 / (2 + a²)": lambda a, o: 1.5 / (2 + a * a),
    "power": lambda a, o: (1 + a * a) ** o.choice([-1, 0.5, -1.5, 2, np.float64(0.5)]),
    "number ** a": lambda a, o: o.choice([2, 0.5, 1]) ** a,
    "mod": lambda a, o: a % 1.7,
    "numpy scalar": lambda a, o: np.float64(1.5) * a + np.int64(2) - np.True_,
    "bool": lambda a, o: True + a,
    "list on the right": lambda a, o: a + [0.25 * k for k in range(a.shape[-1])],
    "list on the left": lambda a, o: [1 + k for k in range(a.shape[-1])] * a / 3,
    "list divided": lambda a, o: [1.0] * a.shape[-1] / (1 + a * a),
    "tuple minus": lambda a, o: (1, 2.5, -1, 0.5, 2, 3)[: a.shape[-1]] - a,
    "integer array": lambda a, o: np.arange(a.size).reshape(a.shape) * a / a.size,
    "integer Tensor": lambda a, o: (ad.arange(a.shape[-1]) if is_tensor(a) else np.arange(a.shape[-1])) * a / 3,
    "array on the left": lambda a, o: np.linspace(-1, 1, a.size).reshape(a.shape) * a,
    "array minus": lambda a, o: np.ones(a.shape[-1]) - a,
    "array @ a": lambda a, o: np.linspace(-1, 1, 3 * a.shape[0]).reshape(3, a.shape[0]) @ a,
    "a @ list": lambda a, o: a @ [[0.5, -1][k % 2] for k in range(a.shape[-1])],
    "bool array": lambda a, o: np.arange(a.shape[-1]) % 2 == np.zeros(a.shape) + 1 * (np.abs(a) > 9) - a,
    "compared with list": lambda a, o: a * (a > [0.1] * a.shape[-1]),
    "sin exp": lambda a, o: np.sin(a) * np.exp(-a * a / 2),
    "tanh": lambda a, o: np.tanh(a),
    "arctan2": lambda a, o: np.arctan2(a, 2),
    "abs": lambda a, o: abs(a) + np.abs(a - 1),
    "clip": lambda a, o: np.clip(a, -0.7, 0.9),
    "maximum": lambda a, o: np.maximum(a, [0.3] * a.shape[-1]),
    # Branches, near and at kinks: the values hold exact zeros
    "sqrt where": lambda a, o: np.where(a > 0, np.sqrt(a), 0),
    "log where": lambda a, o: np.where(a > 0, a * np.log(a), 0.0),
    "quotient where": lambda a, o: np.where(a != 0, np.sin(a) / a, 1.0),
    "where of list": lambda a, o: np.where([k % 2 == 0 for k in range(a.shape[-1])], a, 2 * a),
    "norm": lambda a, o: np.linalg.norm(np.stack([a, a * 0 + 0.5]), axis=0),
    "masked sqrt": lambda a, o: updated(a * 0, a > 0, np.sqrt(a[a > 0]), "set"),
    "nested where": lambda a, o: np.where(a > 0, np.where(a > 1, np.log(a), np.sqrt(a)), a),
    "sum of sqrt where": lambda a, o: np.where(a > 0, np.sqrt(a) * np.log(a), 0).sum() / a.size,
    "sqrt of relu": lambda a, o: np.sqrt(ad.relu(a - 0.05) if is_tensor(a) else np.maximum(a - 0.05, 0)),
    "root of clip": lambda a, o: np.clip(a - 0.05, 0, 1.5) ** o.choice([0.5, 1.5]),
    "hypot": lambda a, o: np.hypot(a, o.choice([0, 1.0])),
    "log1p": lambda a, o: np.log1p(np.abs(a)),
    "mod by": lambda a, o: 3 % (1 + a * a),
    # Indices and writes
    "range": lambda a, o: a[range(len(a))] + a[range(len(a) - 1, -1, -1)],
    "list index": lambda a, o: a[[0, -1, 0]],
    "bool index": lambda a, o: a[[True] + [False] * (len(a) - 1)],
    "int array index": lambda a, o: a[np.array([[0, -1], [-1, 0]])],
    "ellipsis": lambda a, o: a[..., None, -1] * 2,
    "slice": lambda a, o: a[::-1] + a[-1],
    "mask": lambda a, o: a[a < 0.5] if (a < 0.5).any() else a,
    "written": lambda a, o: written(a, o.choice([0, -1, slice(1, None), [0, -1], range(1)]), o.choice([2, 0.5])),
    "set": lambda a, o: updated(a, o.choice([0, -1, slice(None, 1), [-1]]), a[:1] * a[-1], "set"),
    "set number": lambda a, o: updated(a, [0, -1], 0.5, o.choice(["set", "add", "multiply"])),
    "add repeated": lambda a, o: updated(a, [0, 0, -1], a[:1] * 0.5, "add"),
    "multiply repeated": lambda a, o: updated(a, [0, 0, -1], a[:1] + 0.5, "multiply"),
    "max at": lambda a, o: updated(a, [0, 0], 0.3 * a[-1:] + 0.01, "max"),
    # Shapes and views
    "reshape": lambda a, o: a.reshape(-1)[1:] if a.size > 1 else a.reshape(-1),
    "T": lambda a, o: a.T,
    "swapaxes": lambda a, o: np.swapaxes(a[None], 0, -1) * 0.5,
    "view of view": lambda a, o: a.T[::-1].reshape(-1)[::2] + 1,
    "concatenate": lambda a, o: np.concatenate([a, np.ones(a.shape), a * 2]),
    "broadcast": lambda a, o: np.broadcast_to(a, (2,) + a.shape) * np.array([1.0, 2.0]).reshape((2,) + (1,) * a.ndim),
    "built": lambda a, o: build([[a.sum() / a.size, 1.0], [2, a.reshape(-1)[-1]]]),
    "built flat": lambda a, o: build([a.reshape(-1)[0], True, 2.5, a.reshape(-1)[-1] * 2]),
    "list of results": lambda a, o: [0.5, 1.0] * np.stack([a.sum(), (a * a).sum()]) / a.size,
    # Reductions
    "sum": lambda a, o: a.sum(o.randrange(a.ndim)) / 2,
    "sum keepdims": lambda a, o: a - a.mean(o.randrange(a.ndim), keepdims=o.choice([True, 1, np.True_])),
    "var": lambda a, o: np.var(a, axis=-1, keepdims=o.choice([False, True, 1])) + a,
    "std": lambda a, o: np.std(np.concatenate([a, a + 1, 2 * a - 1]), axis=0),
    "max": lambda a, o: np.max(a, axis=o.choice([None, 0, -1]), keepdims=o.choice([False, True, 1])),
    "prod": lambda a, o: np.prod(np.cos(a), axis=-1),
    "diff": lambda a, o: np.diff(np.concatenate([a, np.ones(a.shape)]), axis=0),
    "diff of copies": lambda a, o: np.diff(np.broadcast_to(np.sqrt(np.abs(a[:1]) + 0.1), (3,) + a.shape[1:]), axis=0) + a[:1],
    "there and back": lambda a, o: (a.astype(np.float64) * 1).astype(a.dtype) + np.float32(0.5),
    "average": lambda a, o: np.average(a, axis=0, weights=1 + np.arange(len(a))),
    "cumsum": lambda a, o: np.cumsum(a, axis=o.choice([None, 0])) / a.size,
    "cumprod": lambda a, o: np.cumprod(np.sin(a), axis=0),
    "sort": lambda a, o: np.sort(a, axis=o.choice([-1, 0, None])),
    "ufunc reduce": lambda a, o: np.add.reduce(a) + np.multiply.reduce(np.cos(a)),
    "loop": lambda a, o: in_loop(a),
    # Derivatives inside, functions called again
    "checkpoint": lambda a, o: again(lambda z: np.sin(z) * z, a),
    "checkpoint twice": lambda a, o: again(lambda z: again(lambda w: np.tanh(w) + a, z * 0.5), a),
    "slope recorded": lambda a, o: slope_recorded(a),
    # Two values
    "a + b": lambda a, b, o: a + b,
    "a - b * 2": lambda a, b, o: a - b * 2,
    "a * b": lambda a, b, o: a * b,
    "a / b": lambda a, b, o: a / (1 + b * b),
    "sin a cos b": lambda a, b, o: np.sin(a) * np.cos(b),
    "where a < b": lambda a, b, o: np.where(a < b, a, b * b),
    "added to": lambda a, b, o: added_to(a, b),
    "slope inside": lambda a, b, o: slope_inside(a, b.sum() / b.size),
    "pushed": lambda a, b, o: pushed(a, b.sum() / b.size),
    "curved": lambda a, b, o: curved(a, b.sum() / b.size),
    "checkpoint of two": lambda a, b, o: again(lambda z, w: z * w + np.exp(-z * z), a, b),
    "closure": lambda a, b, o: again(lambda z: z * b + np.sin(b), a),
}  # fmt: skip
TWO = {name for name, step in STEPS.items() if step.__code__.co_argcount == 3}


@dataclass
class Program:
    leaves: list
    steps: list  # (name, operands, seed)
    seed: int

    def __call__(self, *leaves):
        values = list(leaves)
        for name, operands, seed in self.steps:
            values.append(STEPS[name](*(values[i] for i in operands), random.Random(seed)))
        rng = np.random.default_rng(self.seed)
        weights = [rng.standard_normal(np.shape(v)) / max(1, v.size) for v in values]
        return sum(((v * w).sum() for v, w in zip(values[:-1], weights)), 0.0) + 3 * (values[-1] * weights[-1]).sum()


SHAPES = [(1,), (3,), (2, 3), (3, 3), (1, 3), (2, 1), (3, 2), (2, 2, 2)]


def draw_program(length, seed):
    """The program of this seed; a shorter one of the same seed is its beginning, which is how Hypothesis shrinks."""
    rnd, rng = random.Random(seed), np.random.default_rng(seed)
    leaves = [rng.uniform(-1.8, 1.8, rnd.choice(SHAPES)) for _ in range(rnd.randint(1, 2))]
    if rnd.random() < 0.5:
        leaves[0].flat[rnd.randrange(leaves[0].size)] = rnd.choice([0.0, 1e-3, -1e-3])
    values, steps = list(leaves), []
    while len(steps) < length:
        name = rnd.choice(list(STEPS))
        operands = [len(values) - 1 - min(rnd.randrange(len(values)), rnd.randrange(len(values))) for _ in "ab"]
        operands, options = operands[: 1 + (name in TWO)], rnd.getrandbits(30)
        try:
            with np.errstate(all="ignore"):
                value = STEPS[name](*(values[i] for i in operands), random.Random(options))
        except (ValueError, IndexError, TypeError, AttributeError):  # it does not fit these shapes
            continue
        if isinstance(value, (np.ndarray, np.float64)) and value.dtype == float and 0 < value.size <= 60:
            if np.isfinite(value).all() and np.abs(value).max() < 30 and value.ndim < 5:
                values.append(value)
                steps.append((name, operands, options))
    return Program(leaves, steps, seed)


programs = st.builds(draw_program, st.integers(1, 9), st.integers(0, 2**32 - 1))


# Differences


COARSE, FINE = np.array([2e-4, 1e-4, 5e-5]), np.array([2e-7, 1e-7, 5e-8])


def one_side(f, leaves, direction, sign, steps):
    """The derivative to one side, and how far the estimates of it are apart: a kink or jump within the step sets them
    apart."""
    here = f(*leaves)
    first, second, third = (
        np.asarray((f(*[x + sign * h * d for x, d in zip(leaves, direction)]) - here) / (sign * h)) for h in steps
    )
    value = 2 * third - second
    return value, np.abs(value - (2 * second - first))


def between(f, leaves, direction, steps, tolerance):
    """The slopes of the two sides, and how far a derivative may be off them: infinitely where they do not converge."""
    (behind, apart), (ahead, apart_too) = (one_side(f, leaves, direction, s, steps) for s in (-1, 1))
    low, high = np.minimum(behind, ahead), np.maximum(behind, ahead)
    size = 1 + np.max(np.abs([low, high]), initial=0, where=np.isfinite(low) & np.isfinite(high))
    size = np.minimum(size, 1 + np.maximum(np.abs(low), np.abs(high)) * 100)
    return (
        low,
        high,
        np.where((apart < tolerance * size) & (apart_too < tolerance * size), 2 * tolerance * size, np.inf),
    )


def difference(f, leaves, direction):
    """The least and the greatest derivative along a direction that are right, and how far it may be off. At a kink any
    slope between those of the two sides is right; where one lies within the step, steps a thousand times as short tell
    the slope; where those of a side do not converge (a jump, a root at 0) nothing is known."""
    low, high, off = between(f, leaves, direction, COARSE, 1e-5)
    smooth = np.isfinite(off) & (high - low < off)
    ahead, behind = ([f(*[x + s * h * d for x, d in zip(leaves, direction)]) for h in COARSE[1:]] for s in (1, -1))
    half, quarter = ((a - b) / (2 * h) for a, b, h in zip(ahead, behind, COARSE[1:]))
    central, apart = (4 * quarter - half) / 3, np.abs(quarter - half)
    low, high = np.where(smooth, central, low), np.where(smooth, central, high)
    off = np.where(smooth, 1e-6 * (1 + np.abs(central)) + apart, off)
    unknown = ~np.isfinite(off)
    if unknown.any():
        closer = between(f, leaves, direction, FINE, 1e-4)
        low, high, off = (np.where(unknown, b, a) for a, b in zip((low, high, off), closer))
    return low, high, off


def compare(found, low, high, off, what):
    """A derivative is between the slopes of the two sides."""
    found, known = np.asarray(found), np.isfinite(off)
    right = (found >= low - off) & (found <= high + off)
    assert right[known].all(), f"{what}: {found}, by differences {low} … {high} within {off}"


def along(gradient, direction):
    """The derivative along a direction, by the elements that it moves."""
    return sum((g[d != 0] * d[d != 0]).sum() for g, d in zip(gradient, direction))


def joined(arrays):
    return np.concatenate([np.ravel(a) for a in arrays])


@np.errstate(all="ignore")
def check(program):
    note(f"{program}")
    leaves, argnums = program.leaves, tuple(range(len(program.leaves)))
    np.testing.assert_allclose(program(*[Tensor(x) for x in leaves]).numpy(), program(*leaves), rtol=1e-11, atol=1e-12)
    gradient = ad.grad(program, argnums)
    slopes = gradient(*leaves)
    rng = np.random.default_rng(program.seed + 1)
    # One direction along which exact zeros stay what they are, and single elements
    v = [rng.standard_normal(x.shape) * (x != 0) for x in leaves]
    ones = [[np.eye(1, x.size, rng.integers(x.size)).reshape(x.shape) * (i == j) for i, x in enumerate(leaves)]
            for j in argnums]  # fmt: skip
    for d in (v, *ones):
        compare(along(slopes, d), *difference(program, leaves, d), "gradient")
    curvature, change = joined(ad.hvp(program, tuple(leaves), tuple(v))), lambda *x: joined(gradient(*x))
    compare(curvature, *difference(change, leaves, v), "Hessian-vector product")
    tangent = float(ad.jvp(program, tuple(leaves), tuple(v))[1])
    if np.isfinite(tangent) or np.isfinite(along(slopes, v)):
        np.testing.assert_allclose(tangent, along(slopes, v), rtol=1e-9, atol=1e-10)
    return slopes


few, many = settings(max_examples=120), settings(max_examples=2000, deadline=None)


@few
@given(programs)
def test_derivatives_of_programs_that_mix_numbers_lists_arrays_and_tensors_are_the_limits_of_differences(program):
    check(program)


@pytest.mark.slow
@many
@given(programs)
def test_derivatives_of_two_thousand_programs_are_the_limits_of_differences(program):
    check(program)


# The judge of kinks


@pytest.mark.parametrize("at", [0.0, 1e-5, -1e-5, 0.3])
@pytest.mark.parametrize("f, slopes", [(np.abs, (-1, 1)), (lambda x: np.maximum(x, 0), (0, 1))])
def test_differences_accept_the_slopes_of_the_two_sides_of_a_kink_and_no_others(f, slopes, at):
    low, high, off = difference(f, [np.array(at)], [np.array(1.0)])
    np.testing.assert_allclose((low, high), slopes if at == 0 else (slopes[at > 0],) * 2, atol=1e-7)
    assert off < 1e-3
    with pytest.raises(AssertionError):
        compare(1.5, low, high, off, "no slope of either side")


@pytest.mark.parametrize("f, at", [(np.floor, 0.0), (lambda x: np.sqrt(np.maximum(x, 0)), 0.0)])
def test_differences_know_nothing_of_a_jump_and_of_a_root(f, at):
    assert difference(f, [np.array(at)], [np.array(1.0)])[2] == np.inf


# Leaves that are made and written in every way


def leaf_by(way, x):
    """A leaf with the values `x`, that came to hold them by a write before it is used."""
    if way == "made":
        return Tensor(x, requires_grad=True)
    p = Tensor(x + 1, requires_grad=True)
    (p * p).sum().backward()  # used before, in a graph that is gone
    if way == "data assigned":
        p.data = x
    elif way == "data written":
        p.data[...] = x
    elif way == "alias kept":
        alias = p.data
        alias -= 1
        np.copyto(alias, x)
    else:
        with ad.no_grad():
            p -= 1
            p[...] = x
    p.zero_grad()
    return p


WAYS = ["made", "data assigned", "data written", "alias kept", "in place"]


def write_after(way, p):
    if way == "data assigned":
        p.data = p.numpy() + 0.5
    elif way in ("made", "data written"):
        p.data[...] += 0.5
    elif way == "alias kept":
        p.data.reshape(-1)[0] += 0.5
    else:
        with ad.no_grad():
            p += 0.5


def gradients_of(y, leaves):
    found = ad.gradients(y, leaves, allow_unused=True)
    return [Tensor(np.zeros(p.shape)) if g is None else g for g, p in zip(found, leaves)]


@np.errstate(all="ignore")
def check_written(program, ways):
    note(f"{program}")
    expected = ad.grad(program, tuple(range(len(program.leaves))))(*program.leaves)
    leaves = [leaf_by(way, x) for way, x in zip(ways, program.leaves)]
    y = program(*leaves)
    for g, e in zip(gradients_of(y, leaves), expected):
        np.testing.assert_allclose(g.numpy(), e, rtol=1e-11, atol=1e-12)
    for p, way in zip(leaves, ways):
        write_after(way, p)
    try:
        found = gradients_of(y, leaves)
    except RuntimeError as error:
        assert "written or assigned" in str(error) or "the second run" in str(error)
    else:  # nothing that was recorded depends on the values
        for g, e in zip(found, expected):
            np.testing.assert_allclose(g.numpy(), e, rtol=1e-11, atol=1e-12)
    renewed = ad.grad(program, tuple(range(len(leaves))))(*[p.numpy() for p in leaves])
    for g, e in zip(gradients_of(program(*leaves), leaves), renewed):
        np.testing.assert_allclose(g.numpy(), e, rtol=1e-11, atol=1e-12)


both = st.tuples(st.sampled_from(WAYS), st.sampled_from(WAYS))


@few
@given(programs, both)
def test_a_leaf_that_is_written_has_the_gradient_of_its_values_and_what_was_recorded_before_refuses(program, ways):
    check_written(program, ways)


# Other precisions


@np.errstate(all="ignore")
def check_precision(program, kinds):
    note(f"{program}")
    leaves = [x.astype(kind) for x, kind in zip(program.leaves, kinds)]
    argnums = tuple(range(len(leaves)))
    exact = ad.grad(program, argnums)(*[x.astype(float) for x in leaves])
    found = ad.grad(program, argnums)(*leaves)
    size = max(1.0, *(np.abs(e[np.isfinite(e)]).max(initial=0) for e in exact))
    for g, e, x in zip(found, exact, leaves):
        assert g.dtype == x.dtype and g.shape == x.shape
        digits = {"e": 0.05, "f": 1e-4, "d": 1e-4}[min((k.dtype.char for k in leaves), key="efd".index)]
        known = np.isfinite(e)
        assert (np.abs(g[known] - e[known]) <= digits * size).all(), f"{g}, in double precision {e}"


precisions = st.tuples(*[st.sampled_from([np.float16, np.float32, np.float64])] * 2)


@few
@given(programs, precisions)
def test_gradients_in_half_and_single_precision_are_those_in_double_precision_rounded(program, kinds):
    check_precision(program, kinds)
