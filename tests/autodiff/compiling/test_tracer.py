"""A traced function's program gives on other inputs what the function gives."""

import math
import numbers
import statistics
import types
import zlib

import numpy as np
import pytest

import autodiff as ad
from autodiff import Tensor
from autodiff.compiling import lowering  # noqa: F401 (what NumPy's functions become)
from autodiff.compiling.source import Source, numpy_function
from autodiff.compiling.tracer import Trace, TraceError, Tracer, stripped
from autodiff.tensor import wrap


def traced(function, *arrays):
    """The function as a program, and its source; the program also says whether what it took for granted holds."""
    trace = Trace()
    inputs = [wrap(trace.input(a, f"x{i}")) for i, a in enumerate(arrays)]
    results = function(*inputs)
    results = results if isinstance(results, (tuple, list)) else (results,)
    program = trace.program([stripped(r._ndarray if isinstance(r, Tensor) else r) for r in results])
    run, unmet = numpy_function(Source(program))

    def checked(*given):
        try:
            return run(*given), True
        except unmet:
            return None, False

    return checked, program


def loss(x, w, b):
    return (np.tanh(x @ w + b) ** 2).mean()


def softplus_where(x, w, b):
    h = np.where(x @ w > 0, x @ w, 0.1 * (x @ w)) + b
    return np.log(1 + np.exp(h)).sum() + h.max() + h[:, 1:].T.reshape(-1).sum()


def maxima(x, w, b):
    return (np.maximum(x @ w, b) * np.minimum(x @ w, 0.5)).sum() + np.abs(x).sum()


FUNCTIONS = (loss, softplus_where, maxima)


def arrays(seed, dtype):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=shape).astype(dtype) for shape in ((5, 3), (3, 4), (4,))]


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("function", FUNCTIONS)
def test_the_program_of_a_gradient_gives_the_gradient_of_other_inputs_to_the_bit(function, dtype):
    gradient = ad.value_and_grad(function, (0, 1, 2))

    def flat(*xs):
        value, slopes = gradient(*xs)
        return (value, *slopes)

    run, _ = traced(flat, *arrays(0, dtype))
    for seed in range(1, 5):
        found, holds = run(*arrays(seed, dtype))
        assert holds
        for a, b in zip(found, flat(*map(Tensor, arrays(seed, dtype)))):
            assert a.dtype == b.dtype and a.shape == b.shape
            np.testing.assert_allclose(a, b.data, rtol=4 * np.finfo(dtype).eps, atol=4 * np.finfo(dtype).eps)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_the_program_of_a_hessian_product_gives_that_of_other_inputs(function):
    def product(x, w, b):
        return ad.hvp(lambda w: function(x, w, b), w, w * 0.5)

    run, _ = traced(product, *arrays(0, float))
    found, holds = run(*arrays(1, float))
    assert holds
    np.testing.assert_allclose(found[0], product(*map(Tensor, arrays(1, float))).data, rtol=1e-12, atol=1e-14)


def test_a_value_that_decided_about_the_way_is_a_guard():
    def f(x):
        return x * 2 if float(x.sum()) > 0 else -x

    run, program = traced(f, np.ones(3))
    assert len(program.guards) == 1
    assert run(np.ones(3))[1] and not run(-np.ones(3))[1]


def test_an_infinite_slope_breaks_an_assumption_and_no_number_is_trusted():
    run, program = traced(ad.grad(lambda x: np.sqrt(x).sum()), np.ones(3))
    assert program.assumptions
    assert run(np.array([1.0, 4.0, 9.0]))[1]
    with np.errstate(all="ignore"):
        assert not run(np.array([0.0, 4.0, 9.0]))[1]


def test_a_write_leaves_the_input_as_it_is_and_stale_names_are_refused():
    trace = Trace()
    x = trace.input(np.arange(3.0), "x")
    y = x.copy()
    y += 1
    y[0] = 7
    assert np.array_equal(x.value, [0, 1, 2]) and np.array_equal(y.value, [7, 2, 3])
    other, view = y[:], y[1:]
    view *= 2
    assert np.array_equal(y.value, [7, 4, 6])
    with pytest.raises(TraceError, match="written through another name"):
        other + 1


