"""What a Tensor is to its user: an array with ndarray's operators, attributes, conversions and printing.

Every expectation is NumPy's own result on the same arrays.
"""

import copy
import math
import operator
import pickle

import numpy as np
import pytest

import autodiff as ad
from autodiff import Tensor

A = np.array([[1.5, -2.0, 0.5], [3.0, 0.25, -1.0]])
B = np.array([[2.0, 0.5, -1.5], [1.0, -0.75, 4.0]])
N = np.array([[5, -3, 2], [7, 1, -4]])
J = np.array([[2, 1, 3], [4, 1, 2]])

ARITHMETIC = [
    operator.add, operator.sub, operator.mul, operator.truediv, operator.floordiv, operator.mod, divmod,
]  # fmt: skip
COMPARISONS = [operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge]
BITWISE = [operator.and_, operator.or_, operator.xor]


def same(ours, theirs):
    """Equal values, shape and dtype; tuples element by element."""
    if isinstance(theirs, tuple):
        assert isinstance(ours, tuple) and len(ours) == len(theirs)
        for o, t in zip(ours, theirs):
            same(o, t)
        return
    assert type(ours) is Tensor, f"{type(ours)} is not a Tensor"
    theirs = np.asarray(theirs)
    assert ours.shape == theirs.shape and ours.dtype == theirs.dtype, (ours, theirs)
    np.testing.assert_array_equal(ours.data, theirs)


# Construction


@pytest.mark.parametrize(
    "data",
    [3.0, 2, True, [1.0, 2.0], [[1, 2], [3, 4]], (1.0, 2), [], np.float32(1.5), np.int8(3), A, A.T, A[:, ::2],
     A.astype(np.float16), np.zeros((0, 3)), [True, False], np.array(2.5), range(4)],
    ids=repr,
)  # fmt: skip
def test_a_tensor_of_anything_has_the_values_shape_and_dtype_of_numpys_array(data):
    theirs = np.array(data)
    for make in (ad.Tensor, ad.tensor):
        t = make(data)
        same(t, theirs)
        assert (t.ndim, t.size, len(t.shape)) == (theirs.ndim, theirs.size, theirs.ndim)
        assert t.is_leaf and not t.requires_grad and t.grad is None and t.op is None and t.inputs == ()


def test_a_tensor_owns_its_data():
    array = np.ones(3)
    t = Tensor(array, requires_grad=True)
    array[:] = 7
    np.testing.assert_array_equal(t.data, 1)
    u = Tensor(t.detach())
    u.data[:] = 5
    np.testing.assert_array_equal(t.data, 1)
    assert not u.requires_grad and u.is_leaf


@pytest.mark.parametrize("dtype", [np.float32, "float16", np.int32, bool, float, np.longdouble])
def test_dtype_is_numpys(dtype):
    assert Tensor([1.0, 0.0], dtype=dtype).dtype == np.dtype(dtype)


def test_a_name_is_kept():
    assert Tensor(1.0, name="w").name == "w"
    assert Tensor(1.0).name is None
    with pytest.raises(TypeError, match="name"):
        Tensor(1.0, name=3)


