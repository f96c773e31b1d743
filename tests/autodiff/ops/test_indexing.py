"""Indexing and functional updates, against NumPy's values; gradients against the map that an index is (which element
of x is each element of x[index]?), against torch, and against central differences."""

import gc
import weakref

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import autodiff as ad
from tests.against_numpy import same_as_numpy

SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
SETTINGS = settings(deadline=None, max_examples=150)


@st.composite
def indexed(draw):
    """A shape and an index of any kind that fits it."""
    shape = draw(SHAPES)
    kind = draw(st.sampled_from(["basic", "integers", "mask", "mixed"]))
    if kind == "basic":
        return shape, draw(hnp.basic_indices(shape, allow_newaxis=True, max_dims=6))
    if kind == "integers" and shape and 0 not in shape:
        return shape, draw(
            hnp.integer_array_indices(shape, dtype=draw(st.sampled_from([np.dtype("int64"), np.dtype("int32")])))
        )
    if kind == "mask":
        n = draw(st.integers(0, len(shape)))
        return shape, draw(hnp.arrays(bool, shape[:n]))
    parts, count = [], draw(st.integers(1, 3))
    for i, n in enumerate(shape):  # slices, integers, arrays and a mask side by side, with new axes between
        if draw(st.booleans()) and draw(st.booleans()):
            parts.append(None)
        choice = draw(st.sampled_from(["slice", "int", "array", "list", "mask"])) if n else "slice"
        if choice == "slice":
            parts.append(draw(st.slices(n)))
        elif choice == "int":
            parts.append(draw(st.integers(-n, n - 1)))
        elif choice == "mask":
            chosen = np.zeros(n, bool)
            chosen[: min(count, n)] = True
            parts.append(chosen if count <= n and count != 1 else draw(st.integers(0, n - 1)))
        else:
            array = draw(
                hnp.arrays(
                    np.int64, draw(st.sampled_from([(count,), (2, count), (1,)])), elements=st.integers(-n, n - 1)
                )
            )
            parts.append(array if choice == "array" else array.tolist())
    return shape, tuple(parts)


def positions(shape, index):
    """For each element of x[index], its place in the flattened x."""
    return np.asarray(np.arange(np.prod(shape, dtype=int)).reshape(shape)[index])


@SETTINGS
@given(indexed())
@example(((2, 3), True))
@example(((2, 3), (False, [0])))
@example(((3, 2), [[True, False], [False, True], [True, True]]))
@example(((3,), []))
@example(((), ()))
@example(((), (..., None)))
@example(((), True))
@example(((4, 5), (np.array([3, 3, -1])[:, None], slice(None), None)))
@example(((4, 5, 2), (slice(1, 3), np.array([0, 0, 4]))))
def test_every_index_gives_numpys_values_and_the_transposed_gradient(case):
    shape, index = case
    x = np.random.default_rng(0).normal(size=shape)
    t = ad.Tensor(x, requires_grad=True)
    y = t[index]
    where = positions(shape, index)
    assert y.shape == where.shape
    np.testing.assert_array_equal(y.numpy(), x[index])
    g = np.random.default_rng(1).normal(size=y.shape)
    (d,) = ad.gradients(y, t, g)
    expected = np.bincount(where.ravel(), g.ravel(), x.size)[: x.size].reshape(shape)
    np.testing.assert_allclose(d.numpy(), expected, rtol=1e-13, atol=1e-13)
    (d,) = ad.gradients(t[index] ** 3, t, g, create_graph=True)  # second order: 6 x g v, once for every visit
    v = np.random.default_rng(2).normal(size=shape)
    (h,) = ad.gradients(d, t, v)
    np.testing.assert_allclose(h.numpy(), expected * 6 * x * v, rtol=1e-12, atol=1e-12)


