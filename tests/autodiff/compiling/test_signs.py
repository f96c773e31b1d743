"""Signs and doublings that a program moves into sums and constants change no bit of a result."""

import re

import numpy as np
import pytest

import autodiff as ad

BACKENDS = ("numpy", "native")
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")
EDGES = [0.0, -0.0, 1.0, -1.0, 3.0, 0.1, np.inf, -np.inf, np.nan]


def calls(run):
    """The calls that a program makes, by name."""
    return re.findall(r"np\.(\w+)\(", run.source.partition('"""\n')[2])


def same_bits(found, expected):
    np.testing.assert_array_equal(found, expected)
    numbers = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(found)[numbers], np.signbit(expected)[numbers])


def random_function(rng):
    """A function of three arrays, of ten calls, and what of them it gives."""
    steps = []
    for n in range(3, 13):
        op = rng.choice(["negative", "negative", "double", "add", "subtract", "multiply", "divide", "scale", "shift"])
        steps.append((op, rng.integers(n), rng.integers(n), float(rng.choice([-2.0, 0.5, 3.0, 100.0, -0.1]))))
    given = [12, *rng.choice(13, 2)]

    def function(*values):
        values = list(values)
        for op, i, k, c in steps:
            a, b = values[i], values[k]
            values.append({"negative": lambda: -a, "double": lambda: a + a, "scale": lambda: c * a,
                           "shift": lambda: c - a}.get(op, lambda: getattr(np, op)(a, b))())  # fmt: skip
        return tuple(values[i] for i in given)

    return function


@pytest.mark.parametrize("seed", range(40))
def test_random_sums_and_products_with_signs_are_the_same_bits_zeros_and_infinities_too(seed):
    rng = np.random.default_rng(seed)
    function = random_function(rng)
    run = ad.compile(function, backend="numpy")
    for _ in range(2):
        values = [rng.choice(EDGES, 40) for _ in range(3)]
        for x, y in zip(run(*values), function(*values), strict=True):
            same_bits(x, y)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda a, b: a + -b, ["subtract"]),
        (lambda a, b: -a + b, ["subtract"]),
        (lambda a, b: a - -b, ["add"]),
        (lambda a, b: -a - -b, ["subtract"]),
        (lambda a, b: -a * -b, ["multiply"]),
        (lambda a, b: a + (-b) * a, ["multiply", "subtract"]),
        (lambda a, b: a + b / -a, ["divide", "subtract"]),
        (lambda a, b: -(a + a) * 3.0 + b, ["multiply", "add"]),
        (lambda a, b: 100 * a + a * 100 + b, ["multiply", "add"]),
        (lambda a, b: -(3 * a) * b, ["multiply", "multiply"]),
        (lambda a, b: a * b + b * a, ["multiply", "add"]),
        (lambda a, b: -(a + b), ["add", "negative"]),  # the zeros of −a − b have other signs
    ],
)
def test_a_sign_costs_no_call_where_a_sum_or_a_constant_takes_it(function, expected, backend):
    run = ad.compile(function, backend=backend)
    values = np.repeat(EDGES, len(EDGES)), np.tile(EDGES, len(EDGES))
    same_bits(run(*values), function(*values))
    assert calls(run) == expected


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda a, b: (-b, a * -b, a * -b + a), ["negative", "multiply", "add"]),
        (lambda a, b: (3 * a, b + -(3 * a)), ["multiply", "subtract"]),
    ],
)
def test_what_is_needed_as_it_is_is_not_computed_twice(function, expected):
    run = ad.compile(function, backend="numpy")
    values = np.repeat(EDGES, len(EDGES)), np.tile(EDGES, len(EDGES))
    for found, wanted in zip(run(*values), function(*values), strict=True):
        same_bits(found, wanted)
    assert calls(run) == expected


def test_a_constant_takes_no_factor_that_it_could_not_have_in_full():
    for c in (1e38, 3e-39, 1e-45):
        run = ad.compile(lambda x: (c * x) * -1.0 + (x * np.float32(c)), backend="numpy")
        double = ad.compile(lambda x: c * x + c * x, backend="numpy")
        for x in (np.float32([1e-7, 3.0, -1e-3]), np.float32([2.0, 1e-38, 1.5])):
            same_bits(run(x), (c * x) * -1.0 + (x * np.float32(c)))
            same_bits(double(x), c * x + c * x)


@pytest.mark.parametrize("backend", BACKENDS)
def test_constants_of_no_axis_that_take_a_sign_are_two_constants(backend):
    def f(x):
        y = -np.sin(x)
        return np.array(1.25) * y, x * 0.5 * y, -(x * np.array(0.75)) * 3, -x * np.float32([1.5])

    run = ad.compile(f, backend=backend)
    for x in np.random.default_rng(0).normal(size=4):
        for found, expected in zip(run(np.array(x)), f(np.array(x)), strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-15)


def test_a_value_that_is_decided_on_keeps_its_sign():
    def chosen(x):
        y = -(x + x)
        return (x - y if y.sum() > 0 else x + y), y

    run = ad.compile(chosen, backend="numpy")
    for x in (np.array([1.0, -3.0]), np.array([1.0, 3.0]), np.array([-1.0, 0.0])):
        for found, expected in zip(run(x), chosen(x), strict=True):
            same_bits(found, expected)


def test_a_parameter_that_is_written_gets_the_value_with_its_sign():
    def step(w, g):
        w -= 0.5 * -(g + g)
        return -w

    run, w, u = ad.compile(step, backend="numpy"), np.ones(3), np.ones(3)
    for g in (np.array([1.0, -0.0, 2.0]), np.array([0.5, 1.0, -7.0])):
        same_bits(run(w, g), step(u, g))
        same_bits(w, u)
