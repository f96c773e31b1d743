"""Code as users of NumPy write it every day: compiled it gives what it gives as it is, or says why it cannot be compiled.

Each case is called several times with other values, states and kinds of arguments, on both back ends.
"""

import collections
import enum
import os
import threading
import types

import numpy as np
import pytest

import autodiff as ad
from autodiff import Tensor
from autodiff.compiling.tracer import TraceError
from autodiff.opaque import Opaque
from tests.autodiff.compiling.test_compile import same

A = np.arange(6.0).reshape(2, 3)
B = np.random.default_rng(0).normal(size=(2, 3))
FACTOR = 2.0
BACKENDS = pytest.mark.parametrize("backend", ["numpy", "native"])


def outcome(f, args):
    """What a call gives, its error, and what it leaves in its arguments."""
    with np.errstate(all="ignore"):
        try:
            return f(*args)
        except TraceError:
            raise
        except Exception as error:
            return type(error).__name__


def agree(f, calls, backend="numpy", twin=None):
    """A compiled function gives at these calls what the function gives; a call without arguments changes something."""
    compiled = ad.compile(f, backend=backend)
    for args in calls:
        if callable(args):
            args()
            continue
        same(outcome(compiled, args), outcome(twin or f, args))
    return compiled


def inverse_or_zero(x):
    try:
        return np.linalg.inv(x)
    except np.linalg.LinAlgError:
        return x * 0


def picked(x, i):
    try:
        return x[i]
    except IndexError:
        return x * 0


def power_or_square(x):
    try:
        return 2**x
    except ValueError:
        return x**2


@BACKENDS
@pytest.mark.parametrize("f, calls", [
    (inverse_or_zero, [(np.zeros((2, 2)),), (2 * np.eye(2),), (np.zeros((2, 2)),), (np.eye(2),)]),
    (inverse_or_zero, [(np.eye(2),), (np.zeros((2, 2)),), (2 * np.eye(2),)]),
    (picked, [(A[0], np.array(7)), (A[0], np.array(1)), (A[0], np.array(2))]),
    (power_or_square, [(np.array([-1, 2]),), (np.array([1, 2]),), (np.array([3, 0]),)]),
])  # fmt: skip
def test_an_error_of_numpys_that_is_caught_decides_about_no_other_call(f, calls, backend):
    agree(f, calls, backend)


class Grade(enum.IntEnum):
    ONE = 1
    TWO = 2


class Count(int):
    pass


class Weight(float):
    def __new__(cls, value, extra):
        made = super().__new__(cls, value)
        made.extra = extra
        return made


class Label(str):
    pass


def label(text, extra):
    made = Label(text)
    made.extra = extra
    return made


@BACKENDS
@pytest.mark.parametrize("f, values", [
    (lambda x, e: [x * e, x[e - 1], x.astype("i1") + e, e == 1], [Grade.ONE, Grade.TWO, 1, Grade.ONE, Count(1)]),
    (lambda x, w: x.astype("f4") * w + w.extra, [Weight(1, 2), Weight(1, 3), Weight(2, 3)]),
    (lambda x, text: x * text.extra, [label("a", 2), label("a", 3)]),
    (lambda x, c: [x * c, c], [complex(0.0, 1), complex(-0.0, 1), complex("nan"), complex(1, -0.0)]),
])  # fmt: skip
def test_subclasses_of_pythons_numbers_and_signs_of_zeros_are_arguments_of_their_own(f, values, backend):
    compiled = agree(f, [(A, v) for v in values], backend)
    for v in filter(lambda v: isinstance(v, complex), values):
        for a, b in zip(compiled(A, v), f(A, v), strict=True):
            np.testing.assert_array_equal(np.signbit(a.real), np.signbit(b.real))


def test_what_a_number_of_a_subclass_keeps_is_seen():
    held = [Weight(1, 2)]
    agree(lambda x: x * held[0] + held[0].extra, [(A,), lambda: held.__setitem__(0, Weight(1, 5)), (A,)])
    agree(lambda x: x * held[0] + held[0].extra, [(A,), lambda: setattr(held[0], "extra", 7), (A,)])