@SETTINGS
@given(indexed())
def test_tensors_inside_an_index_mean_their_values(case):
    shape, index = case

    def converted(i):
        if isinstance(i, tuple):
            return tuple(converted(p) for p in i)
        if isinstance(i, (np.ndarray, list)) and np.size(i):
            return ad.Tensor(i)
        return ad.Tensor(i) if isinstance(i, int) and not isinstance(i, bool) else i

    x = np.random.default_rng(0).normal(size=shape)
    np.testing.assert_array_equal(ad.Tensor(x)[converted(index)].numpy(), x[index])
    t = ad.Tensor(np.arange(5.0))
    np.testing.assert_array_equal(t[ad.Tensor(1) : ad.Tensor(4) : np.int64(2)].numpy(), [1, 3])
    np.testing.assert_array_equal(t[[ad.Tensor(1), ad.Tensor(3)]].numpy(), [1, 3])
    np.testing.assert_array_equal(t[t > 2.5].numpy(), [3, 4])


def as_range(values):
    """The range that holds these whole numbers, or None."""
    if values.ndim != 1 or values.size < 2 or len(set(np.diff(values))) != 1 or values[0] == values[1]:
        return None
    step = int(values[1] - values[0])
    return range(int(values[0]), int(values[-1]) + (1 if step > 0 else -1), step)


def ways(part):
    """Other ways to write one part of an index."""
    if isinstance(part, bool):
        return [np.bool_(part), np.array(part), ad.Tensor(part)]
    if isinstance(part, int):
        return [np.int8(part), np.uint64(part) if part >= 0 else np.int64(part), np.array(part), ad.Tensor(part)]
    if isinstance(part, list):
        part = np.array(part, int) if not np.size(part) else np.array(part)
    if isinstance(part, np.ndarray) and part.size:
        found = [part.tolist(), ad.Tensor(part), [ad.Tensor(p) for p in part] if part.ndim else part]
        found += [part.astype(np.int8)] if part.dtype.kind == "i" else []
        return found + ([as_range(part)] if part.dtype.kind == "i" and as_range(part) is not None else [])
    return [part]


@SETTINGS
@given(indexed(), st.data())
@example(((3, 4), (np.array([0, 1, 2]), np.array([3, 2, 1]))), None)
@example(((3, 4), np.array([0, 2])), None)
@example(((3,), np.array([True, False, True])), None)
def test_an_index_means_the_same_however_it_is_written_in_values_gradients_and_updates(case, data):
    shape, index = case
    choose = (lambda options: options[-1]) if data is None else lambda options: data.draw(st.sampled_from(options))
    if isinstance(index, tuple):
        written = tuple(choose(ways(p)) for p in index)
    else:
        written = choose(ways(index))
        if isinstance(written, tuple):
            written = list(written)
    x = np.random.default_rng(0).normal(size=shape)
    t = ad.Tensor(x, requires_grad=True)
    y = t[written]
    np.testing.assert_array_equal(y.numpy(), x[index])
    g = np.random.default_rng(1).normal(size=y.shape)
    (d,) = ad.gradients(y**2, t, g, create_graph=True)
    expected = np.bincount(positions(shape, index).ravel(), g.ravel(), x.size)[: x.size].reshape(shape)
    np.testing.assert_allclose(d.numpy(), 2 * x * expected, rtol=1e-12, atol=1e-12)
    (h,) = ad.gradients(d.sum(), t)
    np.testing.assert_allclose(h.numpy(), 2 * expected, rtol=1e-12, atol=1e-12)
    v = ad.Tensor(np.full(y.shape, 1.5), requires_grad=True)
    for update, ufunc in (("add", np.add), ("multiply", np.multiply), ("set", None)):
        found, by_hand = getattr(t.at[written], update)(v), x.copy()
        if ufunc is None:
            by_hand[index] = 1.5
        else:
            ufunc.at(by_hand, index, np.full(y.shape, 1.5))
        np.testing.assert_allclose(found.numpy(), by_hand, rtol=1e-12)
        of_t, of_v = ad.gradients(found.sum(), (t, v))
        reached = np.bincount(positions(shape, index).ravel(), minlength=x.size)[: x.size].reshape(shape)
        slopes = {"add": 1.0, "multiply": 1.5**reached, "set": 1.0 * (reached == 0)}
        np.testing.assert_allclose(of_t.numpy(), np.broadcast_to(slopes[update], shape))
        if update == "add":
            np.testing.assert_array_equal(of_v.numpy(), np.ones(y.shape))


