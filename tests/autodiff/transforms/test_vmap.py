"""vmap gives what a loop over the examples gives, inside and outside every other transform."""

import tracemalloc
import warnings
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import autodiff as ad
import nn
import optim
from autodiff import Tensor
from autodiff.batching.batch import Batch, BatchError, Level, PerformanceWarning

RNG = np.random.default_rng(0)
X, Y, W = RNG.normal(size=(5, 3)), RNG.normal(size=(5, 3)), RNG.normal(size=(3, 4))


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error", PerformanceWarning)
        yield


def loss(w, x):
    return (np.tanh(x @ w) ** 2).sum()


def close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-13)


INSIDE = {
    "grad": lambda w, x: ad.grad(loss)(w, x),
    "grad by both": lambda w, x: np.concatenate([np.ravel(d) for d in ad.grad(loss, (0, 1))(w, x)]),
    "hvp": lambda w, x: ad.hvp(lambda w: loss(w, x), w, np.ones((3, 4))),
    "hvp by the example": lambda w, x: ad.hvp(lambda x: loss(w, x), x, 2 * x),
    "jacobian": lambda w, x: ad.jacobian(lambda x: np.tanh(x @ w))(x),
    "hessian": lambda w, x: ad.hessian(lambda x: loss(w, x))(x),
    "jvp": lambda w, x: ad.jvp(lambda x: np.tanh(x @ w), x, x * 0.5)[1],
    "vjp": lambda w, x: ad.vjp(lambda x: np.tanh(x @ w), x)[1](np.arange(4.0))[0],
    "grad of grad": lambda w, x: ad.grad(lambda x: (ad.grad(loss, 1)(w, x) ** 2).sum())(x),
    "checkpoint": lambda w, x: ad.grad(lambda x: ad.checkpoint(lambda x: loss(w, x), x))(x),
    "scan": lambda w, x: ad.grad(lambda x: ad.scan(lambda c, v: (np.tanh(c * v), c), x[0], x)[0])(x),
}


@pytest.mark.parametrize("name", INSIDE)
@pytest.mark.parametrize("axes", [(None, 0), (0, None), (0, 0)])
def test_a_transform_inside_is_that_of_each_example(name, axes):
    ws = np.stack([W + i for i in range(5)])
    given = (W if axes[0] is None else ws, X[1] if axes[1] is None else X)
    f = INSIDE[name]
    expected = [f(*(a if axis is None else a[i] for a, axis in zip(given, axes))) for i in range(5)]
    close(ad.vmap(f, in_axes=axes)(*given), np.stack([np.asarray(getattr(e, "data", e)) for e in expected]))


OUTSIDE = {
    "grad": lambda f: ad.grad(lambda w: (f(w, X) ** 2).sum())(W),
    "grad by the examples": lambda f: ad.grad(lambda x: (f(W, x) ** 2).sum())(X),
    "hvp": lambda f: ad.hvp(lambda w: (f(w, X) ** 2).sum(), W, np.cos(W)),
    "hvp by the examples": lambda f: ad.hvp(lambda x: (f(W, x) ** 2).sum(), X, np.cos(X)),
    "jacobian": lambda f: ad.jacobian(lambda w: f(w, X))(W),
    "jvp": lambda f: ad.jvp(lambda w: f(w, X), W, np.cos(W))[1],
    "jvp by the examples": lambda f: ad.jvp(lambda x: f(W, x), X, np.cos(X))[1],
    "grad of a gradient inside": lambda f: ad.grad(
        lambda w: (ad.vmap(ad.grad(lambda w, x: (f(w, x[None]) ** 2).sum()), (None, 0))(w, X) ** 3).sum()
    )(W),
}


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_transform_outside_is_that_of_the_loop(name):
    def looped(w, x):
        return np.stack([loss(w, row) for row in x])

    closed = {}

    def mapped(w, x):
        closed["both"] = True
        return ad.vmap(loss, in_axes=(None, 0))(w, x)

    close(OUTSIDE[name](mapped), OUTSIDE[name](looped))
    close(OUTSIDE[name](lambda w, x: ad.vmap(lambda row: loss(w, row))(x)), OUTSIDE[name](looped))  # closed over


def test_backward_reaches_what_the_examples_share_and_what_they_do_not():
    w, x = Tensor(W, requires_grad=True), Tensor(X, requires_grad=True)
    ad.vmap(lambda row: loss(w, row))(x).sum().backward()
    close(w.grad.data, ad.grad(lambda w: np.stack([loss(w, r) for r in X]).sum())(W))
    close(x.grad.data, ad.grad(lambda x: np.stack([loss(W, r) for r in x]).sum())(X))


def test_maps_nest_to_any_depth():
    f = ad.vmap(ad.vmap(lambda a, b: (a * b).sum() * a, (None, 0)), (0, None))
    close(f(X, Y), np.einsum("ik,jk->ij", X, Y)[..., None] * X[:, None])
    g = ad.vmap(ad.vmap(ad.vmap(lambda a, b, c: a * b - c, (0, None, None)), (None, 0, None)), (None, None, 0))
    a, b, c = X[0], X[:, 0], Y[0]
    close(g(a, b, c), a[None, None, :] * b[None, :, None] - c[:, None, None])
    inner = ad.vmap(lambda a: ad.vmap(ad.grad(lambda b: np.sin(a * b).sum()))(Y))(X)
    close(inner, np.stack([[a * np.cos(a * b) for b in Y] for a in X]))