@BACKENDS
def test_constants_keep_signs_of_zeros_infinities_and_nans(backend):
    k = np.array([complex(-0.0, 1), complex("nan"), complex(np.inf, -0.0), 1j])
    r = np.array([np.nan, np.inf, -0.0, 5e-324])

    @np.errstate(invalid="ignore")
    def f(x):
        return x * k, x + complex(-0.0, -0.0), x * r, x * -0.0, k, np.ldexp(x, 2), np.where(x > 1, np.nan, x)

    compiled = agree(f, [(np.arange(4.0),), (-np.arange(4.0),)], backend)
    for a, b in zip(compiled(np.arange(4.0)), f(np.arange(4.0)), strict=True):
        np.testing.assert_array_equal(np.signbit(a.real), np.signbit(b.real))
        np.testing.assert_array_equal(np.signbit(a.imag), np.signbit(b.imag))
    assert "run as it is" not in compiled.explain() and "failed" not in compiled.explain()


# What is read in ways that hide it


def test_variables_that_are_read_by_a_string_are_watched(monkeypatch):
    agree(
        lambda x: x * globals()["FACTOR"] + eval("FACTOR"),
        [(A,), lambda: monkeypatch.setitem(globals(), "FACTOR", 5.0), (A,)],
    )


@pytest.mark.parametrize("read", [
    lambda: float(os.environ["FACTOR"]), lambda: float(os.environ.get("FACTOR", 9)),
    lambda: float(os.getenv("FACTOR", "9")), lambda: 2.0 if "FACTOR" in ENVIRONMENT else 3.0,
])  # fmt: skip
def test_the_environment_is_watched_where_it_is_read(read, monkeypatch):
    monkeypatch.setenv("FACTOR", "2")
    agree(lambda x: x * read(), [
        (A,), lambda: monkeypatch.setenv("FACTOR", "3"), (A,), lambda: monkeypatch.delenv("FACTOR"), (A,)
    ])  # fmt: skip


ENVIRONMENT = os.environ


def test_attributes_that_a_class_makes_up_are_read_as_ever():
    class Store:
        def __init__(self):
            self.kept = {"rate": 2.0}

        def __getattr__(self, name):
            if name == "kept":
                raise AttributeError(name)
            return self.kept[name]  # a KeyError for what is not there

    store, local = Store(), threading.local()
    local.rate = 2.0
    agree(lambda x: x * store.rate * local.rate, [
        (A,), lambda: store.kept.__setitem__("rate", 3.0), (A,), lambda: setattr(local, "rate", 5.0), (A,)
    ])  # fmt: skip


def test_hooks_are_seen_when_they_come_go_and_change():
    w, v = (Tensor(np.ones(3), requires_grad=True) for _ in "ab")
    scale, handles = [2.0], []

    def of(w):
        def f(x):
            w.grad = None
            (w * x).sum().backward()
            return w.grad.data * 1

        return f

    changes = [
        lambda: None,
        lambda: handles.extend(t.register_hook(lambda g: g * scale[0]) for t in (w, v)),
        lambda: scale.__setitem__(0, 5.0),
        lambda: [handle.remove() for handle in handles],
    ]
    agree(of(w), [c for change in changes for c in (change, (A[1],), (A[0],))], twin=of(v))


# What cannot be compiled


def appended(x, kept):
    kept.append(x.sum())
    return x


def replaced(x, kept):
    kept[0] = x * 2
    return x


def made(x, kept):
    return x + kept["other"]


def popped(kept):
    return kept.pop("x") * 2


@pytest.mark.parametrize("f, args", [
    (appended, lambda: (A, [])), (replaced, lambda: (A, [A])), (popped, lambda: ({"x": A},)),
    (made, lambda: (A, collections.defaultdict(lambda: 3.0))),
    (lambda x, kept: kept.update(y=x.sum()), lambda: (A, {})), (lambda x, kept: kept.append(None), lambda: (A, [])),
    (lambda d: d.update(x=d.pop("x")), lambda: ({"x": A, "y": B},)),
])  # fmt: skip
def test_a_change_of_a_list_or_dict_that_is_given_is_refused_and_made_where_the_function_runs_as_it_is(f, args):
    with pytest.raises(TraceError, match="changes a list or a dict that it is given"):
        ad.compile(f)(*args())
    compiled = ad.compile(f, on_unsupported="eager")
    for _ in range(2):
        mine, theirs = args(), args()
        same(compiled(*mine), f(*theirs))
        same(mine, theirs)
        assert [list(x) for x in mine if isinstance(x, dict)] == [list(x) for x in theirs if isinstance(x, dict)]