@pytest.mark.parametrize(
    "do, match",
    [
        (np.asarray, "numbers of the first call for ever"),
        (lambda x: x[x > 0], "shape depends on values"),
        (np.nonzero, "shape depends on values"),
        (lambda x: np.add(np.zeros(3), x, out=np.zeros(3)), "into a NumPy array"),
    ],
)
def test_what_no_program_can_repeat_is_refused_with_the_line(do, match):
    with pytest.raises(TraceError, match=match) as caught:
        do(Trace().input(np.ones(3), "x"))
    assert "test_tracer.py" in str(caught.value)


def test_equal_calls_are_one_node_and_unused_ones_none():
    _, program = traced(lambda x: (np.exp(x) + np.exp(x), np.sin(x))[0], np.ones(3))
    assert [node.op for node in program.nodes] == ["exp", "add"]


def test_negative_zero_is_not_taken_for_zero():
    trace = Trace()
    x = trace.input(np.ones(1), "x")
    assert isinstance(x, Tracer) and (x * 0.0).node is not (x * -0.0).node


def test_the_source_runs_with_numpy_alone():
    _, program = traced(ad.grad(lambda x: (x * np.sin(x)).sum()), np.ones(3))
    source = Source(program)
    names = {}
    exec(source.text, names)
    x = np.array([0.1, 0.2, 0.3])
    found = names["program"](x)[0]
    assert not source.arrays and zlib.crc32(found) == zlib.crc32(
        ad.grad(lambda x: (x * np.sin(x)).sum())(Tensor(x)).data
    )


def running(x):
    total, parts = x[0] * 0, []
    for i in range(3):
        total += x[i]
        parts.append(total)
    return parts


def first_then_twice(x):
    total = x.sum()
    first = total
    total *= 2
    return first, total


def of_a_tensor(x):
    loss = (ad.tensor(x) * 2).sum()
    m = loss.data
    before = m
    m += 1
    return before, m, loss


def in_parts(x):
    y = x.copy()
    y[0] += 1
    y[1:] *= 2
    return y


def element(x):
    a = x[0]
    a -= 1
    return x * a, x[()], x.sum()[()]


def alone(x):
    total = x.sum()[...]
    same = total
    total += 1
    return same, total


@pytest.mark.parametrize("f", [running, first_then_twice, of_a_tensor, in_parts, element, alone])
@pytest.mark.parametrize("backend", ["numpy", "native"])
def test_an_operation_in_place_rebinds_a_scalar_and_writes_an_array(f, backend):
    compiled = ad.compile(f, backend=backend)
    for x in (np.array([1.0, 2.0, 3.0]), np.array([2.0, 5.0, -4.0])):
        assert_same(compiled(x.copy()), f(x.copy()))


@pytest.mark.parametrize("given", [np.float64, np.array, np.float32])
@pytest.mark.parametrize("backend", ["numpy", "native"])
def test_a_number_without_axes_is_an_array_or_a_scalar_as_it_was_given(given, backend):
    def f(s):
        t = s
        s += 1
        return t, s, s * 2

    compiled = ad.compile(f, backend=backend)
    for value in (2.0, 3.0):
        ours, theirs = given(value), given(value)
        assert_same(compiled(ours), f(theirs))
        assert_same(ours, theirs)


def assert_same(a, b):
    """Types, dtypes, shapes and values."""
    assert type(a) is type(b)
    if isinstance(a, (tuple, list)):
        assert len(a) == len(b)
        for x, y in zip(a, b):
            assert_same(x, y)
    elif isinstance(a, Tensor):
        assert_same(a.data, b.data)
    elif isinstance(a, (int, float)) and not isinstance(a, np.generic):
        assert a == b
    else:
        assert a.dtype == b.dtype and a.shape == b.shape
        np.testing.assert_array_equal(a, b)