@pytest.mark.parametrize(
    "ours, theirs",
    [
        (lambda **k: ad.zeros((2, 3), **k), np.zeros((2, 3))),
        (lambda **k: ad.zeros(3, **k), np.zeros(3)),
        (lambda **k: ad.ones((2, 3), **k), np.ones((2, 3))),
        (lambda **k: ad.full((2, 2), 7.5, **k), np.full((2, 2), 7.5)),
        (lambda **k: ad.eye(3, **k), np.eye(3)),
        (lambda **k: ad.eye(2, 3, **k), np.eye(2, 3)),
        (lambda **k: ad.arange(4.0, **k), np.arange(4.0)),
        (lambda **k: ad.arange(1.0, 2.0, 0.25, **k), np.arange(1.0, 2.0, 0.25)),
        (lambda **k: ad.linspace(0, 1, 5, **k), np.linspace(0, 1, 5)),
        (lambda **k: ad.zeros_like(A, **k), np.zeros_like(A)),
        (lambda **k: ad.ones_like(Tensor(A), **k), np.ones_like(A)),
        (lambda **k: ad.full_like(A, 2.0, **k), np.full_like(A, 2.0)),
    ],
)
def test_creation_functions_are_numpys_with_requires_grad(ours, theirs):
    same(ours(), theirs)
    assert not ours().requires_grad
    t = ours(requires_grad=True)
    assert t.requires_grad and t.is_leaf
    (t * 2.0).sum().backward()
    np.testing.assert_array_equal(t.grad.data, np.full(theirs.shape, 2.0))
    assert ours(dtype=np.float32).dtype == np.float32


def test_creation_functions_keep_numpys_integer_dtypes():
    assert ad.arange(3).dtype == np.arange(3).dtype
    assert ad.zeros_like(np.zeros(2, np.float32)).dtype == np.float32


# Operators


@pytest.mark.parametrize("op", [*ARITHMETIC, *COMPARISONS], ids=lambda f: f.__name__)
@pytest.mark.parametrize("recorded", [False, True])
def test_every_binary_operator_agrees_with_numpy_for_every_kind_of_operand(op, recorded):
    t = Tensor(A, requires_grad=recorded)
    others = [Tensor(B), Tensor(B, requires_grad=recorded), B, B[0], B[:, :1], 2.0, 3, True, np.float64(0.5),
              np.array(1.5), np.int64(2), [1.0, 2.0, 3.0]]  # fmt: skip
    for other in others:
        plain = other.data if isinstance(other, Tensor) else other
        same(op(t, other), op(A, plain))
        if not isinstance(other, list):
            same(op(other, t), op(plain, A))


SHIFTS = [operator.lshift, operator.rshift]


@pytest.mark.parametrize("op", [*ARITHMETIC[:3], *ARITHMETIC[4:], *COMPARISONS, *BITWISE, *SHIFTS])
def test_integer_operators_agree_with_numpy(op):
    left = np.abs(N) if op in SHIFTS else N
    for a, b in [(left, J), (left, 2), (left, np.int64(3)), (left[0], J[:1, :1])]:
        same(op(Tensor(a), b), op(a, b))
        same(op(Tensor(a), Tensor(b)), op(a, b))
        same(op(b, Tensor(a)), op(b, a))


@pytest.mark.parametrize("op", BITWISE)
def test_masks_combine(op):
    m, n = A > 0, B > 0
    same(op(Tensor(A) > 0, Tensor(B) > 0), op(m, n))
    same(op(Tensor(m), n), op(m, n))
    same(op(m, Tensor(n)), op(m, n))
    same(op(True, Tensor(n)), op(True, n))
    same(~Tensor(m), ~m)


def test_power_in_all_directions():
    P = np.abs(A) + 0.5
    for other in (2, 3.0, -1, 0.5, 0, np.float64(1.5), B, B[0]):
        same(Tensor(P) ** other, P**other)
        same(Tensor(P, requires_grad=True) ** other, P**other)
    for base in (2, 2.0, np.float64(1.5), P, P[0]):
        same(base ** Tensor(B), base**B)
    same(pow(Tensor(P), 2), P**2)


def test_matmul_in_all_directions():
    same(Tensor(A) @ B.T, A @ B.T)
    same(A @ Tensor(B.T), A @ B.T)
    same(Tensor(A) @ Tensor(B.T), A @ B.T)
    same(A.tolist() @ Tensor(B.T), A @ B.T)
    same(Tensor(A[0]) @ B[0], A[0] @ B[0])
    same(Tensor(A) @ B[0], A @ B[0])
    same(B[0] @ Tensor(A.T), B[0] @ A.T)