def test_gradients_of_each_example_are_those_of_another_library():
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    theirs = torch.nn.Sequential(
        torch.nn.Linear(3, 6), torch.nn.GELU(), torch.nn.LayerNorm(6), torch.nn.Linear(6, 2)
    ).double()
    ours = nn.Sequential(nn.Linear(3, 6), nn.GELU(), nn.LayerNorm(6), nn.Linear(6, 2)).double()
    ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    labels = np.array([0, 1, 1, 0, 1])

    def of_example(params, x, y):
        logits = torch.func.functional_call(theirs, params, (x[None],))
        return torch.nn.functional.cross_entropy(logits, y[None])

    params = dict(theirs.named_parameters())
    expected = torch.func.vmap(torch.func.grad(of_example), (None, 0, 0))(params, torch.tensor(X), torch.tensor(labels))
    names = [name for name, _ in ours.named_parameters()]
    slopes = ad.vmap(
        lambda x, y: ad.gradients(nn.functional.cross_entropy(ours(x[None]), y[None]), list(ours.parameters()))
    )(X, labels)
    for name, d in zip(names, slopes, strict=True):
        close(d.data, expected[name].detach().numpy())


# Axes


def test_the_gradient_of_a_choice_by_a_table_of_places_is_added_up_for_each_example():
    rows, columns = np.meshgrid([2, 1, 0, 0], [0, 1, 1], indexing="ij")
    weights = np.arange(12.0).reshape(4, 3)  # one array for all examples, which lies otherwise in memory than a batch

    def gradient(x):
        x = Tensor(x, requires_grad=True)
        return ad.gradients(x[rows, columns], x, weights)[0]

    x = RNG.normal(size=(5, 3, 2))
    np.testing.assert_array_equal(ad.vmap(gradient)(x), np.stack([gradient(a).data for a in x]))


def test_axes_are_given_for_each_argument_and_inside_it():
    p = {"w": W, "b": [X.T, 2.0]}  # examples of b[0] lie along axis 1
    f = lambda p, x, k: {"y": p["b"][0] * x + p["b"][1] * k, "w": p["w"]}
    found = ad.vmap(f, in_axes=({"w": None, "b": [1, None]}, 0, None), out_axes={"y": -1, "w": None})(p, X, 3.0)
    close(found["y"], (X * X + 6).T)
    close(found["w"], W)
    close(ad.vmap(lambda x: x.sum(), in_axes=-1)(W), W.sum(0))
    close(ad.vmap(lambda x: (x, 1.0), out_axes=(1, 0))(X)[0], X.T)
    close(ad.vmap(lambda x: (x, 1.0))(X)[1], np.ones(5))
    close(ad.vmap(lambda x, scale: x * scale)(X, scale=2.0), 2 * X)