def the_same_or_refused(f, *calls):
    """Each call gives what the function gives and leaves its arguments so, or is refused with the line."""
    compiled = ad.compile(f)
    for given in calls:
        ours, theirs = [[np.array(a) if isinstance(a, np.ndarray) else a for a in given] for _ in range(2)]
        try:
            found = compiled(*ours)
        except TraceError as error:
            assert "test_tracer.py" in str(error)
            np.testing.assert_equal(ours, list(given))
            return False
        assert_same(found, f(*theirs))
        assert_same(ours, theirs)
    return True


VIEWS = {
    "C copy of a transpose, ravel": lambda y: y.T.copy().ravel(), "copy ravel": lambda y: y.ravel(),
    "split": lambda y: np.split(y, 2)[0], "atleast_3d": np.atleast_3d, "rot90": np.rot90, "real": np.real,
    "flipud": np.flipud, "unstack": lambda y: np.unstack(y)[0], "hsplit": lambda y: np.hsplit(y, 3)[0],
    "windows": lambda y: np.lib.stride_tricks.sliding_window_view(y, 2, axis=1, writeable=True),
    "nan_to_num": lambda y: np.nan_to_num(y, copy=False), "squeeze": lambda y: np.squeeze(y[:1]),
    "swapaxes": lambda y: y.swapaxes(0, 1), "flatten": lambda y: y.T.flatten().reshape(3, 2), "T": lambda y: y.T,
    "broadcast_arrays": lambda y: np.broadcast_arrays(y, y)[0], "element": lambda y: y[0, 0], "row": lambda y: y[0],
    "roll": lambda y: np.roll(y, 0), "clip": lambda y: np.clip(y, 0, 3, out=y), "0-d index": lambda y: y[np.array(1)],
    "ascontiguousarray": np.ascontiguousarray, "expand_dims": lambda y: np.expand_dims(y, 0), "whole": lambda y: y[...],
}  # fmt: skip


@pytest.mark.parametrize("name", VIEWS)
@pytest.mark.parametrize("order", ["C", "F"])
def test_what_is_a_view_in_numpy_is_one_here_or_a_write_is_refused(name, order):
    view = VIEWS[name]

    def base_written(x):
        y = x.copy(order)
        r = view(y)
        y[0, 0] = 77
        return r, y

    def view_written(x):
        y = x.copy(order)
        r = view(y)
        r += 1
        return r, y

    def written_before(x):
        y = np.zeros_like(x, order=order)
        y[...] = x.T.copy().T * 2.0
        r = y.ravel()
        r += 1
        return y

    x = np.arange(6.0).reshape(2, 3)
    for f in (base_written, view_written, written_before):
        the_same_or_refused(f, (x,), (-x,))


def test_an_element_at_an_index_that_is_an_argument_is_a_view_as_in_numpy():
    def f(x, i):
        y = x.copy()
        r = y[i]
        r += 1
        return y

    x = np.arange(6.0).reshape(2, 3)
    the_same_or_refused(f, (x, np.int64(1)), (x, np.int64(0)))
    the_same_or_refused(f, (x, np.array([1])), (x, np.array([0])))


@pytest.mark.parametrize("copy", [lambda x: x.copy(), lambda x: x.T.copy(), np.copy, lambda x: np.copy(x.T, order="C")])
@pytest.mark.parametrize("flat", [lambda y: y.ravel(), lambda y: y.reshape(-1), lambda y: y.ravel("F")])
def test_a_copy_has_numpys_layout_on_which_it_depends_what_is_a_view_of_it(copy, flat):
    def f(x):
        y = copy(x)
        r = flat(y)
        r += 1
        return y

    x = np.arange(6.0).reshape(2, 3)
    the_same_or_refused(f, (x,), (-x,))
    the_same_or_refused(f, (np.asfortranarray(x),), (np.asfortranarray(-x),))