def test_the_losses_of_a_batch_are_picked_by_a_range_and_a_list():
    logp = ad.Tensor(np.arange(12.0).reshape(4, 3), requires_grad=True)
    target = [0, 2, 1, 1]
    (g,) = ad.gradients((logp[range(4), target] ** 2).sum(), logp)
    expected = np.zeros((4, 3))
    expected[range(4), target] = 2 * logp.numpy()[range(4), target]
    np.testing.assert_array_equal(g.numpy(), expected)


def test_many_repeated_places_are_counted_in_half_precision_too():
    x = ad.Tensor(np.ones(3, np.float16), requires_grad=True)
    (g,) = ad.gradients(x[np.zeros(5000, int)].sum(), x)
    assert g.dtype == np.float16 and g.tolist() == [5000.0, 0.0, 0.0]


def test_an_index_array_that_is_changed_later_does_not_change_the_gradient():
    i, mask, inside = np.array([0, 1]), np.array([True, False, False]), [0, 0]
    t = ad.Tensor([1.0, 2.0, 3.0], requires_grad=True)
    u = ad.Tensor([0, 1])
    ys = [t[i], t[mask], t[u], t[inside], t.at[i].add(1.0)[:0], ad.take(t, i), ad.take_along_axis(t, i, 0)]
    y = t.at[i].set(ad.Tensor([5.0, 6.0]))
    i[:], mask[:], inside[:] = 2, True, [2, 2]
    u.data[...] = 2
    for y, expected in zip(
        [*ys, y], [[1, 1, 0], [1, 0, 0], [1, 1, 0], [2, 0, 0], [0, 0, 0], [1, 1, 0], [1, 1, 0], [0, 0, 1]]
    ):
        (d,) = ad.gradients(y.sum(), t)
        np.testing.assert_array_equal(d.numpy(), expected)


def test_many_repeated_rows_sum_in_float32_as_in_float64():
    rng = np.random.default_rng(0)
    i = rng.integers(-50, 50, (40, 30))
    for dtype, rtol in ((np.float64, 1e-12), (np.float32, 1e-4)):
        t = ad.Tensor(rng.normal(size=(50, 7)).astype(dtype), requires_grad=True)
        g = rng.normal(size=(40, 30, 7)).astype(dtype)
        (d,) = ad.gradients(t[i], t, g)
        expected = np.zeros((50, 7))
        np.add.at(expected, i, g)
        np.testing.assert_allclose(d.numpy(), expected, rtol=rtol, atol=rtol)
        assert d.dtype == dtype


def test_a_graph_with_indices_is_freed_without_the_collector():
    gc.disable()
    try:
        t = ad.Tensor(np.ones(3), requires_grad=True)
        y = t.at[[0, 0]].multiply(t[1:])[t > 0.5].sum()
        (d,) = ad.gradients(y, t, create_graph=True)
        (d * d).sum().backward()
        watch = [weakref.ref(v) for v in (y, d, y.inputs[0])]
        del y, d
        t.zero_grad()
        assert all(w() is None for w in watch)
    finally:
        gc.enable()


# take, take_along_axis, compress, extract, select