def test_what_is_given_decides_what_comes_back():
    assert type(ad.vmap(np.sin)(X)) is np.ndarray
    assert type(ad.vmap(np.sin)(Tensor(X))) is Tensor
    w = Tensor(2.0, requires_grad=True)
    y = ad.vmap(lambda x: w * x)(X)
    assert y.requires_grad and y.shape == X.shape
    assert ad.vmap(lambda x: x)(X[:0]).shape == (0, 3)
    result = ad.vmap(lambda x: x)(X)
    result[0] = 0  # the caller's own
    assert X[0, 0] != 0


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: ad.vmap(3), TypeError, "needs a function"),
        (lambda: ad.vmap(np.add)(X, Y[:2]), ValueError, r"2 examples .* has 5"),
        (lambda: ad.vmap(np.sin)(2.0), ValueError, "no axis 0"),
        (lambda: ad.vmap(np.sin, in_axes=None)(X), ValueError, "no argument of sin is mapped"),
        (lambda: ad.vmap(np.add, in_axes=(0,))(X, Y), ValueError, "1 entries for 2"),
        (lambda: ad.vmap(lambda x: x, in_axes={"a": 0})({"b": X}), ValueError, "in_axes"),
        (lambda: ad.vmap(np.sin, out_axes=None)(X), ValueError, "differs between examples"),
        (lambda: ad.vmap(np.sin, out_axes=3)(X), ValueError, "out_axes 3"),
        (lambda: ad.vmap(lambda x: "text")(X), TypeError, "return arrays"),
        (lambda: ad.vmap(lambda x: x if x[0] > 0 else -x)(X), TypeError, r"np\.where"),
        (lambda: ad.vmap(lambda x: float(x[0]))(X), TypeError, "Python number"),
        (lambda: ad.vmap(lambda x: x[x > 0])(X), (TypeError, IndexError, ValueError), "another shape|mask|differs"),
        (lambda: ad.vmap(lambda x: np.nonzero(x))(X), (TypeError, ValueError), "another shape"),
    ],
)
def test_what_cannot_be_done_for_all_is_named(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_what_is_run_for_each_example_is_named():
    with pytest.warns(PerformanceWarning, match="lstm: steps is run 3 times"):
        model = nn.LSTM(2, 3, batch_first=True).double()
        xs = RNG.normal(size=(3, 1, 4, 2))
        found = ad.vmap(lambda x: model(x)[0])(xs)
    close(found.data, np.stack([model(Tensor(x))[0].data for x in xs]))


# NumPy's functions and indices


CALLS = [
    lambda x, i: x[i], lambda x, i: x[..., i], lambda x, i: x[i, 1:], lambda x, i: x[:, i], lambda x, i: x[None, i],
    lambda x, i: x[i][..., None, ::-1], lambda x, i: x[[0, 1], i], lambda x, i: x[i, [0, 1]], lambda x, i: x[i, :, None],
    lambda x, i: np.take(x, i, axis=1), lambda x, i: np.take(x, i), lambda x, i: x[np.array([[True, False], [False, True]])],
    lambda x, i: x[np.array([1, 0]), :, np.array([0, 0])] if x.ndim > 2 else x,
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(CALLS)))
@pytest.mark.parametrize("axes", [(0, None), (None, 0), (0, 0)])
@pytest.mark.parametrize("shape", [(2, 2), (2, 2, 2)])
@pytest.mark.parametrize("positions", [(), (2,), (2, 2)])
def test_an_index_and_its_gradient_are_those_of_each_example(number, axes, shape, positions):
    f = CALLS[number]
    if number in (6, 7) and positions == ():
        positions = (2,)
    if number == 11 and len(shape) != 2:
        shape = (2, 2)
    xs = RNG.normal(size=(4, *shape)) if axes[0] == 0 else RNG.normal(size=shape)
    i = RNG.integers(-2, 2, (4, *positions) if axes[1] == 0 else positions)
    of = lambda a, axis, k: a if axis is None else a[k]
    slope = lambda x, i: ad.grad(lambda x: (f(x, i) ** 3).sum())(x)
    for g in (f, slope):
        expected = np.stack(
            [np.asarray(getattr(y, "data", y)) for y in (g(of(xs, axes[0], k), of(i, axes[1], k)) for k in range(4))]
        )
        close(ad.vmap(g, in_axes=axes)(xs, i), expected)


FUNCTIONS = {
    "where": lambda a, b: np.where(a > b, a, b * 2), "clip": lambda a, b: np.clip(a, b - 1, b + 1),
    "stack": lambda a, b: np.stack([a, b], -1), "concatenate": lambda a, b: np.concatenate([a, b, a], 1),
    "einsum": lambda a, b: np.einsum("ij,kj->ik", a, b), "einsum with an ellipsis": lambda a, b: np.einsum("...j,...j", a, b),
    "tensordot": lambda a, b: np.tensordot(a, b, ((0, 1), (0, 1))), "inner": lambda a, b: np.inner(a, b),
    "outer": lambda a, b: np.outer(a, b), "kron": lambda a, b: np.kron(a, b), "matmul": lambda a, b: a @ b.T,
    "matrix vector": lambda a, b: a @ b[0], "vector matrix": lambda a, b: a[0] @ b.T, "dot": lambda a, b: np.dot(a, b.T),
    "solve": lambda a, b: np.linalg.solve(a @ a.T + 3 * np.eye(2), b), "inv": lambda a, b: np.linalg.inv(a @ a.T + 3 * np.eye(2)) @ b,
    "slogdet": lambda a, b: np.linalg.slogdet(a @ a.T + 3 * np.eye(2))[1] + b, "svd": lambda a, b: np.linalg.svd(a, compute_uv=False)[0] * b,
    "norm": lambda a, b: np.linalg.norm(a, axis=1)[:, None] * b, "cholesky": lambda a, b: np.linalg.cholesky(a @ a.T + 3 * np.eye(2)) @ b,
    "sort": lambda a, b: np.sort(a, axis=0) * b, "cumsum": lambda a, b: np.cumsum(a) * b.sum(), "cumprod": lambda a, b: np.cumprod(a, 1) + b,
    "max": lambda a, b: a.max(axis=1, keepdims=True) * b, "argmax": lambda a, b: a[a.argmax(axis=0), 0] * b[0, 0],
    "mean and var": lambda a, b: (a - a.mean(0)) / np.sqrt(a.var(0) + 1) + b, "prod": lambda a, b: a.prod(0) * b,
    "flip, roll": lambda a, b: np.roll(np.flip(a, 1), 1, 0) * b, "pad": lambda a, b: np.pad(a, ((1, 0), (0, 2)), constant_values=1) @ np.pad(b, 1).T[:5],
    "repeat, tile": lambda a, b: np.repeat(a, 2, 0) * np.tile(b, (2, 1)), "diag": lambda a, b: np.diagonal(a) @ np.diag(np.diagonal(b)),
    "trace": lambda a, b: np.trace(a) * b, "tril": lambda a, b: np.tril(a) @ np.triu(b).T, "moveaxis": lambda a, b: np.moveaxis(a, 0, 1) @ b,
    "split": lambda a, b: sum(np.split(a, 2)) * b[0], "logsumexp": lambda a, b: np.log(np.exp(a).sum(-1)) + b[:, 0],
    "softmax": lambda a, b: ad.softmax(a, axis=0) * b, "power": lambda a, b: np.abs(a) ** b, "ufuncs": lambda a, b: np.arctan2(a, b) + np.hypot(a, b),
    "maximum of unequal ranks": lambda a, b: np.maximum(a[0], b), "broadcast": lambda a, b: np.broadcast_to(a[0], (4, 3)) + b[1],
    "reshape": lambda a, b: a.reshape(3, -1) @ b.reshape(-1, 3), "in place": lambda a, b: ad.array(a).at[0].add(b[1]), "diff": lambda a, b: np.diff(a, axis=1) * b[:, :2],
    "fft": lambda a, b: np.abs(np.fft.fft(a)) * b if hasattr(ad, "fft") else a, "take_along_axis": lambda a, b: np.take_along_axis(a, np.argsort(b, 1), 1),
}  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_of_numpys_and_its_derivatives_are_those_of_each_example(name):
    f = FUNCTIONS[name]
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=(3, 2, 3)), rng.normal(size=(3, 2, 3))
    value = lambda a, b: f(a, b)
    slope = lambda a, b: ad.grad(lambda a, b: (f(a, b) * 1.5).sum(), (0, 1))(a, b)
    curved = lambda a, b: ad.grad(lambda a: (ad.grad(lambda a: (f(a, b) ** 2).sum())(a) * a).sum())(a)
    for g in (value, slope, curved):
        for axes in ((0, 0), (0, None), (None, 0)):
            given = [x if axis == 0 else x[0] for x, axis in zip((a, b), axes)]
            try:
                each = [g(Tensor(x[k] if axis == 0 else x), Tensor(y[k] if by == 0 else y)) for k in range(3)
                        for x, axis, y, by in [(given[0], axes[0], given[1], axes[1])]]  # fmt: skip
            except (TypeError, ValueError):
                pytest.skip("not among the functions that have a gradient")
            found = ad.vmap(g, in_axes=axes)(*given)
            for part, column in zip(
                found if isinstance(found, tuple) else (found,),
                zip(*[e if isinstance(e, tuple) else (e,) for e in each]),
            ):
                np.testing.assert_allclose(part, np.stack([np.asarray(c.data) for c in column]), rtol=1e-9, atol=1e-10)