def test_unary_operators():
    t = Tensor(A)
    same(-t, -A)
    same(+t, +A)
    same(abs(t), abs(A))
    same(round(t), np.round(A))
    same(round(t, 1), np.round(A, 1))
    same(-Tensor(N), -N)
    same(abs(Tensor(N)), abs(N))


@pytest.mark.parametrize(
    "update",
    ["t += 1", "t -= B", "t *= 2.0", "t /= B", "t **= 2", "t @= B.T", "t //= 2", "t %= 3"],
)
@pytest.mark.parametrize("recorded", [False, True])
def test_an_augmented_assignment_of_a_constant_or_a_result_rebinds_the_name_and_never_writes(update, recorded):
    t = Tensor(A, requires_grad=recorded)
    names = {"t": t * 1.0 if recorded else t, "B": B}
    before = names["t"]
    exec(update, names)
    expected = {"t": A.copy(), "B": B}
    exec(update.replace(" += ", " = t + ").replace(" -= ", " = t - ").replace(" *= ", " = t * ")
         .replace(" /= ", " = t / ").replace(" **= ", " = t ** ").replace(" @= ", " = t @ ")
         .replace(" //= ", " = t // ").replace(" %= ", " = t % "), expected)  # fmt: skip
    assert names["t"] is not before
    np.testing.assert_array_equal(before.data, A)
    same(names["t"], expected["t"])


def test_comparisons_of_recorded_tensors_give_boolean_constants():
    t = Tensor(A, requires_grad=True)
    for op in COMPARISONS:
        result = op(t, B)
        assert result.dtype == np.bool_ and not result.requires_grad and result.is_leaf


def test_tensors_are_hashable_by_identity():
    t, u = Tensor(1.0), Tensor(1.0)
    assert len({t, u, t}) == 2 and {t: "a"}[t] == "a"


# Dtypes


@pytest.mark.parametrize("number", [2, 2.0, 0.5, True], ids=repr)
@pytest.mark.parametrize("op", [operator.add, operator.sub, operator.mul, operator.truediv, operator.pow])
def test_python_scalars_are_weak(op, number):
    for dtype in (np.float16, np.float32, np.float64):
        t = Tensor([1.5, 2.5], dtype=dtype, requires_grad=True)
        assert op(t, number).dtype == dtype
        assert op(number, t).dtype == dtype
        for y in (op(t, number), op(number, t)):
            (g,) = ad.gradients(y.sum(), t)
            assert g.dtype == dtype


def test_float32_with_float64_gives_float64_and_each_gradient_comes_back_in_its_own_dtype():
    a = Tensor([1.5, 2.0], dtype=np.float32, requires_grad=True)
    b = Tensor([0.5, 3.0], requires_grad=True)
    for y in (a + b, a * b, a / b, a @ b, np.maximum(a, b), np.hypot(a, b)):
        assert y.dtype == np.float64
        ga, gb = ad.gradients(y.sum(), (a, b), create_graph=True)
        assert ga.dtype == np.float32 and gb.dtype == np.float64
        for h, x in zip(ad.gradients((ga.sum() + gb.sum()), (a, b), allow_unused=True), (a, b)):
            assert h is None or h.dtype == x.dtype
    y = a * np.float64(2.0)
    assert y.dtype == (np.ones(2, np.float32) * np.float64(2.0)).dtype
    (g,) = ad.gradients(y.sum(), a)
    assert g.dtype == np.float32


def test_an_integer_array_in_a_float_formula_gets_no_gradient_and_keeps_numpys_dtype():
    x = Tensor([1.5, 2.5], requires_grad=True)
    y = x * Tensor([2, 3])
    assert y.dtype == np.float64
    (g,) = ad.gradients(y.sum(), x)
    np.testing.assert_array_equal(g.data, [2.0, 3.0])