@SETTINGS
@given(hnp.array_shapes(max_dims=3, max_side=4), st.data())
def test_take_is_numpys_in_every_mode(shape, data):
    x = np.random.default_rng(0).normal(size=shape)
    axis = data.draw(st.one_of(st.none(), st.integers(-len(shape), len(shape) - 1)))
    n = x.size if axis is None else shape[axis]
    mode = data.draw(st.sampled_from(["raise", "wrap", "clip"]))
    bound = (-n, n - 1) if mode == "raise" else (-3 * n, 3 * n)
    i = data.draw(
        hnp.arrays(
            np.int64, hnp.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=3), elements=st.integers(*bound)
        )
    )
    t = ad.Tensor(x, requires_grad=True)
    expected = np.take(x, i, axis, mode=mode)
    g = np.random.default_rng(1).normal(size=expected.shape)
    places = np.take(np.arange(x.size).reshape(shape), i, axis, mode=mode)
    for y in (np.take(t, i, axis, mode=mode), t.take(i, axis, mode=mode), ad.take(t, ad.Tensor(i), axis, mode=mode)):
        np.testing.assert_array_equal(y.numpy(), expected)
    (d,) = ad.gradients(y, t, g)
    np.testing.assert_allclose(d.numpy(), np.bincount(places.ravel(), g.ravel(), x.size).reshape(shape), atol=1e-13)


@SETTINGS
@given(hnp.array_shapes(max_dims=3, max_side=4), st.data())
def test_take_along_axis_is_numpys_with_broadcasting(shape, data):
    x = np.random.default_rng(0).normal(size=shape)
    axis = data.draw(st.one_of(st.none(), st.integers(-len(shape), len(shape) - 1)))
    if axis is None:
        n, wanted = x.size, (3,)
    else:
        n = shape[axis]
        wanted = [data.draw(st.sampled_from([1, m])) for m in shape]
        wanted[axis] = data.draw(st.integers(0, 4))
    i = data.draw(hnp.arrays(np.int32, tuple(wanted), elements=st.integers(-n, n - 1)))
    t = ad.Tensor(x, requires_grad=True)
    expected = np.take_along_axis(x, i, axis)
    y = np.take_along_axis(t, ad.Tensor(i), axis)
    np.testing.assert_array_equal(y.numpy(), expected)
    g = np.random.default_rng(1).normal(size=expected.shape)
    places = np.take_along_axis(np.arange(x.size).reshape(shape), i, axis)
    (d,) = ad.gradients(y, t, g)
    np.testing.assert_allclose(d.numpy(), np.bincount(places.ravel(), g.ravel(), x.size).reshape(shape), atol=1e-13)


def test_gathering_agrees_with_torch_to_second_order():
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(0).normal(size=(4, 5))
    i = np.array([[0, 0, 3], [4, 1, 1], [2, 2, 2], [0, 4, 1]])
    t, u = ad.Tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    pairs = [
        (ad.take_along_axis(t, i, 1), torch.gather(u, 1, torch.tensor(i))),
        (t[i[:, 2], i[:, 1]], u[torch.tensor(i[:, 2]), torch.tensor(i[:, 1])]),
        (t[:, i[:, 2]], u[:, torch.tensor(i[:, 2])]),
        (t[t > 0], u[u > 0]),
        (t[..., None, 1::2], u[..., None, 1::2]),
    ]
    for a, b in pairs:
        (d,) = ad.gradients((a**3).sum(), t, create_graph=True)
        (e,) = torch.autograd.grad((b**3).sum(), u, create_graph=True)
        np.testing.assert_allclose(d.numpy(), e.detach().numpy(), rtol=1e-12)
        (h,) = ad.gradients((d**2).sum(), t)
        np.testing.assert_allclose(h.numpy(), torch.autograd.grad((e**2).sum(), u)[0].numpy(), rtol=1e-12)