@given(st.data())
def test_broadcasting_among_examples_is_that_of_one(data):
    shapes = st.lists(st.integers(1, 3), max_size=3)
    a = np.random.default_rng(data.draw(st.integers(0, 99))).normal(size=(4, *data.draw(shapes)))
    full = [n if data.draw(st.booleans()) else 1 for n in a.shape[1:]]
    b = np.random.default_rng(1).normal(size=(4, *full[data.draw(st.integers(0, len(full))) :]))
    many = data.draw(st.booleans())
    f = lambda a, b: ad.grad(lambda a, b: (np.sin(a) * b + a / (b * b + 1)).sum(), (0, 1))(a, b)
    found = ad.vmap(f, in_axes=(0, 0 if many else None))(a, b if many else b[0])
    for k in range(4):
        for d, e in zip(found, f(a[k], b[k] if many else b[0])):
            close(d[k], e)


def test_a_value_that_is_hidden_by_where_has_no_derivative_in_any_example():
    f = lambda x: np.where(x > 0, np.sqrt(x), 0.0).sum()
    x = np.array([[1.0, 0.0], [4.0, -1.0], [0.0, 9.0]])
    close(ad.vmap(ad.grad(f))(x), np.stack([ad.grad(f)(row) for row in x]))
    norm = lambda x: np.linalg.norm(x)
    close(ad.vmap(ad.grad(norm))(x * [[1], [1], [0]]), np.stack([ad.grad(norm)(row) for row in x * [[1], [1], [0]]]))


@pytest.mark.parametrize("order", [1, 2])
def test_hidden_infinite_slopes_of_what_examples_share_are_those_of_the_loop(order):
    x = np.array([[1.0, 0.0, 2.0], [4.0, -1.0, 0.0], [0.0, 9.0, 1.0]])

    def hidden(w, row):
        z = w * row
        return (np.where(z > 0, np.sqrt(np.maximum(z, 0)), 0.0) ** 3 + np.where(z > 1, np.log(z), 0)).sum()

    def slope(f):
        first = ad.grad(lambda w: f(w).sum())
        return first if order == 1 else ad.grad(lambda w: (first(w) ** 2).sum())

    with np.errstate(all="ignore"):
        w = np.array([1.0, 2.0, 0.5])
        found = slope(lambda w: ad.vmap(lambda row: hidden(w, row))(x))(w)
        expected = slope(lambda w: np.stack([hidden(w, row) for row in x]))(w)
    close(found, expected)