def test_astype_gives_the_gradient_back_in_its_own_dtype():
    x = Tensor([1.5, 2.5], requires_grad=True)
    y = x.astype(np.float32)
    assert y.dtype == np.float32 and y.requires_grad
    (y * y).sum().backward()
    assert x.grad.dtype == np.float64
    np.testing.assert_array_equal(x.grad.data, [3.0, 5.0])
    same(x.astype(int), np.array([1, 2]))
    assert not x.astype(int).requires_grad and not x.astype(bool).requires_grad


# Indexing and iteration


@pytest.mark.parametrize(
    "index",
    [0, -1, (0, 1), slice(None), slice(None, None, -1), (slice(None), slice(1, 3)), (Ellipsis, 0), None,
     (None, 0, Ellipsis, None), ([0, 1], [2, 0]), np.array([1, 0, 1]), A > 0, (slice(None), np.array([0, 0, 2])),
     (np.array([True, False]), slice(None, None, 2)), (0, np.array([[0, 1], [2, 2]])), (), np.int64(1), [0],
     (slice(5, 9),), np.zeros(0, int)],
    ids=repr,
)  # fmt: skip
def test_indexing_is_numpys(index):
    same(Tensor(A)[index], A[index])
    x = Tensor(A, requires_grad=True)
    x[index].sum().backward()
    theirs = np.zeros_like(A)
    np.add.at(theirs, index, 1.0)
    np.testing.assert_array_equal(x.grad.data, theirs)


def test_tensors_can_be_indices():
    x, i = Tensor(A, requires_grad=True), Tensor([1, 0])
    same(x.detach()[i], A[[1, 0]])
    same(x.detach()[Tensor(A) > 0], A[A > 0])
    same(x.detach()[Tensor(0), Tensor([0, 2])], A[0, [0, 2]])
    same(x.detach()[Tensor(0) : Tensor(1)], A[0:1])
    assert list(range(5))[Tensor(2)] == 2
    assert operator.index(Tensor(3)) == 3
    assert "abc"[Tensor(1)] == "b"


def test_len_iter_unpacking_and_contains_are_ndarrays():
    t = Tensor(A, requires_grad=True)
    assert len(t) == 2
    rows = list(t)
    same(rows[0].detach(), A[0])
    first, second = t
    (first * 2 + second).sum().backward()
    np.testing.assert_array_equal(t.grad.data, [[2.0] * 3, [1.0] * 3])
    assert 1.5 in t and 99.0 not in t
    assert [float(v) for v in Tensor([1.0, 2.0])] == [1.0, 2.0]


def test_numbers_of_one_element():
    for t in (Tensor(2.5), Tensor([2.5]), Tensor([[2.5]], requires_grad=True), Tensor(1.25, requires_grad=True) * 2):
        assert float(t) == 2.5 and int(t) == 2 and bool(t) is True and t.item() == 2.5
        assert type(t.item()) is float and math.sqrt(t.detach()) == math.sqrt(2.5)
    assert not Tensor(0.0) and not Tensor([0])
    assert Tensor(A).item(1, 2) == -1.0 and Tensor(A).item(4) == 0.25
    assert Tensor(A).tolist() == A.tolist() and Tensor(3).item() == 3


def test_formatting():
    assert f"{Tensor(2.5):.3f}" == "2.500"
    assert f"{Tensor([[2.5]]):.1e}" == "2.5e+00"
    assert f"{Tensor(2.5)}" == repr(Tensor(2.5)) == str(Tensor(2.5))
    assert f"{Tensor([1.0, 2.0])}" == "Tensor([1., 2.])"


def test_repr_shows_what_differs_from_a_float64_constant():
    assert repr(Tensor([1.0, 2.0])) == "Tensor([1., 2.])"
    assert repr(Tensor(1.5)) == "Tensor(1.5)"
    assert "requires_grad=True" in repr(Tensor(1.0, requires_grad=True))
    assert "float32" in repr(Tensor([1.0], dtype=np.float32))
    assert "name='w'" in repr(Tensor(1.0, name="w"))
    assert "multiply" in repr(Tensor(1.0, requires_grad=True) * 2)
    assert "(0, 3)" in repr(Tensor(np.zeros((0, 3))))
    assert len(repr(Tensor(np.zeros((1000, 1000))))) < 1000