def test_choosing_functions_are_numpys():
    x, w = np.array([[1.0, -2.0, 3.0], [-4.0, 5.0, -6.0]]), np.array([0.5, 1.5, 2.5])
    t, v = ad.Tensor(x, requires_grad=True), ad.Tensor(w, requires_grad=True)
    for f, args in [
        (np.compress, ([True, False, True], x, 1)), (np.compress, ([False, True], x)), (np.extract, (x > 0, x)),
        (np.bincount, (np.array([0, 2, 2]), w, 4)),
    ]:  # fmt: skip
        ours = f(*[t if a is x else v if a is w else a for a in args])
        np.testing.assert_array_equal(ours.numpy(), f(*args))
    y = np.select([t > 2, t < 0], [t * t, -t], 7.0)
    np.testing.assert_array_equal(y.numpy(), np.select([x > 2, x < 0], [x * x, -x], 7.0))
    (d,) = ad.gradients(y.sum(), t)
    np.testing.assert_array_equal(d.numpy(), np.where(x > 2, 2 * x, np.where(x < 0, -1, 0)))
    (d,) = ad.gradients((np.bincount(np.array([0, 2, 2]), v, 4) * np.arange(4.0)).sum(), v)
    np.testing.assert_array_equal(d.numpy(), [0, 2, 2])
    np.testing.assert_array_equal(np.bincount(ad.Tensor([0, 2, 2])).numpy(), [1, 0, 2])
    np.testing.assert_array_equal(np.argwhere(t > 0).numpy(), np.argwhere(x > 0))
    np.testing.assert_array_equal(np.flatnonzero(t > 0).numpy(), np.flatnonzero(x > 0))


# Functional updates


def written(x, index, v, name):
    """What NumPy makes of a copy."""
    y = np.array(x)
    if name == "set":
        y[index] = v
    else:
        names = {"min": "minimum", "max": "maximum"}
        # (a value with fewer axes than the index makes ufunc.at of NumPy 2.4 read beyond its end)
        getattr(np, names.get(name, name)).at(y, index, np.broadcast_to(v, np.shape(y[index])))
    return y


def numeric(f, x, g, step=1e-6):
    """g times the Jacobian of f at x, by central differences."""
    d = np.zeros(x.shape)
    for i in np.ndindex(x.shape):
        e = np.zeros(x.shape)
        e[i] = step
        d[i] = np.sum(g * (f(x + e) - f(x - e))) / (2 * step)
    return d


NAMES = ["set", "add", "subtract", "multiply", "divide", "min", "max"]