@pytest.mark.parametrize("pick", [lambda x: x[[0, 0, 1]], lambda x: x[:, [0, 1, 0]], lambda x: x[[0, 0], [1, 1]]])
def test_the_gradient_adds_up_where_an_index_repeats(pick):
    x = np.arange(12.0).reshape(2, 3, 2) + 1
    f = ad.grad(lambda x: (pick(x) ** 2).sum())
    close(ad.vmap(f)(x), np.stack([f(row) for row in x]))


def test_writing_examples_into_what_they_share_is_refused():
    shared = ad.zeros(3)

    def f(x):
        shared[0] = x[0]
        return shared

    with pytest.raises((BatchError, TypeError, ValueError), match=r"share|examples|sequence"):
        ad.vmap(f)(X)


@pytest.mark.parametrize(("f", "match"), [
    (lambda x: x[x > 0].sum(), r"^getitem\(.*a mask as an index"),
    (lambda x: ad.Tensor(x)[x > 0], "a mask as an index"),
    (lambda x: x[True], r"one truth value as an index, x\[True\], adds an axis; write x\[None\]"),
    (lambda x: ad.Tensor(x)[..., np.False_], r"x\[False\], adds an axis"),
    (lambda x: ad.Tensor(x).at[0, True].set(1.0), r"x\[True\], adds an axis"),
    (lambda x: np.arange(3.0) @ x if x.sum() > 0 else x, "a branch depends"),
    (lambda x: float(x[0]), "used as a Python number"),
    (lambda x: np.add(x, 1, out=np.zeros(2)), "into"),
    (lambda x: ad.grad(lambda x: (x[x > 0] ** 2).sum())(x), "a mask as an index"),
    (lambda x: ad.jacobian(lambda x: x[x > 0])(x), "a mask as an index"),
])  # fmt: skip
def test_what_can_be_done_with_one_example_alone_is_a_batch_error(f, match):
    with pytest.raises(BatchError, match=match):
        ad.vmap(f)(np.eye(2))


def test_a_python_number_that_examples_share_has_a_derivative_in_each():
    x = np.array([[1.0, 2.0], [0.0, 1.0]])
    close(ad.vmap(ad.grad(lambda w, x: (w * x).sum() ** 2), in_axes=(None, 0))(2.0, x), [36.0, 4.0])
    values, slopes = ad.vmap(ad.value_and_grad(lambda w, x: (w * x).sum() ** 2), in_axes=(None, 0))(2.0, x)
    close((values, slopes), ([36.0, 4.0], [36.0, 4.0]))


# Levels inside one another, and what they share


def _of_all(f, w):
    """What f gives for numbers that the maps outside share and the one inside does not, in maps and in loops."""

    def mapped(w):
        return (ad.vmap(lambda r: f(ad.vmap, r, w))(X[:, 0]) ** 2).sum()

    def looped(w):
        by_loop = lambda g: lambda v: tuple(map(np.stack, zip(*[g(a) for a in v])))
        return (np.stack([f(by_loop, r, w) for r in X[:, 0]]) ** 2).sum()

    return mapped, looped


def _two_outputs(vmap, r, w):
    a, b = vmap(lambda v: (np.sin(v * r), v**3))(w)
    return a.sum() + b.sum()


def _closed_over(vmap, r, w):
    (y,) = vmap(lambda v: (np.sin(v * w[0] * r),))(X[0])
    return y.sum()


def _three_deep(vmap, r, w):
    def of_one(v):
        a, b = vmap(lambda q: (np.sin(v * r * q) + w[1], v**3 * q))(w)
        return (a**2).sum(), b.sum()

    a, b = vmap(of_one)(w)
    return a.sum() + b.sum() * w[0]


@pytest.mark.parametrize("f", [_two_outputs, _closed_over, _three_deep])
def test_what_several_levels_share_has_one_derivative(f):
    w = np.array([0.7, -1.2])
    mapped, looped = _of_all(f, w)
    for of in (ad.grad, ad.hessian, lambda f: lambda w: ad.hvp(f, w, w[::-1]), lambda f: lambda w: ad.jvp(f, w, w)[1]):
        close(of(mapped)(w), of(looped)(w))


def test_a_leaf_that_several_levels_share_has_a_gradient_of_its_shape():
    w = Tensor(1.3, requires_grad=True)
    ad.vmap(lambda r: ad.vmap(lambda a: a * w)(r))(X).sum().backward()
    close(w.grad.data, X.sum())


def test_mixed_second_derivatives_through_maps_in_maps_and_checkpoints():
    w = np.array([0.7, -1.2, 0.4])

    def plain(r, w):
        return np.sin(r * w[0])

    def inner(r, w):
        return ad.vmap(lambda a, w: np.sin(a * w), in_axes=(0, None))(r, w[0])

    def mixed(f):
        slope = lambda x, w: ad.grad(lambda x: (ad.vmap(f, in_axes=(0, None))(x, w) ** 2).sum())(x)
        return ad.grad(lambda w: (slope(X, w) ** 2).sum())(w)

    expected = mixed(plain)
    close(mixed(inner), expected)
    close(mixed(lambda r, w: ad.checkpoint(inner, r, w)), expected)


