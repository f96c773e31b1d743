"""Rearranging elements. Nearly all of it is linear, so the oracle is exact: the Jacobian J read off NumPy's own
function, basis vector by basis vector; the gradient must be Jᵀg, and derivatives of (f(x))³ follow from J alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import autodiff as ad
from autodiff import Tensor
from tests.against_numpy import same_as_numpy

A = np.arange(6.0).reshape(2, 3) + 1
B = np.arange(24.0).reshape(2, 3, 4) + 1
ONE = np.arange(1.0, 5.0)
SCALAR = np.array(2.5)
EMPTY = np.zeros((0, 3))
MASK = np.array([[True], [False]])

# name, function of (a module with NumPy's names, x), input
CASES = [
    ("broadcast_to", lambda m, x: m.broadcast_to(x, (4, 2, 3)), A),
    ("broadcast_to an integer", lambda m, x: m.broadcast_to(x, 3), SCALAR),
    ("broadcast_arrays", lambda m, x: m.broadcast_arrays(x, np.ones((2, 1)))[0], ONE),
    ("reshape", lambda m, x: m.reshape(x, (3, -1)), A),
    ("reshape to an integer", lambda m, x: m.reshape(x, -1), B),
    ("reshape, order F", lambda m, x: m.reshape(x, (4, 6), order="F"), B),
    ("reshape, order A", lambda m, x: m.reshape(m.transpose(x), (4, 6), order="A"), B),
    ("reshape of nothing", lambda m, x: m.reshape(x, (3, 0)), EMPTY),
    ("ravel", lambda m, x: m.ravel(x), B),
    ("ravel, order F", lambda m, x: m.ravel(x, order="F"), B),
    ("ravel, order K", lambda m, x: m.ravel(m.transpose(x), order="K"), B),
    ("squeeze", lambda m, x: m.squeeze(x), A[None, :, None]),
    ("squeeze one axis", lambda m, x: m.squeeze(x, axis=-2), A[None, :, None]),
    ("squeeze two axes", lambda m, x: m.squeeze(x, axis=(0, 2)), A[None, :, None]),
    ("expand_dims", lambda m, x: m.expand_dims(x, 1), A),
    ("expand_dims, several", lambda m, x: m.expand_dims(x, (0, -1)), A),
    ("atleast_1d", lambda m, x: m.atleast_1d(x), SCALAR),
    ("atleast_2d", lambda m, x: m.atleast_2d(x), ONE),
    ("atleast_2d, several", lambda m, x: m.atleast_2d(x, 3.0)[0], SCALAR),
    ("atleast_3d of a vector", lambda m, x: m.atleast_3d(x), ONE),
    ("atleast_3d of a matrix", lambda m, x: m.atleast_3d(x), A),
    ("atleast_3d of a number", lambda m, x: m.atleast_3d(x), SCALAR),
    ("transpose", lambda m, x: m.transpose(x), B),
    ("transpose, axes", lambda m, x: m.transpose(x, (1, -1, 0)), B),
    ("permute_dims", lambda m, x: m.permute_dims(x, (2, 0, 1)), B),
    ("swapaxes", lambda m, x: m.swapaxes(x, 0, -1), B),
    ("matrix_transpose", lambda m, x: m.matrix_transpose(x), B),
    ("moveaxis", lambda m, x: m.moveaxis(x, 0, -1), B),
    ("moveaxis, several", lambda m, x: m.moveaxis(x, (0, 2), (1, 0)), B),
    ("rollaxis", lambda m, x: m.rollaxis(x, 2), B),
    ("rollaxis, start", lambda m, x: m.rollaxis(x, 0, 3), B),
    ("rollaxis, negative start", lambda m, x: m.rollaxis(x, 0, -1), B),
    ("concatenate", lambda m, x: m.concatenate([x, np.ones((1, 3)), x]), A),
    ("concatenate, axis", lambda m, x: m.concatenate((x, np.ones((2, 1)), x), axis=-1), A),
    ("concatenate, flattened", lambda m, x: m.concatenate([x, np.ones(2)], axis=None), A),
    ("concatenate, dtype", lambda m, x: m.concatenate([x, x], dtype=np.float64), A),
    ("concatenate, many", lambda m, x: m.concatenate([x[:1], x] * 9, axis=0), A),
    ("concatenate of slices", lambda m, x: m.concatenate(x, axis=1), B),
    ("concat", lambda m, x: m.concat([x, x]), A),
    ("stack", lambda m, x: m.stack([x, np.ones((2, 3)), x]), A),
    ("stack, last axis", lambda m, x: m.stack([x, x], axis=-1), A),
    ("stack of numbers", lambda m, x: m.stack([x, 1.0, x]), SCALAR),
    ("vstack", lambda m, x: m.vstack([x, np.ones(3)]), A),
    ("hstack", lambda m, x: m.hstack([x, np.ones((2, 2))]), A),
    ("hstack of vectors", lambda m, x: m.hstack([x, 1.0]), ONE),
    ("dstack", lambda m, x: m.dstack([x, np.ones((2, 3))]), A),
    ("column_stack", lambda m, x: m.column_stack([x, np.ones((4, 2)), x]), ONE),
    ("append", lambda m, x: m.append(x, [7.0]), A),
    ("append, axis", lambda m, x: m.append(x, [[7.0, 8.0, 9.0]], axis=0), A),
    ("block", lambda m, x: m.block([[x, np.ones((2, 1))], [np.zeros((1, 4))]]), A),
    ("block of vectors", lambda m, x: m.block([x, 5.0, x]), ONE),
    ("block of one", lambda m, x: m.block(x), A),
    ("split", lambda m, x: m.split(x, 3, axis=1)[1], A),
    ("split at places", lambda m, x: m.split(x, [1, 3])[1], ONE),
    ("split beyond the end", lambda m, x: m.split(x, [3, 9])[2], ONE),
    ("array_split", lambda m, x: m.array_split(x, 3)[0], ONE),
    ("array_split, last", lambda m, x: m.array_split(x, 3)[2], ONE),
    ("hsplit", lambda m, x: m.hsplit(x, 3)[2], A),
    ("hsplit of a vector", lambda m, x: m.hsplit(x, 2)[1], ONE),
    ("vsplit", lambda m, x: m.vsplit(x, 2)[1], A),
    ("dsplit", lambda m, x: m.dsplit(x, 2)[1], B),
    *([("unstack", lambda m, x: m.unstack(x, axis=1)[2], B)] if hasattr(np, "unstack") else []),  # NumPy 2.1
    ("delete", lambda m, x: m.delete(x, [0, 2], axis=1), A),
    ("delete one of the flattened", lambda m, x: m.delete(x, -1), A),
    ("delete a slice", lambda m, x: m.delete(x, slice(0, 2)), ONE),
    ("tile", lambda m, x: m.tile(x, 3), ONE),
    ("tile, axes", lambda m, x: m.tile(x, (2, 1, 2)), A),
    ("tile, fewer axes", lambda m, x: m.tile(x, 2), A),
    ("tile none", lambda m, x: m.tile(x, 0), A),
    ("repeat", lambda m, x: m.repeat(x, 2), A),
    ("repeat, axis", lambda m, x: m.repeat(x, 3, axis=1), A),
    ("repeat, counts", lambda m, x: m.repeat(x, [2, 0, 1], axis=-1), A),
    ("repeat none", lambda m, x: m.repeat(x, 0, axis=0), A),
    ("repeat a number", lambda m, x: m.repeat(x, 3), SCALAR),
    ("meshgrid", lambda m, x: m.meshgrid(x, np.ones(3))[0], ONE),
    ("meshgrid, second", lambda m, x: m.meshgrid(np.ones(3), x)[1], ONE),
    ("meshgrid, ij", lambda m, x: m.meshgrid(x, np.ones(3), np.ones(2), indexing="ij")[0], ONE),
    ("meshgrid, sparse", lambda m, x: m.meshgrid(np.ones(3), x, sparse=True)[1], ONE),
    ("meshgrid of one", lambda m, x: m.meshgrid(x)[0], ONE),
    ("flip", lambda m, x: m.flip(x), A),
    ("flip, axis", lambda m, x: m.flip(x, -1), A),
    ("flip, axes", lambda m, x: m.flip(x, (0, 2)), B),
    ("flipud", lambda m, x: m.flipud(x), A),
    ("fliplr", lambda m, x: m.fliplr(x), A),
    ("roll", lambda m, x: m.roll(x, 2), A),
    ("roll, axis", lambda m, x: m.roll(x, -1, axis=1), A),
    ("roll, axes", lambda m, x: m.roll(x, (1, -2), axis=(0, 1)), A),
    ("roll, one shift for two axes", lambda m, x: m.roll(x, 1, axis=(0, 1)), A),
    ("roll, several shifts of one axis", lambda m, x: m.roll(x, [1, 1], axis=1), A),
    *((f"rot90 {k}", lambda m, x, k=k: m.rot90(x, k), A) for k in range(-1, 4)),
    ("rot90, axes", lambda m, x: m.rot90(x, 1, (2, 0)), B),
    ("pad", lambda m, x: m.pad(x, 1), A),
    ("pad of a number", lambda m, x: m.pad(x, 1), SCALAR),
    ("pad, a pair", lambda m, x: m.pad(x, (1, 2), constant_values=7.0), A),
    ("pad, pairs", lambda m, x: m.pad(x, ((1, 0), (0, 2)), "constant", constant_values=((1, 2), (3, 4))), A),
    *((f"pad {mode}", lambda m, x, mode=mode: m.pad(x, ((1, 3), (2, 4)), mode), A)
      for mode in ("edge", "reflect", "symmetric", "wrap")),
    ("diag of a vector", lambda m, x: m.diag(x), ONE),
    ("diag of a vector, below", lambda m, x: m.diag(x, -2), ONE),
    ("diag of a matrix", lambda m, x: m.diag(x, 1), A),
    ("diag beyond the corner", lambda m, x: m.diag(x, 5), A),
    ("diagflat", lambda m, x: m.diagflat(x, 1), A),
    ("diagonal", lambda m, x: m.diagonal(x), A),
    ("diagonal, axes", lambda m, x: m.diagonal(x, 1, axis1=2, axis2=0), B),
    ("diagonal, below", lambda m, x: m.diagonal(x, -1, 0, 2), B),
    ("trace", lambda m, x: m.trace(x), A),
    ("trace, axes", lambda m, x: m.trace(x, offset=1, axis1=1, axis2=2), B),
    ("tril", lambda m, x: m.tril(x), A),
    ("tril, k", lambda m, x: m.tril(x, 1), B),
    ("triu", lambda m, x: m.triu(x, -1), B),
    ("triu of a vector", lambda m, x: m.triu(x), ONE),
    ("diff", lambda m, x: m.diff(x), A),
    ("diff, twice along the first axis", lambda m, x: m.diff(x, n=2, axis=1), B),
    ("diff, with ends", lambda m, x: m.diff(x, prepend=0.0, append=[[1.0], [2.0]]), A),
    ("diff, none", lambda m, x: m.diff(x, n=0), A),
    ("ediff1d", lambda m, x: m.ediff1d(x), A),
    ("ediff1d, with ends", lambda m, x: m.ediff1d(x, to_end=[1.0, 2.0], to_begin=0.5), A),
]  # fmt: skip
IDS = [name for name, *_ in CASES]


def jacobian(f, x):
    """The matrix of an affine map, from its values on the basis vectors."""
    at_zero = np.asarray(f(np.zeros_like(x)))
    columns = []
    for i in range(x.size):
        e = np.zeros(x.size)
        e[i] = 1
        columns.append((f(e.reshape(x.shape)) - at_zero).ravel())
    return np.array(columns).T.reshape(at_zero.size, x.size)


@pytest.mark.parametrize("name, f, x", CASES, ids=IDS)
def test_values_are_numpys_under_its_name_and_under_ours(name, f, x):
    expected = f(np, x)
    for module in (ad, np):
        y = f(module, ad.Tensor(x, requires_grad=True))
        assert isinstance(y, ad.Tensor)
        np.testing.assert_array_equal(y.numpy(), expected)
        assert y.shape == expected.shape and y.dtype == expected.dtype
    np.testing.assert_array_equal(f(ad, x).numpy(), expected)  # of a plain array, too


@pytest.mark.parametrize("name, f, x", CASES, ids=IDS)
def test_first_and_second_derivatives_are_those_of_the_linear_map(name, f, x, rng=np.random.default_rng(0)):
    J = jacobian(lambda v: f(np, v), x)
    t = ad.Tensor(x, requires_grad=True)
    y = f(ad, t)
    g = rng.normal(size=y.shape)
    (d,) = ad.gradients(y, t, g) if y.requires_grad else (None,)
    np.testing.assert_allclose(d.numpy(), (J.T @ g.ravel()).reshape(x.shape), rtol=1e-13, atol=1e-13)
    (d,) = ad.gradients(f(ad, t) ** 3, t, g, create_graph=True)
    v = rng.normal(size=x.shape)
    (h,) = ad.gradients(d, t, v)
    expected = J.T @ (g.ravel() * 6 * f(np, x).ravel() * (J @ v.ravel()))
    np.testing.assert_allclose(h.numpy(), expected.reshape(x.shape), rtol=1e-12, atol=1e-11)


@pytest.mark.parametrize("name, f, x", CASES, ids=IDS)
def test_float32_stays_float32_and_its_gradient_too(name, f, x):
    if name in ("stack of numbers", "concatenate, dtype") or f(np, x.astype(np.float32)).dtype != np.float32:
        return  # NumPy itself promotes there
    t = ad.Tensor(x.astype(np.float32), requires_grad=True)
    y = f(ad, t)
    y.backward(np.ones(y.shape, np.float32))
    assert y.dtype == t.grad.dtype == np.float32 and t.grad.shape == t.shape


@settings(deadline=None, max_examples=60)
@given(
    hnp.arrays(np.float64, hnp.array_shapes(max_dims=3, max_side=4, min_side=0), elements=st.integers(-3, 3)), st.data()
)
def test_sort_and_partition_give_numpys_values_and_permute_the_gradient_back(x, data):
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    n = x.shape[axis]
    t = ad.Tensor(x, requires_grad=True)
    g = np.random.default_rng(0).normal(size=x.shape)
    for f in [lambda m, x: m.sort(x, axis), *([lambda m, x: m.partition(x, n // 2, axis)] if n else [])]:
        y = f(ad, t)
        np.testing.assert_array_equal(y.numpy(), f(np, x))
        (d,) = ad.gradients(y, t, g)
        for value in range(-3, 4):  # equal numbers may trade places, but only they
            np.testing.assert_allclose(((x == value) * d.numpy()).sum(axis), ((y.numpy() == value) * g).sum(axis))
            assert set(d.numpy()[x == value]) == set(g[y.numpy() == value])


@pytest.mark.parametrize("axis", [0, 1, -1, None])
def test_sort_agrees_with_torch_to_second_order(axis):
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(1).normal(size=(4, 5))
    w = np.arange(20.0).reshape((4, 5) if axis is not None else 20)
    t, u = ad.Tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    (d,) = ad.gradients((ad.sort(t, axis) ** 3 * w).sum(), t, create_graph=True)
    s = torch.sort(u.reshape(-1), 0)[0] if axis is None else torch.sort(u, axis)[0]
    (e,) = torch.autograd.grad((s**3 * torch.tensor(w)).sum(), u, create_graph=True)
    np.testing.assert_allclose(d.numpy(), e.detach().numpy(), rtol=1e-12)
    (h,) = ad.gradients((d * d).sum(), t)
    np.testing.assert_allclose(h.numpy(), torch.autograd.grad((e * e).sum(), u)[0].numpy(), rtol=1e-12)


def test_partition_agrees_with_a_central_difference():
    x = np.array([3.0, 1.0, 4.0, 1.5, 5.0, 9.0, 2.0, 6.0])
    w = np.arange(8.0)
    t = ad.Tensor(x, requires_grad=True)
    (np.partition(t, [2, 5]) * w).sum().backward()
    numeric = [(np.partition(x + e, [2, 5]) - np.partition(x - e, [2, 5])) @ w / 2e-6 for e in 1e-6 * np.eye(8)]
    np.testing.assert_allclose(t.grad.numpy(), numeric, atol=1e-8)


@settings(deadline=None, max_examples=60)
@given(hnp.mutually_broadcastable_shapes(num_shapes=1, min_dims=0, max_dims=3, max_side=3))
def test_broadcasting_is_undone_by_summing(shapes):
    (small,), full = shapes
    t = ad.Tensor(np.ones(small), requires_grad=True)
    ad.broadcast_to(t, full).sum().backward()
    assert t.grad.shape == small
    np.testing.assert_array_equal(t.grad.numpy(), np.full(small, np.prod(full) / max(np.prod(small), 1)))


def test_methods_are_the_functions():
    t = ad.Tensor(B, requires_grad=True)
    for ours, numpys in [
        (t.reshape(4, 6), B.reshape(4, 6)), (t.reshape((4, -1), order="F"), B.reshape((4, -1), order="F")),
        (t.ravel(), B.ravel()), (t.flatten("F"), B.flatten("F")), (t.T, B.T), (t.mT, B.mT),
        (t.transpose(1, 0, 2), B.transpose(1, 0, 2)), (t.transpose((1, 0, 2)), B.transpose((1, 0, 2))),
        (t.swapaxes(0, 2), B.swapaxes(0, 2)), (t[:1].squeeze(), B[:1].squeeze()), (t.repeat(2, 1), B.repeat(2, 1)),
        (t.diagonal(1, 1, 2), B.diagonal(1, 1, 2)), (t.trace(), B.trace()), (t.take([1, 0], 1), B.take([1, 0], 1)),
    ]:  # fmt: skip
        np.testing.assert_array_equal(ours.numpy(), numpys)


def test_split_parts_join_to_the_whole_and_so_do_their_gradients():
    t = ad.Tensor(B, requires_grad=True)
    parts = ad.array_split(t, 3, axis=2)
    assert [p.shape for p in parts] == [p.shape for p in np.array_split(B, 3, axis=2)]
    whole = ad.concatenate(parts, axis=2)
    (d,) = ad.gradients(whole, t, B)
    np.testing.assert_array_equal(d.numpy(), B)


def test_a_tensor_that_is_joined_with_itself_gets_the_sum():
    t = ad.Tensor([1.0, 2.0], requires_grad=True)
    ad.concatenate([t, t, t]).sum().backward()
    np.testing.assert_array_equal(t.grad.numpy(), [3.0, 3.0])


def test_joining_casts_as_numpy_does():
    x = Tensor(A, requires_grad=True)
    for join in (np.concatenate, np.stack, np.vstack, np.hstack):
        y = join([x, x], dtype=np.float32, casting="same_kind")
        assert y.dtype == np.float32 and y.requires_grad
        assert join([x, x], dtype=int, casting="unsafe").dtype == int
        for call in (
            lambda t, join=join: join([t, t], dtype=int),
            lambda t, join=join: join([t, t], dtype="f4", casting="no"),
        ):
            for t in (A, x):
                with pytest.raises(TypeError, match="cast"):
                    call(t)


def test_constants_stay_constants_and_integers_keep_their_dtype():
    i = ad.Tensor([3, 1, 2])
    for y in (ad.sort(i), ad.concatenate([i, i]), ad.tile(i, 2), ad.pad(i, 1), ad.diff(i), ad.flip(i), ad.diag(i)):
        assert y.dtype == np.int64 and not y.requires_grad
    np.testing.assert_array_equal(ad.diff(ad.Tensor([True, False, False])).numpy(), [True, False])


def test_questions_get_plain_answers():
    t = ad.Tensor(A, requires_grad=True)
    assert np.shape(t) == (2, 3) and type(np.shape(t)) is tuple and np.ndim(t) == 2
    assert np.size(t) == 6 and np.size(t, 1) == 3
    assert np.result_type(t, np.float32) == np.float64 and np.iscomplexobj(t) is False and np.isrealobj(t)
    assert np.may_share_memory(t, t) and not np.shares_memory(t, A)
    assert np.array_repr(t) == np.array_repr(A) and np.array_str(t) == np.array_str(A)
    assert np.array2string(t) == np.array2string(A)


AXIS = np.exceptions.AxisError
ERRORS = [
    (lambda t: ad.reshape(t, (4, 2)), ValueError, ["reshape", "(2, 3)", "(4, 2)"]),
    (lambda t: t.reshape(2.5), TypeError, ["reshape", "2.5"]),
    (lambda t: ad.broadcast_to(t, (3, 2)), ValueError, ["broadcast_to", "(2, 3)", "(3, 2)"]),
    (lambda t: ad.broadcast_arrays(t, np.ones(4)), ValueError, ["broadcast_arrays", "(2, 3)", "(4,)"]),
    (lambda t: ad.squeeze(t, 0), ValueError, ["squeeze", "(2, 3)"]),
    (lambda t: ad.squeeze(t, 5), AXIS, ["squeeze", "(2, 3)", "5"]),
    (lambda t: ad.expand_dims(t, 4), AXIS, ["expand_dims", "4"]),
    (lambda t: ad.transpose(t, (0, 2)), AXIS, ["transpose", "(2, 3)"]),
    (lambda t: ad.transpose(t, (0, 0)), ValueError, ["transpose", "(2, 3)"]),
    (lambda t: ad.swapaxes(t, 0, 2), AXIS, ["swapaxes", "(2, 3)", "2"]),
    (lambda t: ad.moveaxis(t, 0, 7), AXIS, ["moveaxis", "7"]),
    (lambda t: ad.moveaxis(t, (0, 1), 0), ValueError, ["moveaxis"]),
    (lambda t: ad.matrix_transpose(t[0]), ValueError, ["matrix_transpose", "(3,)"]),
    (lambda t: ad.concatenate([t, t[:, :1]]), ValueError, ["concatenate", "(2, 3)", "(2, 1)"]),
    (lambda t: ad.concatenate([t, t], axis=2), AXIS, ["concatenate", "axis"]),
    (lambda t: ad.concatenate([t] * 20, axis=2), AXIS, ["concatenate", "axis"]),
    (lambda t: ad.concatenate([]), ValueError, ["concatenate"]),
    (lambda t: ad.concatenate(t.sum()), TypeError, ["concatenate"]),
    (lambda t: ad.stack([t, t[0]]), ValueError, ["stack", "(2, 3)", "(3,)"]),
    (lambda t: ad.vstack([t, t[:, :1]]), ValueError, ["(2, 1)"]),
    (lambda t: ad.split(t, 2, axis=1), ValueError, ["split", "(2, 3)", "array_split"]),
    (lambda t: ad.split(t, 2, axis=3), AXIS, ["split", "3"]),
    (lambda t: ad.vsplit(t[0], 2), ValueError, ["vsplit", "(3,)"]),
    (lambda t: ad.tile(t, -1), ValueError, ["tile", "-1"]),
    (lambda t: ad.repeat(t, [1, 2], axis=1), ValueError, ["repeat", "(2, 3)", "(2,)"]),
    (lambda t: ad.repeat(t, -1), ValueError, ["repeat"]),
    (lambda t: ad.repeat(t, 1.5), TypeError, ["repeat"]),
    (lambda t: ad.flip(t, 2), AXIS, ["flip", "2"]),
    (lambda t: ad.roll(t, 1, axis=4), AXIS, ["roll", "4"]),
    (lambda t: ad.rot90(t, 1, (0, 0)), ValueError, ["rot90"]),
    (lambda t: ad.pad(t, 1, mode="mean"), ValueError, ["pad", "mean", "reflect"]),
    (lambda t: np.pad(t, 1, mode="linear_ramp"), ValueError, ["pad", "linear_ramp"]),
    (lambda t: ad.pad(t, -1), ValueError, ["pad", "-1"]),
    (lambda t: ad.pad(t, ((1, 1),) * 3), ValueError, ["pad", "(2, 3)"]),
    (lambda t: ad.pad(t[:0], 1, mode="edge"), ValueError, ["pad", "(0, 3)", "edge"]),
    (lambda t: ad.pad(t, 1, constant_values=t.sum()), TypeError, ["pad", "constant_values"]),
    (lambda t: ad.diag(t.sum()), ValueError, ["diag", "()"]),
    (lambda t: ad.diagonal(t, 0, 1, 1), ValueError, ["diagonal"]),
    (lambda t: ad.trace(t[0]), ValueError, ["trace", "(3,)"]),
    (lambda t: ad.sort(t, 2), AXIS, ["sort", "2"]),
    (lambda t: ad.partition(t, 9), ValueError, ["partition", "9"]),
    (lambda t: np.sort(t, order="x"), TypeError, ["sort", "order"]),
    (lambda t: ad.meshgrid(t, indexing="ji"), ValueError, ["meshgrid", "ji"]),
    (lambda t: ad.diff(t, -1), ValueError, ["diff", "-1"]),
    (lambda t: ad.block([[t], t]), ValueError, ["block"]),
]


@pytest.mark.parametrize("f, kind, words", ERRORS, ids=[str(i) for i in range(len(ERRORS))])
def test_bad_input_gets_an_error_that_names_the_operation_and_what_it_met(f, kind, words):
    t = ad.Tensor(A, requires_grad=True)
    with pytest.raises(kind) as caught:
        f(t)
    for word in words:
        assert word in str(caught.value)


R = np.random.default_rng(8).normal(size=(4, 5))
V = R[0]


@pytest.mark.parametrize(
    "call",
    [
        lambda f: f(V, 2, 5.0),
        lambda f: f(V, [1, 3], np.array([5.0, 6.0])),
        lambda f: f(R, 1, V**2, axis=0),
        lambda f: f(R, 1, 9.0, axis=1),
        lambda f: f(R, [1], R[:, :1] ** 2, axis=1),
        lambda f: f(R, slice(1, 3), R[:, :2], axis=1),
        lambda f: f(R, 1, R[:, 0], axis=1),
        lambda f: f(R, 1, R[:2, :4], axis=1),
        lambda f: f(V, -1, [7.0, 8.0]),
        lambda f: f(V, [2, 2], [8.0, 9.0]),
        lambda f: f(V, np.array([True, False, True, False, False]), 1.5),
        lambda f: f(R, 3, 2.0),
        lambda f: f(V, [], 1.0),
        lambda f: f(np.arange(3), 1, 2.7),
    ],
)
def test_slices_are_put_in_with_gradients_to_both(call):
    same_as_numpy("insert", call)


def test_trimmed_repeated_and_windowed():
    zeros = np.array([0.0, 0.0, 1.0, 0.0, 2.0, 0.0])
    for trim in ("fb", "f", "b"):
        same_as_numpy("trim_zeros", lambda f, t=trim: f(zeros, t), derivatives=0)
    same_as_numpy("trim_zeros", lambda f: f(np.zeros(3)), derivatives=0)
    for shape in ((3, 3), 7, (2, 5, 2), 0):
        same_as_numpy("resize", lambda f, s=shape: f(V[:3], s), derivatives=2 if shape else 0)
    same_as_numpy("resize", lambda f: f(np.ones(0), 3))
    name = "lib.stride_tricks.sliding_window_view"
    for call in (
        lambda f: f(V, 3),
        lambda f: f(R, (2, 3)),
        lambda f: f(R, 2, axis=0),
        lambda f: f(V, (2, 3), axis=(0, 0)),
        lambda f: f(R, (2, 2), axis=(1, -2)),
    ):
        same_as_numpy(name, call)


@pytest.mark.parametrize(
    "call, kind, match",
    [
        (
            lambda m, x: m.insert(x, 9, 1.0),
            IndexError,
            r"insert\(shape \(5,\), axis=0\): values of shape \(\) before 9",
        ),
        (lambda m, x: m.insert(x, [1, 2], [1.0, 2.0, 3.0]), ValueError, r"insert\(shape \(5,\)"),
        (lambda m, x: m.resize(x, -1), ValueError, "resize: lengths must not be negative, not -1"),
        (lambda m, x: m.trim_zeros(x, "x"), ValueError, "trim_zeros: trim names the front"),
        (lambda m, x: m.sliding_window_view(x, 9), ValueError, "a window of length 9 does not fit into length 5"),
        (lambda m, x: m.sliding_window_view(x, (1, 1)), ValueError, "2 lengths of a window for 1 axes"),
        (lambda m, x: m.sliding_window_view(x, 2, writeable=True), TypeError, "the result is a copy"),
    ],
)
def test_what_does_not_fit_is_named(call, kind, match):
    with pytest.raises(kind, match=match):
        call(ad, ad.Tensor(V))