# Arrays in and out


def test_asarray_of_a_constant_is_its_array_and_of_a_live_tensor_an_error():
    x = Tensor(A, requires_grad=True)
    for t in (Tensor(A), x.detach(), (x * 1.0).detach()):
        array = np.asarray(t)
        assert type(array) is np.ndarray
        np.testing.assert_array_equal(array, A)
        assert np.asarray(t, dtype=np.float32).dtype == np.float32
        copied = np.array(t)
        copied[:] = 0
        np.testing.assert_array_equal(t.data, A)
    for t in (x, x * 1.0):
        for ask in (np.asarray, np.array, lambda t: np.asarray(t, dtype=np.float32), lambda t: np.array([t, t])):
            with pytest.raises(TypeError, match=r"t\.numpy\(\)"):
                ask(t)
        with ad.no_grad():
            np.testing.assert_array_equal(np.asarray(t), A)


def test_numpy_data_and_detach_share_memory_and_results_are_read_only():
    x = Tensor(A, requires_grad=True)
    assert np.shares_memory(x.numpy(), x.data) and np.shares_memory(x.detach().data, x.data)
    assert not x.detach().requires_grad and x.detach().is_leaf
    y = x * 2
    for array in (y.data, y.numpy(), y.detach().data, np.asarray(y.detach())):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0
    np.testing.assert_array_equal(y.data, 2 * A)


def test_attributes_of_a_result_tell_how_it_was_made():
    x, w = Tensor(A, requires_grad=True), Tensor(B)
    y = x * w
    assert y.op == "multiply" and y.inputs == (x, w) and not y.is_leaf and y.requires_grad
    z = x + 2.0
    assert z.inputs[0] is x and z.inputs[1].item() == 2.0
    constant = w * w
    assert constant.op is None and constant.is_leaf and constant.inputs == ()
    same(x.T.detach(), A.T)


METHODS = {
    "sum": [{}, {"axis": 0}, {"axis": (0, 1)}, {"axis": -1, "keepdims": True}],
    "mean": [{}, {"axis": 1}],
    "prod": [{}, {"axis": 0}],
    "max": [{}, {"axis": 1, "keepdims": True}],
    "min": [{}, {"axis": 0}],
    "var": [{}, {"axis": 0, "ddof": 1}],
    "std": [{}, {"axis": 1, "keepdims": True}],
    "argmax": [{}, {"axis": 1}],
    "argmin": [{}, {"axis": 0}],
    "any": [{}, {"axis": 0}],
    "all": [{}, {"axis": 1}],
    "cumsum": [{}, {"axis": 0}],
    "cumprod": [{}, {"axis": 1}],
    "argsort": [{}, {"axis": 0}],
    "squeeze": [{}],
    "ravel": [{}, {"order": "F"}],
    "flatten": [{}],
    "round": [{}, {"decimals": 1}],
    "clip": [{"min": -1.0, "max": 1.0}, {"min": 0.0}, {"max": 0.5}],
    "copy": [{}],
    "nonzero": [{}],
    "diagonal": [{}, {"offset": 1}],
    "trace": [{}],
}


@pytest.mark.parametrize("name", METHODS)
def test_methods_are_ndarrays(name):
    for options in METHODS[name]:
        same(getattr(Tensor(A), name)(**options), getattr(A, name)(**options))