def test_a_gradient_through_the_maps_of_second_jacobians_costs_what_it_should():
    torch = pytest.importorskip("torch")
    x = np.array([0.3, -0.8])

    def f(xp, x):
        return xp.sin(xp.outer(x, x)) + xp.cos(xp.sum(x * x))

    second = torch.func.jacrev(torch.func.jacrev(lambda x: f(torch, x)))
    expected = torch.func.grad(lambda x: torch.sin(second(x)).sum())(torch.tensor(x)).numpy()
    tracemalloc.start()
    try:
        found = ad.grad(lambda x: np.sin(ad.jacobian(ad.jacobian(lambda x: f(np, x)))(x)).sum())(x)
        assert tracemalloc.get_traced_memory()[1] < 5e6
    finally:
        tracemalloc.stop()
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_a_tensor_of_a_map_that_has_ended_is_refused_in_another():
    kept = []
    ad.vmap(lambda x: kept.append(np.sin(x)) or x)(X)
    with pytest.raises(BatchError, match="has ended"):
        ad.vmap(lambda x: x + kept[0])(X)


@pytest.mark.parametrize("axis", [0, None])
@pytest.mark.parametrize(
    "f", [lambda v, i: v[i] ** 2, lambda v, i: v.at[i].add(v[:2]), lambda v, i: np.take(v, i), lambda v, i: np.sort(v[i]) * v[:2]]
)  # fmt: skip
def test_positions_that_differ_at_every_level(f, axis):
    i = np.random.default_rng(0).integers(0, 3, (2, 5, 2))
    v = X if axis == 0 else X[0]
    mapped = ad.vmap(ad.vmap(f, in_axes=(axis, 0)), in_axes=(None, 0))
    looped = lambda v, i: np.stack([np.stack([f(v[k] if axis == 0 else v, part[k]) for k in range(5)]) for part in i])
    for of in (
        lambda g: ad.grad(lambda v: (g(v, i) ** 2).sum())(v),
        lambda g: ad.jvp(lambda v: g(v, i), v, np.cos(v))[1],
        lambda g: ad.hvp(lambda v: (g(v, i) ** 2).sum(), v, np.cos(v)),
    ):
        close(of(mapped), of(looped))


# Functions of which one argument is shared


@contextmanager
def ignored():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PerformanceWarning)
        yield


def test_membership_is_looked_up_among_the_values_of_each_example():
    a, those = np.array([[0, 1, 2], [1, 2, 3]]), np.array([[0, 5], [1, 2]])
    np.testing.assert_array_equal(ad.vmap(np.isin)(a, those), [np.isin(*row) for row in zip(a, those)])
    found = ad.vmap(np.isin, in_axes=(None, 0))(a[0], those)
    np.testing.assert_array_equal(found, [np.isin(a[0], row) for row in those])


@pytest.mark.parametrize("axes", [(0, None, 0), (0, None, None), (0, 0, 0), (None, 0, None)])
def test_interpolation_has_derivatives_by_points_that_examples_share(axes):
    rng = np.random.default_rng(0)
    every = rng.uniform(0.2, 0.8, (3, 4)), np.sort(rng.uniform(size=(3, 5))), rng.normal(size=(3, 5))
    given = [a if axis == 0 else a[0] for a, axis in zip(every, axes)]
    f = ad.grad(lambda x, xp, fp: (np.interp(x, xp, fp) ** 2).sum(), (0, 1, 2))
    with ignored():
        found = ad.vmap(f, in_axes=axes)(*given)
    each = [f(*[a[k] if axis == 0 else a for a, axis in zip(given, axes)]) for k in range(3)]
    for part, column in zip(found, zip(*each)):
        close(part, np.stack(column))


@pytest.mark.parametrize(
    "f",
    [
        lambda a, b: np.cross(a[:3], b[:3]), lambda a, b: np.outer(a, b), lambda a, b: np.convolve(a, b), lambda a, b: np.kron(a, b),
        lambda a, b: np.sort(a) * b, lambda a, b: np.median(a) * b, lambda a, b: np.quantile(a * b, [0.2, 0.7]),
        lambda a, b: np.select([a > 0.5, a < -0.5], [a * b, a**2], b), lambda a, b: np.modf(a * b)[0],
        lambda a, b: ad.signal.lfilter([1.0, 0.2], a[:2], b),
        lambda a, b: np.linalg.lstsq(np.stack([a, a**2]).T, b)[0],
    ],
)  # fmt: skip
def test_forward_derivatives_of_what_examples_share_in_part(f):
    a, b = np.random.default_rng(4).normal(size=(2, 3, 4))
    moved = lambda a, b: ad.jvp(f, (a, b), (np.array([1.0, 2.0, -1.0, 0.5]), np.array([0.3, 1.0, 1.0, -2.0])))[1]
    for axes in ((0, 0), (0, None), (None, 0)):
        given = [x if axis == 0 else x[0] for x, axis in zip((a, b), axes)]
        with ignored():
            found = ad.vmap(moved, in_axes=axes)(*given)
        each = [moved(*[x[k] if axis == 0 else x for x, axis in zip(given, axes)]) for k in range(3)]
        np.testing.assert_allclose(found, np.stack(each), rtol=1e-8, atol=1e-9)