def sum_into(x):
    out = np.zeros_like(x[0])
    kept = x.max(axis=0, out=out)
    return out, kept is out, x.sum(axis=0, initial=2.0), x.sum(0, None, None, True), np.cumsum(x, 0, None, x.copy())


def by_type(x):
    total = x.sum()
    kinds = [isinstance(x, np.ndarray), isinstance(total, float), isinstance(total, np.ndarray), np.isscalar(total),
             isinstance(total, numbers.Real), isinstance(x, numbers.Real), isinstance(total, np.floating),
             isinstance(ad.tensor(x).data, np.ndarray)]  # fmt: skip
    match x:
        case np.ndarray():
            kinds.append("array")
    return x * sum(2**i for i, kind in enumerate(kinds) if kind)


def by_hash(x):
    return x * {6.0: 2.0, 9.0: 3.0}.get(x.sum(), 5.0)


def signed(x):
    return x + math.copysign(1.0, float(x[0, 0])) if x.ndim > 1 else x


def rounded(x):
    return round(x[0, 0], 1), round(x[0, 1]), divmod(x, 2.0), divmod(7.0, x + 9)


def into_small_integers(x):
    y = np.zeros_like(x, dtype=np.uint8)
    y[:] = 200
    y[0] += 1
    y[...] = np.abs(x)
    return y


GIVEN = np.array([[1.25, 2.0, 2.75], [0.5, -0.25, -0.25]])


@pytest.mark.parametrize("f", [sum_into, by_type, by_hash, signed, rounded, into_small_integers])
def test_methods_types_and_numbers_are_those_of_numpy(f):
    zero, negative = GIVEN.copy(), GIVEN.copy()
    zero[0, 0], negative[0, 0] = 0.0, -0.0
    assert the_same_or_refused(f, (GIVEN,), (GIVEN * 1.5,), (zero,), (negative,))


def test_parts_of_complex_arrays_are_those_of_numpy():
    def f(x):
        return x.real * 1.0, x.imag + 0.0, x.conj(), np.conj(x), (x * x.conj()).real.copy(), x.real.conj() * 2

    assert the_same_or_refused(f, (GIVEN + 1j,), (GIVEN - 2j * GIVEN,))
    assert the_same_or_refused(f, (GIVEN,), (-GIVEN,))


def test_the_sign_of_a_complex_zero_decides():
    def f(x):
        return x * np.angle(complex(x[0]))

    assert the_same_or_refused(f, (np.array([-1 + 0j]),), (np.array([complex(-1, -0.0)]),))


class Doubled(np.ndarray):
    pass


def raises_inside(x):
    with np.errstate(divide="raise"):
        return 1 / x


@pytest.mark.parametrize(
    "f",
    [
        lambda x: f"{x.sum()}",
        lambda x: x * len(str(x.sum())),
        lambda x: x * len(repr(x)),
        lambda x: x * len(f"{x}"),
        lambda x: x.flat[0] * 2,
        lambda x: x * (2 if hasattr(x, "tobytes") else 3),
        lambda x: x.view(np.int64),
        lambda x: np.array([x[0, 0], x[0, 1]]),
        lambda x: np.full(3, x[0, 0]),
        lambda x: np.zeros((3, 3)).__setitem__(0, x[0]),
        lambda x: x.sum(axis=0, out=np.zeros_like(x[0], dtype="f4")),
        lambda x: x * np.ma.array([1.0, 2.0, 3.0], mask=[0, 1, 0]),
        lambda x: x + np.ones(3).view(Doubled),
        lambda x: np.nan_to_num(x, copy=False),
        raises_inside,
    ],
)
def test_what_would_be_that_of_the_first_call_for_ever_is_refused_and_runs_as_it_is(f):
    with pytest.raises(TraceError, match=r"test_tracer\.py"):
        ad.compile(f)(GIVEN)
    compiled = ad.compile(f, on_unsupported="eager")
    for x in (GIVEN, -GIVEN):
        np.testing.assert_equal(compiled(x.copy()), f(x.copy()))