def test_methods_with_arguments_are_ndarrays():
    t = Tensor(A)
    same(t.reshape(3, 2), A.reshape(3, 2))
    same(t.reshape((3, -1)), A.reshape((3, -1)))
    same(t.reshape(-1), A.reshape(-1))
    same(t.reshape(3, 2, order="F"), A.reshape(3, 2, order="F"))
    same(t.transpose(), A.T)
    same(t.transpose(1, 0), A.transpose(1, 0))
    same(t.transpose((1, 0)), A.T)
    same(t.swapaxes(0, 1), A.T)
    same(t.sum(0), A.sum(0))
    same(t.mean((0, 1)), A.mean((0, 1)))
    same(t.dot(B.T), A.dot(B.T))
    same(t.clip(-1, 1), A.clip(-1, 1))
    same(t.repeat(2, 0), A.repeat(2, 0))
    same(t.take([0, 2], 1), A.take([0, 2], 1))
    same(Tensor(A[None]).squeeze(0), A)
    assert t.itemsize == 8 and t.nbytes == A.nbytes


# Updates


def test_items_of_a_constant_can_be_assigned():
    t = Tensor(A)
    t[0] = 7.0
    t[:, 1] = Tensor([1.0, 2.0])
    t[Tensor(A) < -1] = 0.0
    theirs = A.copy()
    theirs[0], theirs[:, 1], theirs[A < -1] = 7.0, [1.0, 2.0], 0.0
    same(t, theirs)


def test_assigning_items_of_a_recorded_tensor_is_refused_and_names_the_functional_form():
    x = Tensor(A, requires_grad=True)
    for t in (x, x * 2):
        before = t.data.copy()
        with pytest.raises(TypeError, match=r"\.at\[i\]\.set\(v\)"):
            t[0] = 1.0
        np.testing.assert_array_equal(t.data, before)
    constant = Tensor(A)
    with pytest.raises(TypeError, match=r"\.at\["):
        constant[0] = x[0]
    np.testing.assert_array_equal(constant.data, A)


INDICES = [0, (slice(None), 1), ([0, 1], [2, 0]), A > 0, (Ellipsis, slice(None, None, 2))]


@pytest.mark.parametrize("index", INDICES, ids=repr)
def test_at_set_add_multiply_return_new_tensors_with_gradients_to_both(index):
    x = Tensor(A, requires_grad=True)
    v = Tensor(np.full(A[index].shape, 3.0), requires_grad=True)
    theirs = A.copy()
    theirs[index] = 3.0
    y = x.at[index].set(v)
    np.testing.assert_array_equal(y.data, theirs)
    np.testing.assert_array_equal(x.data, A)
    W = np.arange(1.0, 7.0).reshape(2, 3)
    gx, gv = ad.gradients((y * W).sum(), (x, v))
    kept = W.copy()
    kept[index] = 0
    np.testing.assert_array_equal(gx.data, kept)
    np.testing.assert_array_equal(gv.data, W[index])

    y = x.at[index].add(v)
    theirs = A.copy()
    theirs[index] += 3.0
    np.testing.assert_array_equal(y.data, theirs)
    gx, gv = ad.gradients((y * W).sum(), (x, v))
    np.testing.assert_array_equal(gx.data, W)
    np.testing.assert_array_equal(gv.data, W[index])

    y = x.at[index].multiply(v)
    theirs = A.copy()
    theirs[index] *= 3.0
    np.testing.assert_array_equal(y.data, theirs)
    gx, gv = ad.gradients((y * W).sum(), (x, v))
    scaled = W.copy()
    scaled[index] *= 3.0
    np.testing.assert_array_equal(gx.data, scaled)
    np.testing.assert_array_equal(gv.data, (W * A)[index])


def test_at_add_applies_a_repeated_index_every_time():
    x, v = Tensor(np.zeros(3), requires_grad=True), Tensor([1.0, 2.0, 4.0], requires_grad=True)
    y = x.at[[0, 0, 2]].add(v)
    np.testing.assert_array_equal(y.data, [3.0, 0.0, 4.0])
    (g,) = ad.gradients(y, v, grad_outputs=np.array([1.0, 10.0, 100.0]))
    np.testing.assert_array_equal(g.data, [1.0, 1.0, 100.0])