def test_positions_of_the_largest_keep_their_axes():
    xs = np.random.default_rng(0).normal(size=(3, 2, 4))
    found = ad.vmap(lambda x: np.argmax(x, keepdims=True))(xs)
    np.testing.assert_array_equal(found, [np.argmax(x, keepdims=True) for x in xs])


@pytest.mark.parametrize("index", [0, [0, 1]])
def test_a_write_of_examples_into_an_array_says_what_to_write(index):
    def f(x):
        t = Tensor(np.zeros(3))
        t[index] = x[0] if index == 0 else x[:2]
        return t

    with pytest.raises(TypeError, match=r"t\.at\[i\]\.set\(v\)"):
        ad.vmap(f)(X)


def test_what_needs_another_shape_for_each_example_says_so():
    with pytest.raises(BatchError, match=r"np\.where"):
        ad.vmap(lambda x: np.piecewise(x, [x > 0], [np.square, np.negative]))(X)


# Layers


def _of_each(f, *args):
    with ignored():
        found = ad.vmap(f)(*args)
    each = [f(*[Tensor(a[k]) for a in args]) for k in range(len(args[0]))]
    np.testing.assert_allclose(
        found, np.stack([np.asarray(getattr(e, "data", e)) for e in each]), rtol=1e-9, atol=1e-12
    )


def test_an_embedding_has_a_gradient_for_each_example():
    table = nn.Embedding(5, 3, padding_idx=1).double()
    index = np.array([[0, 1, 1], [4, 4, 4], [2, 0, 3]])
    _of_each(lambda i: ad.gradients((table(i) ** 3).sum(), table.weight)[0].detach(), index)
    _of_each(lambda i: np.take(Tensor(W), i % 3, axis=0), index)
    _of_each(lambda i: ad.bincount(i, weights=[1.0, 2.0, 3.0], minlength=5), index)


@pytest.mark.parametrize("weight", [None, [0.5, 1.0, 2.0]])
def test_a_loss_that_leaves_classes_out_is_that_of_each_example(weight):
    x, classes = np.random.default_rng(0).normal(size=(3, 4, 3)), np.array([[0, 1, 2, 1], [1, 1, 0, 2], [0, 0, 0, 1]])
    for ignored_class in (-100, 1):
        for of in (nn.NLLLoss, nn.CrossEntropyLoss):
            loss = of(weight=weight, ignore_index=ignored_class)
            _of_each(loss, x, classes)
            _of_each(ad.grad(lambda x, t, loss=loss: loss(x, t) ** 2), x, classes)


def test_forward_derivatives_through_the_maxima_of_windows():
    x = np.random.default_rng(0).normal(size=(3, 1, 1, 5, 5))
    pool = nn.MaxPool2d(2)
    _of_each(lambda a: ad.jvp(lambda a: (pool(a) ** 2).sum(), a, np.ones((1, 1, 5, 5)))[1], x)


@pytest.mark.parametrize(
    ("kind", "options"), [(optim.SGD, {"momentum": 0.9}), (optim.Adam, {}), (optim.AdamW, {}), (optim.RMSprop, {})]
)
def test_an_optimiser_inside_trains_the_parameters_of_each_example(kind, options):
    def trained(w, x):
        w = Tensor(w, requires_grad=True)
        steps = kind([w], lr=0.1, **options)
        for _ in range(3):
            steps.zero_grad()
            ((w - x) ** 4).sum().backward()
            steps.step()
        return w.detach()

    _of_each(trained, Y, X)


def test_an_optimiser_inside_does_not_move_what_examples_share():
    w = Tensor(np.ones(3), requires_grad=True)

    def trained(x):
        ((w - x) ** 2).sum().backward()
        optim.Adam([w], lr=0.1).step()
        return w

    with pytest.raises(BatchError, match=r"Adam\.step: .* differ between examples"):
        ad.vmap(trained)(X)
    np.testing.assert_array_equal(w.data, 1)


def test_batch_norm_inside_keeps_the_running_averages_and_says_what_to_write():
    x = np.random.default_rng(0).normal(size=(3, 5, 2))
    layer = nn.BatchNorm1d(2).double()
    with pytest.raises(BatchError, match=r"eval\(\)"):
        ad.vmap(layer)(x)
    np.testing.assert_array_equal(layer.running_mean.data, 0)
    np.testing.assert_array_equal(layer.running_var.data, 1)
    for other in (nn.BatchNorm1d(2, track_running_stats=False).double(), layer.eval()):
        _of_each(lambda x, other=other: other(x).detach(), x)
    averages = (np.zeros((3, 2)), np.ones((3, 2)))

    def moved(x, mean, var):
        mean, var = mean * 1, var * 1
        nn.functional.batch_norm(x, mean, var, training=True)
        return np.stack([mean, var])

    _of_each(moved, x, *averages)


# With programs, pictures and checks