@pytest.mark.parametrize("name", NAMES)
@settings(deadline=None, max_examples=60)
@given(case=indexed(), data=st.data())
def test_updates_write_numpys_values_and_have_the_numeric_gradient(name, case, data):
    shape, index = case
    rng = np.random.default_rng(0)
    target = positions(shape, index).shape
    keep = data.draw(st.integers(0, len(target)))  # the value may have fewer axes, and axes of length 1
    size = [data.draw(st.sampled_from([1, n])) for n in target[len(target) - keep :]]
    x, v = rng.normal(size=shape), rng.uniform(0.5, 2.0, size=size) * rng.choice([-1, 1], size=size)
    t, u = ad.Tensor(x, requires_grad=True), ad.Tensor(v, requires_grad=True)
    y = getattr(t.at[index], name)(u)
    np.testing.assert_allclose(y.numpy(), written(x, index, v, name), rtol=1e-13, atol=1e-13)
    np.testing.assert_array_equal(t.numpy(), x)
    g = rng.normal(size=shape)
    dt, du = ad.gradients(y, [t, u], g)
    np.testing.assert_allclose(dt.numpy(), numeric(lambda z: written(z, index, v, name), x, g), rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(du.numpy(), numeric(lambda z: written(x, index, z, name), v, g), rtol=1e-6, atol=1e-7)


INDICES = [
    1,
    slice(0, 2),
    [0, 2, 0],
    np.array([[1, 1], [0, 1]]),
    np.array([True, False, True]),
    (..., None),
    [1, 1, 1, 1, 1],
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("index", INDICES, ids=str)
def test_second_derivatives_of_updates_agree_with_a_difference_of_gradients(name, index):
    rng = np.random.default_rng(0)
    x = rng.normal(size=3)
    v = rng.uniform(0.5, 2.0, size=np.shape(x[index]))
    w = rng.normal(size=3)

    def gradient(a, b, create_graph=False):
        t, u = ad.Tensor(a, requires_grad=True), ad.Tensor(b, requires_grad=True)
        y = (getattr(t.at[index], name)(u) ** 3 * w).sum()
        return (t, u), ad.gradients(y, [t, u], create_graph=create_graph)

    (t, u), (dt, du) = gradient(x, v, create_graph=True)
    p, q = rng.normal(size=x.shape), rng.normal(size=v.shape)
    h = ad.gradients([dt, du], [t, u], [p, q], allow_unused=True)
    e = 1e-6
    plus, minus = gradient(x + e * p, v + e * q)[1], gradient(x - e * p, v - e * q)[1]
    for ours, a, b in zip(h, plus, minus):
        np.testing.assert_allclose(ours.numpy(), (a.numpy() - b.numpy()) / (2 * e), rtol=1e-6, atol=1e-7)


def test_set_gives_the_gradient_to_the_value_that_was_kept_and_to_no_other():
    for order in "CF":
        i = np.array([[0, 1, 0], [1, 0, 2]], order=order)
        v = np.asarray(np.arange(6.0).reshape(2, 3), order=order)
        t, u = ad.Tensor(np.zeros(3), requires_grad=True), ad.Tensor(v, requires_grad=True)
        y = t.at[i].set(u)
        y.backward([10.0, 20.0, 30.0])
        for place, g in enumerate([10.0, 20.0, 30.0]):
            assert [(a, b) for a, b in zip(v[i == place], u.grad.numpy()[i == place]) if b] == [(y.numpy()[place], g)]
        np.testing.assert_array_equal(t.grad.numpy(), [0, 0, 0])


@pytest.mark.parametrize("v", [[2.0, 0.0, 0.0, 3.0], [0.0, 5.0, 2.0, 3.0]])
def test_repeated_factors_of_zero_have_exact_gradients(v):
    x, i = np.array([1.5, -2.0]), [0, 0, 0, 1]
    t, u = ad.Tensor(x, requires_grad=True), ad.Tensor(v, requires_grad=True)
    y = t.at[i].multiply(u)
    dt, du = ad.gradients(y.sum(), [t, u])
    np.testing.assert_allclose(dt.numpy(), [v[0] * v[1] * v[2], v[3]])
    np.testing.assert_allclose(du.numpy(), [1.5 * v[1] * v[2], 1.5 * v[0] * v[2], 1.5 * v[0] * v[1], -2.0])


def test_three_candidates_for_a_maximum_share_the_gradient_equally():
    t, u = ad.Tensor([3.0, 0.0], requires_grad=True), ad.Tensor([3.0, 3.0, 1.0], requires_grad=True)
    for y in (t.at[[0, 0, 0]].max(u), (-t).at[[0, 0, 0]].min(-u)):
        dt, du = ad.gradients(y[0], [t, u])
        np.testing.assert_allclose(np.abs(np.concatenate([dt.numpy(), du.numpy()])), [1 / 3, 0, 1 / 3, 1 / 3, 0])


def test_adding_at_an_index_is_the_transpose_of_indexing():
    torch = pytest.importorskip("torch")
    v, i = np.random.default_rng(0).normal(size=(5, 2)), [1, 3, 1, 1, 0]
    u, w = ad.Tensor(v, requires_grad=True), torch.tensor(v, requires_grad=True)
    y = ad.zeros((4, 2)).at[i].add(u)
    z = torch.zeros(4, 2, dtype=torch.float64).index_put((torch.tensor(i),), w, accumulate=True)
    np.testing.assert_allclose(y.numpy(), z.detach().numpy())
    (d,) = ad.gradients((y**4).sum(), u, create_graph=True)
    (e,) = torch.autograd.grad((z**4).sum(), w, create_graph=True)
    np.testing.assert_allclose(d.numpy(), e.detach().numpy())
    np.testing.assert_allclose(
        ad.gradients((d**2).sum(), u)[0].numpy(), torch.autograd.grad((e**2).sum(), w)[0].numpy(), rtol=1e-12
    )


def test_updates_keep_the_dtype_of_the_tensor():
    t = ad.Tensor(np.zeros(3, np.float32), requires_grad=True)
    v = ad.Tensor(np.ones(2), requires_grad=True)
    for name in NAMES:
        y = getattr(t.at[[0, 0]], name)(v)
        dt, dv = ad.gradients(y.sum(), [t, v])
        assert y.dtype == dt.dtype == np.float32 and dv.dtype == np.float64
        assert getattr(t.at[0], name)(2.0).dtype == np.float32
    i = ad.Tensor([1, 2, 3])
    for name in ("set", "add", "subtract", "multiply", "min", "max"):
        y = getattr(i.at[[0, 0]], name)(2)
        assert y.dtype == np.int64
        np.testing.assert_array_equal(y.numpy(), written(np.array([1, 2, 3]), [0, 0], 2, name))
    np.testing.assert_array_equal(i.at[:2].set([[7, 8]]).numpy(), [7, 8, 3])  # leading axes of 1, as NumPy's assignment
    assert i.at[0].get().item() == 1


T = np.arange(6.0).reshape(2, 3)
ERRORS = [
    (lambda t: t[2], IndexError, ["getitem", "(2, 3)", "2"]),
    (lambda t: t[:, 3], IndexError, ["getitem", "(2, 3)", "3"]),
    (lambda t: t[0, 0, 0], IndexError, ["getitem", "(2, 3)", "too many"]),
    (lambda t: t[1.0], IndexError, ["getitem", "(2, 3)"]),
    (lambda t: t[np.array([0.5])], IndexError, ["getitem", "(2, 3)"]),
    (lambda t: t[ad.Tensor([0.5])], IndexError, ["getitem", "(2, 3)"]),
    (lambda t: t["a"], IndexError, ["getitem", "(2, 3)"]),
    (lambda t: t[[0, [1]]], IndexError, ["getitem", "(2, 3)"]),
    (lambda t: t[[0, 5]], IndexError, ["getitem", "(2, 3)", "5"]),
    (lambda t: t[np.array([True, False, True])], IndexError, ["getitem", "(2, 3)"]),
    (lambda t: t[[0, 1], [0, 1, 2]], IndexError, ["getitem", "(2, 3)"]),
    (lambda t: t.sum()[0], IndexError, ["getitem", "()"]),
    (lambda t: ad.take(t, 7), IndexError, ["take", "(6,)", "7"]),
    (lambda t: ad.take(t, [0.5]), TypeError, ["take", "float64"]),
    (lambda t: ad.take(t, [0], axis=2), np.exceptions.AxisError, ["take", "(2, 3)", "2"]),
    (lambda t: ad.take(t, [0], mode="no"), ValueError, ["take", "'no'"]),
    (lambda t: ad.take_along_axis(t, [0], 0), ValueError, ["take_along_axis", "(1,)", "(2, 3)"]),
    (lambda t: ad.take_along_axis(t, np.zeros((3, 1), int), 1), IndexError, ["take_along_axis", "(3, 1)", "(2, 3)"]),
    (lambda t: ad.take_along_axis(t, np.zeros((2, 1)), 1), IndexError, ["take_along_axis", "float64"]),
    (lambda t: t.at[5].set(1.0), IndexError, ["t.at[5]", "(2, 3)"]),
    (lambda t: t.at[0].set([1.0, 2.0]), ValueError, ["set", "(2,)", "(3,)"]),
    (lambda t: t.at[0].add(np.ones((2, 3))), ValueError, ["add", "(2, 3)", "(3,)"]),
    (lambda t: ad.Tensor([1, 2]).at[0].set(1.5), TypeError, ["set", "1.5", "int64"]),
    (lambda t: ad.Tensor([1, 2]).at[0].add(np.ones(())), TypeError, ["add", "float64", "int64"]),
    (lambda t: ad.Tensor([1, 2]).at[0].divide(2), TypeError, ["divide", "int64"]),
    (lambda t: t.at[0].set("a"), TypeError, ["set", "'a'"]),
    (lambda t: ad.bincount([0, 1], t[0]), ValueError, ["bincount", "(2,)", "(3,)"]),
    (lambda t: np.put_along_axis(t, np.zeros((1, 3), int), 1.0, 0), TypeError, ["put_along_axis"]),
]


@pytest.mark.parametrize("f, kind, words", ERRORS, ids=[str(i) for i in range(len(ERRORS))])
def test_a_bad_index_or_value_gets_an_error_that_names_what_was_called(f, kind, words):
    t = ad.Tensor(T, requires_grad=True)
    with pytest.raises(kind) as caught:
        f(t)
    for word in words:
        assert word in str(caught.value)


R = np.random.default_rng(9).normal(size=(4, 3))
W = R[0]


def test_choices_by_number_have_gradients():
    for call in (
        lambda f: f(np.array([0, 1, 1]), [W, W**2]),
        lambda f: f(np.array([[0, 1, 2]] * 4), [W, R, 2.0]),
        lambda f: f(np.array([0, 5, -1]), [W, W**2], mode="wrap"),
        lambda f: f(np.array([0, 5, -1]), [W, W**2], mode="clip"),
        lambda f: f(1, [W, W**2]),
    ):
        same_as_numpy("choose", call)
    same_as_numpy("choose", lambda f: f(np.array([0, 1, 0]), R[:2]))
    with pytest.raises(ValueError, match="choose: a number among 0 … 2 is not one of the 2 choices"):
        np.choose([0, 2], [ad.Tensor(W[:2]), W[:2]])
    with pytest.raises(ValueError, match=r"choose: numbers of shape \(2,\) and choices of shapes \(3,\), \(3,\)"):
        np.choose([0, 1], [ad.Tensor(W), W])
    with pytest.raises(TypeError, match="choose: indices must be integers, not float64"):
        np.choose(ad.Tensor(W), [W, W])


def test_a_function_by_pieces_is_that_of_each_piece():
    for call in (
        lambda f: f(W, [W < 0, W >= 0], [np.negative, np.square]),
        lambda f: f(W, [W < 0], [np.exp, 7.0]),
        lambda f: f(W, W < 0, [np.exp, 7.0]),
        lambda f: f(W, [W < 0, W < 1], [np.exp, np.sin]),
        lambda f: f(R, [R > 0], [lambda x, k: k * x, lambda x, k: x**k], 3),
        lambda f: f(np.array(2.0), [True], [np.sqrt]),
        lambda f: f(np.array(2.0), [False], [np.sqrt]),
        lambda f: f(W, [W > 100], [np.sqrt, np.cos]),
    ):
        same_as_numpy("piecewise", call)
    w = ad.Tensor(2.0, requires_grad=True)
    np.piecewise(ad.Tensor(W), [W < 0], [lambda x: w * x, w]).sum().backward()
    assert w.grad.item() == pytest.approx(W[W < 0].sum() + (W >= 0).sum())
    with pytest.raises(ValueError, match="piecewise: 1 conditions take as many functions or one more, not 3"):
        np.piecewise(ad.Tensor(W), [W < 0], [1.0, 2.0, 3.0])
    with pytest.raises(TypeError, match="piecewise: conditions must be boolean arrays"):
        np.piecewise(ad.Tensor(W), [W], [1.0, 2.0])