def test_data_of_a_leaf_can_be_written_and_assigned():
    p = Tensor([1.0, 2.0], requires_grad=True)
    p.data -= 0.5
    np.testing.assert_array_equal(p.data, [0.5, 1.5])
    p.data[0] = 9.0
    np.testing.assert_array_equal(p.data, [9.0, 1.5])
    p.data = np.array([3.0, 4.0, 5.0])
    assert p.shape == (3,)
    p.data = [1.0]
    assert p.dtype == np.float64
    assert p.requires_grad and p.is_leaf
    with pytest.raises(TypeError, match="float"):
        p.data = np.array([1, 2])
    np.testing.assert_array_equal(p.data, [1.0])


# Copying and pickling


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda t: pickle.loads(pickle.dumps(t))])
def test_leaves_can_be_copied_and_pickled(again):
    x = Tensor(A, requires_grad=True, name="weights")
    (x * x).sum().backward()
    for t in (x, Tensor(N), Tensor([1.0], dtype=np.float32)):
        u = again(t)
        same(u, t.data)
        assert (u.requires_grad, u.name, u.is_leaf) == (t.requires_grad, t.name, True)
        assert (u.grad is None) == (t.grad is None)
        if t.grad is not None:
            np.testing.assert_array_equal(u.grad.data, t.grad.data)
    u = again(x)
    if again is not copy.copy:
        u.data[:] = 0
        np.testing.assert_array_equal(x.data, A)
    (u * 3).sum().backward()


def test_a_shared_tensor_stays_shared_in_a_deep_copy():
    x = Tensor(A, requires_grad=True)
    a, b = copy.deepcopy([x, x])
    assert a is b


@pytest.mark.parametrize("again", [copy.deepcopy, pickle.dumps])
def test_results_cannot_be_copied_and_the_error_says_detach(again):
    with pytest.raises(RuntimeError, match="detach"):
        again(Tensor(A, requires_grad=True) * 2)


# Grad mode


def test_no_grad_and_enable_grad_switch_recording():
    x = Tensor(2.0, requires_grad=True)
    assert ad.is_grad_enabled()
    with ad.no_grad():
        assert not ad.is_grad_enabled()
        y = x * x
        assert not y.requires_grad and y.is_leaf
        with ad.enable_grad():
            assert ad.is_grad_enabled() and (x * x).requires_grad
        assert not ad.is_grad_enabled()
    assert ad.is_grad_enabled()


def test_grad_mode_decorators_with_and_without_parentheses():
    x = Tensor(2.0, requires_grad=True)

    @ad.no_grad()
    def called(v):
        "doc"
        return v * v

    @ad.no_grad
    def bare(v):
        return v * v

    @ad.enable_grad()
    def recording(v):
        return v * v

    assert not called(x).requires_grad and not bare(x).requires_grad
    assert called.__name__ == "called" and called.__doc__ == "doc"
    with ad.no_grad():
        assert recording(x).requires_grad
    assert ad.is_grad_enabled()


def test_grad_mode_is_restored_after_an_exception():
    with pytest.raises(ZeroDivisionError):
        with ad.no_grad():
            1 / 0
    assert ad.is_grad_enabled()


def test_requires_grad_can_be_set_on_leaves_only():
    x = Tensor(2.0)
    x.requires_grad = True
    y = x * x
    assert y.requires_grad
    with pytest.raises(RuntimeError, match="detach"):
        y.requires_grad = False
    x.requires_grad = False
    assert not (x * x).requires_grad


def test_a_name_that_is_no_string_is_refused_where_it_is_set():
    x = ad.Tensor(1.0, name="x")
    for bad in (5, b"x", ["x"]):
        with pytest.raises(TypeError, match="takes a string or None"):
            x.name = bad
        with pytest.raises(TypeError, match="takes a string or None"):
            ad.Tensor(1.0, name=bad)
    assert x.name == "x"
    x.name = None
    assert x.name is None