@pytest.mark.parametrize(
    "f", [lambda w, x: w * x, lambda w, x: x * w, lambda w, x: w[:3] @ x, lambda w, x: np.where(x > 0, w, x),
          lambda w, x: np.stack([w, x]), lambda w, x: np.einsum("i,i", w, x)],
)  # fmt: skip
def test_a_map_is_compiled_and_a_compiled_function_is_mapped(f):
    w = np.array([0.7, -1.2, 0.4])
    slope = ad.grad(lambda w, x: (f(w, x) ** 2).sum(), (0, 1))
    expected = ad.vmap(slope, in_axes=(None, 0))(w, X)
    program = ad.compile(ad.vmap(slope, in_axes=(None, 0)))
    for k in (1.0, 2.0):
        close(program(k * w, X), ad.vmap(slope, in_axes=(None, 0))(k * w, X))
    close(ad.vmap(ad.compile(slope), in_axes=(None, 0))(w, X), expected)


def test_what_a_map_recorded_can_be_seen():
    y = ad.vmap(lambda v: np.tanh(v) * W[:, 0])(Tensor(X, requires_grad=True)).sum()
    assert "batch" in ad.graph(y).source
    assert "tanh" in ad.explain(y).to_markdown()


def test_an_anomaly_in_one_example_is_found():
    with ad.detect_anomaly(), pytest.raises(ad.AnomalyError, match="sqrt"):
        ad.vmap(ad.grad(lambda v: np.sqrt(v).sum()))(np.array([[1.0, 0.0], [2.0, 3.0]]))


@pytest.mark.parametrize(
    ("make", "shape"),
    [(lambda: nn.Conv1d(2, 3, 2), (2, 3, 1, 2, 5)), (lambda: nn.LSTM(2, 3, batch_first=True), (2, 3, 1, 4, 2)),
     (lambda: nn.Sequential(nn.Conv2d(1, 2, 2), nn.MaxPool2d(2)), (2, 2, 1, 1, 5, 5))],
)  # fmt: skip
def test_a_layer_in_two_maps_has_the_second_derivatives_of_the_loop(make, shape):
    layer, x = make().double(), np.random.default_rng(0).normal(size=shape)
    weights = list(layer.parameters())

    def one(v):
        y = layer(v)
        y = y[0] if isinstance(y, tuple) else y
        return (y**2).sum() + np.sin(y).sum()

    def slopes(value):
        first = ad.gradients(value, weights, create_graph=True)
        return [d.detach().numpy() for d in (*first, *ad.gradients(sum((d**2).sum() for d in first), weights))]

    with ignored():
        found = slopes(ad.vmap(lambda row: ad.vmap(one)(row).sum() ** 2)(x).sum())
    expected = slopes(sum(sum(one(Tensor(v)) for v in row) ** 2 for row in x))
    for d, e in zip(found, expected):
        np.testing.assert_allclose(d, e, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("crossed", [False, True])
def test_attention_of_queries_of_one_map_and_keys_of_another(crossed):
    q, k = np.random.default_rng(0).normal(size=(2, 3, 1, 4, 2))

    def one(q, k):
        return (nn.functional.scaled_dot_product_attention(q, k, k) ** 3).sum()

    inner, outer = ((None, 0), (0, None)) if crossed else ((0, None), (None, 0))
    f = ad.vmap(ad.vmap(ad.grad(one, (0, 1)), inner), outer)
    for found, i in zip(f(q, k), (0, 1)):
        each = [[ad.grad(one, (0, 1))(*((a, b) if crossed else (b, a)))[i] for b in (k if crossed else q)] for a in (q if crossed else k)]  # fmt: skip
        close(found, np.array(each))


def test_a_tangent_that_meets_an_infinite_slope_is_that_of_each_example():
    x = np.random.default_rng(0).normal(size=(3, 4)) ** 2 + 0.5  # below 1 there is no pareto distribution
    f = lambda x, b: ad.jvp(lambda x, b: ad.stats.pareto.logpdf(x, b), (x, b), (0.3 * x, b))[1]
    with np.errstate(all="ignore"):
        close(ad.vmap(f)(x, x + 1), np.stack([f(a, a + 1) for a in x]))


@pytest.mark.parametrize("given", [lambda x: x, Tensor])
def test_what_is_given_is_not_written(given):
    def f(v):
        v[0] = 5.0
        return v

    x = given(X.copy())
    with pytest.raises(TypeError, match="copy"):
        ad.vmap(f)(x)
    np.testing.assert_array_equal(x, X)
    np.testing.assert_array_equal(ad.vmap(lambda v: f(v.copy()))(x)[:, 0], 5.0)


def test_what_is_written_in_place_is_not_cut_off_to_another_dtype():
    level = Level(2, 1, lambda watch, level: watch)
    whole = Batch(level, np.array([[1, 2], [3, 4]]))
    with pytest.raises(BatchError, match="float64 is not written into int64"):
        whole += 0.5
    with pytest.raises(BatchError, match="float64 is not written into int64"):
        np.multiply(whole, 1.5, out=whole)
    whole += 1
    np.testing.assert_array_equal(whole.value, [[2, 3], [4, 5]])