@pytest.mark.parametrize("x", [np.ma.array([1.0, 2.0], mask=[0, 1]), np.ones(3).view(Doubled)])
def test_arrays_that_compute_otherwise_are_refused_as_arguments(x):
    with pytest.raises(TraceError, match=type(x).__name__):
        ad.compile(lambda x: x * x)(x)


@pytest.mark.parametrize(
    "f",
    [
        lambda x: x.transpose(0, 2), lambda x: x.transpose(0, 0), lambda x: x.transpose(0), lambda x: x.swapaxes(0, 2),
        lambda x: np.sort(x, axis=2), lambda x: np.argsort(x, axis=-3), lambda x: x.sum(axis=2),
        lambda x: x.sum(axis=(0, 2)), lambda x: x.sum(axis=(0, 0)), lambda x: np.take(x, 0, axis=2),
        lambda x: np.concatenate([x, x], axis=2), lambda x: x.sum(axis=1.0), lambda x: x.max(axis=-3),
        lambda x: np.cumsum(x, axis=2), lambda x: x.astype(int, casting="safe"),
        lambda x: np.copyto(np.zeros_like(x, dtype=int), x), lambda x: np.add(x, 1, casting="wrong"),
        lambda x: x.mean(axis=2), lambda x: x.squeeze(0), lambda x: np.stack([x, x], axis=4), lambda x: hash(x),
        lambda x: x.nothing,
    ],
)  # fmt: skip
def test_bad_axes_and_casts_are_errors_of_numpys_kind(f):
    with pytest.raises(Exception) as expected:
        f(GIVEN.copy())
    with pytest.raises(type(expected.value)):
        ad.compile(f)(GIVEN.copy())


@pytest.mark.parametrize("dtype", ["f4", "f8", "i1"])
@pytest.mark.parametrize("backend", ["numpy", "native"])
def test_a_clip_has_numpys_signs_of_zero_and_bounds_beyond_the_dtype(backend, dtype):
    x = np.resize(np.array([0.0, -0.0, 1, -1, 5, -7]), 7).astype(dtype)
    for bounds in ((0.0, 1.0), (-0.0, 1.0), (-1.0, 0.0), (None, 0.0), (0.0, None), (3.0, 1.0), (-1000, 1000)):

        def f(x, bounds=bounds):
            return np.clip(x, *bounds)

        compiled = ad.compile(f, backend=backend)
        for given in (x, -x):
            assert_same(compiled(given), f(given))
            assert np.array_equal(np.signbit(compiled(given)), np.signbit(f(given)))


def generated(x):
    yield x * 2


@pytest.mark.parametrize(
    "f",
    [
        lambda x: {x[0]},
        lambda x: types.SimpleNamespace(a=[x * 2]),
        lambda x: lambda: x,
        generated,
        lambda x: map(np.sin, x),
        lambda x: {x.sum(): 1},
        type,
    ],
)
def test_results_in_which_traced_arrays_hide_are_refused(f):
    with pytest.raises(TraceError, match="traced arrays are kept"):
        ad.compile(f)(np.ones(2))


def test_an_error_that_speaks_of_the_array_that_writes_down_is_one_of_tracing():
    def f(x):
        try:
            return statistics.mean(x)
        except AttributeError:
            return x

    with pytest.raises(TraceError, match="numerator"):
        ad.compile(f)(np.ones(2))
    assert ad.compile(f, on_unsupported="eager")(np.ones(2)) == 1


def test_noise_of_a_generator_made_inside_is_refused_but_not_of_a_seed():
    def noisy(x, seed):
        return x + np.random.default_rng(seed).normal(size=2)

    with pytest.raises(TraceError, match="random numbers"):
        ad.compile(noisy)(np.ones(2), None)
    assert the_same_or_refused(noisy, (np.ones(2), 3), (np.zeros(2), 3))
    np.random.default_rng()