@pytest.mark.parametrize("f, match", [
    (lambda x: x * x.flags.writeable, "flags.writeable"), (lambda x: x if x.flags["OWNDATA"] else -x, "flags"),
    (lambda x: x if x.base is None else -x, "base of a traced array"),
    (lambda x: np.shares_memory(x, x), "share memory"),
    (lambda x: x.sum(where=x > 1), "where="), (lambda x: np.sum(x, where=x > 1), r"np\.where\(mask, a, 0\)"),
    (lambda x: np.mean(x, where=x > 1), r"mask\.sum\(\)"),
    (lambda x: np.eye(4)[x.astype(int)], r"np\.take\(a, i, axis=0\)"),
])  # fmt: skip
def test_what_the_signature_does_not_say_about_an_array_is_refused_with_the_way_out(f, match):
    with pytest.raises(TraceError, match=match):
        ad.compile(f)(A)


def test_layouts_are_a_part_of_the_signature():
    def f(x):
        return x * 2 if x.flags.c_contiguous else x * 3 if x.flags["F"] else x * 4

    agree(f, [(x,) for x in (A, np.asfortranarray(A), A[:, ::-1], A)])


def test_times_and_records_are_refused():
    for x in (np.array(["2020-01-01"], "M8[D]"), np.array([(1, 2.0)], [("a", "i4"), ("b", "f8")])):
        with pytest.raises(TraceError, match="x is a ndarray of"):
            ad.compile(lambda x: x)(x)


def test_a_draw_names_its_generator():
    with pytest.raises(TraceError, match=r"random numbers are drawn \(rng\)"):
        ad.compile(lambda x, rng: x + rng.bit_generator.random_raw())(A, np.random.default_rng(0))


def test_what_an_argument_is_changed_by_names_it():
    def f(x, counter):
        counter.n += 1
        return x

    with pytest.raises(TraceError, match=r"changes 'counter\.n'"):
        ad.compile(f)(A, types.SimpleNamespace(n=0))


def test_a_derivative_that_goes_on_into_a_graph_of_others_is_refused():
    w = Tensor(A, requires_grad=True)
    h = w * 2

    def f(x):
        (h * x).sum().backward()

    with pytest.raises(TraceError, match="a graph that was recorded outside"):
        ad.compile(f)(A)
    with pytest.raises(TraceError, match="into the graph of an argument"):
        ad.compile(lambda t: t.sum().backward())(w * 2)
    assert w.grad is None
    with ad.no_grad():
        agree(lambda x: h * x, [(A,), (B,)])
    compiled = ad.compile(f, on_unsupported="eager")
    compiled(A)
    np.testing.assert_array_equal(w.grad.data, 2 * A)


def test_an_argument_with_a_hook_is_refused():
    t = Tensor(A, requires_grad=True)
    compiled = ad.compile(lambda t: (t * t).sum().backward())
    compiled(t)
    t.grad = None
    t.register_hook(lambda g: g * 3)
    with pytest.raises(TraceError, match="t has a hook"):
        compiled(t)


@pytest.mark.parametrize("params", [3, "abc", [3], {"w": 3}])
def test_params_of_another_kind_are_one_clear_error(params):
    with pytest.raises(TypeError, match="params takes a module, or a list or a dict of leaf Tensors"):
        ad.compile(lambda x: x, params=params)


def test_an_interrupted_call_is_no_call_from_within():
    def interrupted(x):
        if x.min() < 0:
            raise KeyboardInterrupt
        return x * 2

    whole = Opaque(interrupted, "interrupted", "the person at the keyboard decides")
    compiled = ad.compile(lambda x: whole(x) * 2)
    compiled(A)
    with pytest.raises(KeyboardInterrupt):
        compiled(-A)
    same(compiled(A), 4 * A)
    assert "from within" not in compiled.explain()


@BACKENDS
def test_a_sort_is_differentiated_in_every_mode_where_constants_are_permuted_by_traced_positions(backend):
    def value(x):
        return (ad.sort(x) ** 2 * np.arange(4.0)).sum()

    for transform in (
        lambda x: ad.jvp(value, x, np.ones(4)),
        lambda x: ad.hvp(value, x, np.ones(4)),
        ad.hessian(value),
    ):
        agree(transform, [(np.array(x),) for x in ([3.0, 1, 2, 0], [0.0, 5, 1, 2], [1.0, 1, -1, 4])], backend)


def test_a_module_that_makes_a_generator_when_it_is_imported_may_be_imported_by_a_compiled_function(
    tmp_path, monkeypatch
):
    (tmp_path / "draws_at_import.py").write_text("import numpy as np\nGENERATOR = np.random.default_rng()\n")
    monkeypatch.syspath_prepend(str(tmp_path))

    def f(x):
        import draws_at_import

        return x * 2.0 if draws_at_import.GENERATOR else x

    assert ad.compile(f)(ad.Tensor(3.0)) == 6
