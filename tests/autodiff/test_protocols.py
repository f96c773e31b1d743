"""NumPy's and SciPy's functions on Tensors: every promised name gives NumPy's values as a Tensor, under NumPy's name and
ours; options that cannot work are refused; a function without a rule is named, never a silent detach.
"""

import importlib
import re

import numpy as np
import pytest
import scipy.special

import autodiff as ad
from autodiff import Tensor

P = np.array([[0.5, 1.5, 0.25], [0.75, 2.0, 0.3]])  # positive
S = np.array([[0.5, -0.5, 0.25], [0.75, -0.2, 0.3]])  # between -1 and 1
M = np.array([[4.0, 1.0, 0.5], [1.0, 3.0, -1.0], [0.5, -1.0, 5.0]])  # symmetric, positive definite
V, W = np.array([1.0, -2.0, 0.5]), np.array([0.5, 1.0, 3.0])
STACK = np.stack([M, M + np.eye(3)])

UNARY = """
    negative positive absolute abs fabs sign exp exp2 expm1 log log2 log10 log1p sqrt cbrt square reciprocal
    sin cos tan arcsin arccos arctan sinh cosh tanh arcsinh arctanh sinc floor ceil rint trunc round around
    deg2rad rad2deg radians degrees isfinite isnan isinf logical_not signbit nan_to_num
    sum mean prod max min amax amin var std ptp cumsum cumprod any all argmax argmin count_nonzero argsort average
    ravel transpose squeeze copy sort diagonal trace tril triu fliplr flipud rot90 flip zeros_like ones_like nonzero
    diff atleast_1d atleast_2d
""".split()
CALLS = {
    **{name: (lambda f, name=name: f(P if name not in ("arcsin", "arccos", "arctanh") else S)) for name in UNARY},
    "arccosh": lambda f: f(P + 1),
    "add": lambda f: f(P, S),
    "subtract": lambda f: f(P, 2.0),
    "multiply": lambda f: f(P, V),
    "divide": lambda f: f(V, P),
    "true_divide": lambda f: f(V, P),
    "power": lambda f: f(P, S),
    "float_power": lambda f: f(P, 2),
    "mod": lambda f: f(P, 0.4),
    "remainder": lambda f: f(S, 0.4),
    "fmod": lambda f: f(S, 0.4),
    "floor_divide": lambda f: f(P, 0.4),
    "divmod": lambda f: f(P, 0.4),
    "modf": lambda f: f(P),
    "arctan2": lambda f: f(P, S),
    "hypot": lambda f: f(P, S),
    "maximum": lambda f: f(P, S),
    "minimum": lambda f: f(P, S),
    "fmax": lambda f: f(P, S),
    "fmin": lambda f: f(P, S),
    "heaviside": lambda f: f(S, 0.5),
    "logaddexp": lambda f: f(P, S),
    "logaddexp2": lambda f: f(P, S),
    "clip": lambda f: f(P, 0.4, 1.2),
    "where": lambda f: f(S > 0, P, S),
    "equal": lambda f: f(P, P),
    "not_equal": lambda f: f(P, S),
    "less": lambda f: f(P, S),
    "less_equal": lambda f: f(P, S),
    "greater": lambda f: f(P, S),
    "greater_equal": lambda f: f(P, S),
    "logical_and": lambda f: f(P > 1, S > 0),
    "logical_or": lambda f: f(P > 1, S > 0),
    "logical_xor": lambda f: f(P > 1, S > 0),
    "isclose": lambda f: f(P, S),
    "allclose": lambda f: f(P, P),
    "array_equal": lambda f: f(P, P),
    "reshape": lambda f: f(P, (3, 2)),
    "swapaxes": lambda f: f(P, 0, 1),
    "moveaxis": lambda f: f(STACK, 0, -1),
    "expand_dims": lambda f: f(P, 1),
    "broadcast_to": lambda f: f(V, (4, 3)),
    "concatenate": lambda f: f([P, S], axis=1),
    "stack": lambda f: f([P, S], axis=1),
    "hstack": lambda f: f([P, S]),
    "vstack": lambda f: f([P, S]),
    "split": lambda f: f(P, 3, axis=1),
    "array_split": lambda f: f(P, 2, axis=1),
    "tile": lambda f: f(P, (2, 1, 2)),
    "repeat": lambda f: f(P, 2, axis=1),
    "roll": lambda f: f(P, 1, axis=1),
    "pad": lambda f: f(P, ((1, 0), (0, 2))),
    "diag": lambda f: f(V),
    "partition": lambda f: f(V, 1),
    "meshgrid": lambda f: f(V, W),
    "take": lambda f: f(P, [0, 2], axis=1),
    "take_along_axis": lambda f: f(P, np.argsort(P, axis=1), axis=1),
    "matmul": lambda f: f(P, M),
    "dot": lambda f: f(V, W),
    "tensordot": lambda f: f(P, S, axes=([0], [0])),
    "inner": lambda f: f(P, S),
    "outer": lambda f: f(V, W),
    "kron": lambda f: f(P, S),
    "cross": lambda f: f(V, W),
    "einsum": lambda f: f("ij,kj->ik", P, S),
    "linalg.inv": lambda f: f(M),
    "linalg.solve": lambda f: f(M, V),
    "linalg.det": lambda f: f(STACK),
    "linalg.slogdet": lambda f: f(STACK),
    "linalg.cholesky": lambda f: f(M),
    "linalg.eigh": lambda f: f(M),
    "linalg.svd": lambda f: f(P, full_matrices=False),
    "linalg.qr": lambda f: f(M),
    "linalg.norm": lambda f: f(P, axis=1),
    "linalg.pinv": lambda f: f(P),
    "linalg.matrix_power": lambda f: f(M, 3),
    "linalg.multi_dot": lambda f: f([P, M, V]),
}
CONSTANT = {
    *"equal not_equal less less_equal greater greater_equal logical_and logical_or logical_xor logical_not".split(),
    *"isclose allclose array_equal isfinite isnan isinf signbit any all argmax argmin argsort count_nonzero".split(),
    *"nonzero zeros_like ones_like".split(),
}
INSPECTED = {"allclose", "array_equal", "nonzero", "count_nonzero"}  # their results need not be Tensors


def look_up(package, name):
    for part in name.split("."):
        package = getattr(package, part)
    return package


def on_tensors(f, recorded):
    """f with every array of floats given as a Tensor."""

    def convert(x):
        if isinstance(x, np.ndarray):
            return Tensor(x, requires_grad=recorded and x.dtype.kind == "f")
        return [convert(v) for v in x] if isinstance(x, list) and isinstance(x[0], np.ndarray) else x

    return lambda *args, **kwargs: f(*(convert(a) for a in args), **kwargs)


def compare(ours, theirs, name, recorded):
    if isinstance(theirs, (tuple, list)):
        assert len(ours) == len(theirs)
        for o, t in zip(ours, theirs):
            compare(o, t, name, recorded)
        return
    if name not in INSPECTED:
        assert isinstance(ours, Tensor), f"{name} gave {type(ours)}"
        assert ours.requires_grad is (recorded and name not in CONSTANT), name
    theirs = np.asarray(theirs)
    values = np.asarray(ours.detach() if isinstance(ours, Tensor) else ours)
    assert values.shape == theirs.shape and values.dtype == theirs.dtype
    # products and decompositions may sum in another order than NumPy's
    np.testing.assert_allclose(values, theirs, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("recorded", [False, True], ids=["constant", "recorded"])
@pytest.mark.parametrize("name", CALLS)
def test_numpys_function_of_a_tensor_gives_numpys_values(name, recorded):
    theirs = CALLS[name](look_up(np, name))
    compare(CALLS[name](on_tensors(look_up(np, name), recorded)), theirs, name, recorded)
    assert hasattr(ad, name.split(".")[0]), f"ad.{name} is missing"
    compare(CALLS[name](on_tensors(look_up(ad, name), recorded)), theirs, name, recorded)


@pytest.mark.parametrize("name", CALLS)
def test_our_function_of_plain_arrays_gives_a_tensor(name):
    ours = CALLS[name](look_up(ad, name))
    compare(ours, CALLS[name](look_up(np, name)), name, False)


@pytest.mark.parametrize("name", ["erf", "erfc", "gammaln", "digamma", "expit", "log_ndtr"])
def test_scipys_special_functions_of_a_tensor(name):
    theirs = getattr(scipy.special, name)(P)
    for f in (getattr(scipy.special, name), getattr(ad.special, name)):
        x = Tensor(P, requires_grad=True)
        y = f(x)
        assert isinstance(y, Tensor) and y.requires_grad
        np.testing.assert_allclose(y.data, theirs, rtol=1e-14)
    assert f(Tensor(P.astype(np.float32))).dtype == np.float32


def test_only_numpys_names_exist_in_the_top_level_for_numpys_functions():
    """`ad.subtract`, as NumPy; not `ad.sub`, as others."""
    for other in ["sub", "mul", "div", "neg", "cat", "clamp", "unsqueeze", "permute", "lt", "eq", "rsqrt"]:
        assert not hasattr(ad, other), other


def test_every_numpy_function_that_works_on_tensors_exists_under_the_same_name_here():
    about_arrays = set(
        """result_type can_cast min_scalar_type common_type iscomplexobj isrealobj may_share_memory
        shares_memory array_repr array_str array2string""".split()
    )  # they compute nothing
    for function in [*ad.protocols.UFUNCS, *ad.protocols.FUNCTIONS]:
        module = getattr(function, "__module__", "") or ""
        place = ad.linalg if "linalg" in module else ad.fft if "fft" in module else ad
        assert function.__name__ in about_arrays or hasattr(place, function.__name__), function


def test_operations_mix_tensors_and_arrays_in_any_order():
    x = Tensor(P, requires_grad=True)
    for y in (np.add(P, x), np.add(x, P), np.concatenate([P, x]), np.where(P > 1, P, x), np.matmul(M, x.T),
              np.einsum("ij,ij->", P, x), np.linalg.solve(M, x.T), np.maximum(0.5, x), P + x, P @ x.T):  # fmt: skip
        assert isinstance(y, Tensor) and y.requires_grad


def test_numpy_options_of_reductions_and_methods_reach_us():
    x = Tensor(P, requires_grad=True)
    for y, theirs in [
        (np.sum(x, axis=0), P.sum(axis=0)),
        (np.sum(x, 0), P.sum(0)),
        (np.sum(x, axis=(0, 1), keepdims=True), P.sum(axis=(0, 1), keepdims=True)),
        (np.mean(x, axis=-1), P.mean(axis=-1)),
        (np.var(x, axis=0, ddof=1), P.var(axis=0, ddof=1)),
        (np.std(x, ddof=1, keepdims=True), P.std(ddof=1, keepdims=True)),
        (np.max(x, axis=1), P.max(axis=1)),
        (np.cumsum(x, axis=1), P.cumsum(axis=1)),
        (np.clip(x, 0.4, None), np.clip(P, 0.4, None)),
        (np.clip(x, a_min=0.4, a_max=1.0), np.clip(P, 0.4, 1.0)),
        (np.transpose(x, (1, 0)), P.T),
        (np.reshape(x, -1), P.reshape(-1)),
        (np.round(x, decimals=1), np.round(P, 1)),
        (np.take(x, [1], axis=0), P[[1]]),
        (np.argmax(x, axis=1), P.argmax(axis=1)),
    ]:
        np.testing.assert_allclose(y.data, theirs, rtol=1e-15)
        assert y.shape == theirs.shape


@pytest.mark.parametrize(
    "reduction, options",
    [
        (np.add.reduce, {}),
        (np.add.reduce, {"axis": 1}),
        (np.add.reduce, {"axis": None}),
        (np.add.reduce, {"axis": 0, "keepdims": True}),
        (np.multiply.reduce, {"axis": 1}),
        (np.maximum.reduce, {"axis": 1}),
        (np.minimum.reduce, {}),
        (np.add.accumulate, {"axis": 1}),
        (np.multiply.accumulate, {}),
    ],
)
def test_methods_of_ufuncs_reduce_and_accumulate(reduction, options):
    x = Tensor(P, requires_grad=True)
    y = reduction(x, **options)
    assert isinstance(y, Tensor) and y.requires_grad
    np.testing.assert_allclose(y.data, reduction(P, **options), rtol=1e-14)


@pytest.mark.parametrize("ufunc", [np.add, np.multiply, np.divide, np.arctan2, np.fmax, np.less, np.copysign])
def test_outer_of_a_ufunc(ufunc):
    y = ufunc.outer(Tensor(P, requires_grad=True), W)
    np.testing.assert_array_equal(y.detach().numpy(), ufunc.outer(P, W))


@pytest.mark.parametrize(
    "call, dtype",
    [
        (lambda t: np.exp(t, dtype=np.float32), np.float32),
        (lambda t: np.add(t, 1.0, dtype="float32"), np.float32),
        (lambda t: np.add(t.astype(np.float32), t.astype(np.float32), dtype=float), np.float64),
        (lambda t: np.multiply([1, 2, 3], t, dtype=np.float32), np.float32),
        (lambda t: np.add.reduce(t, dtype=np.float32), np.float32),
        (lambda t: np.add.accumulate(t, dtype=np.float32), np.float32),
    ],
)
def test_the_dtype_of_a_ufunc_is_that_in_which_it_computes(call, dtype):
    x = Tensor(P, requires_grad=True)
    y = call(x)
    assert y.dtype == dtype
    np.testing.assert_array_equal(y.detach().numpy(), call(P))
    y.sum().backward()
    assert x.grad.dtype == np.float64


# What is refused

X = Tensor(P, requires_grad=True)
T3 = Tensor(V, requires_grad=True)
MASK = P > 1

REFUSED = {
    "np.add.*out=": lambda: np.add(X, 1.0, out=np.zeros_like(P)),
    "np.exp.*where=": lambda: np.exp(X, where=MASK),
    "np.sum.*out=": lambda: np.sum(X, out=np.zeros(())),
    "np.matmul.*out=": lambda: np.matmul(X, M, out=np.zeros_like(P)),
    "np.histogramdd": lambda: np.histogramdd(X),
    "np.spacing": lambda: np.spacing(T3),
    "np.nextafter": lambda: np.nextafter(T3, V),
    "np.gcd": lambda: np.gcd(Tensor([2, 4]), 2),
    "np.frexp": lambda: np.frexp(T3),
    "np.add.at": lambda: np.add.at(T3, [0], 1.0),
    "np.subtract.reduce": lambda: np.subtract.reduce(T3),
    "np.subtract.reduceat": lambda: np.subtract.reduceat(T3, [0, 1]),
    "np.subtract.accumulate": lambda: np.subtract.accumulate(T3),
    "np.exp.*order=": lambda: np.exp(X, order="F"),
    "np.add.*dtype=int": lambda: np.add(X, 1, dtype=int),
    "np.histogram2d.*has no derivative": lambda: np.histogram2d(T3, V),
    "np.intersect1d.*np.isin": lambda: np.intersect1d(T3, V),
}


@pytest.mark.parametrize("pattern", REFUSED, ids=lambda p: p.replace(".*", " "))
def test_what_has_no_rule_raises_a_type_error_that_names_it(pattern):
    with pytest.raises(TypeError, match=pattern):
        REFUSED[pattern]()


def test_the_error_of_a_missing_rule_says_what_to_do():
    with pytest.raises(TypeError, match=r"ad\.primitive.*t\.detach\(\)\.numpy\(\)"):
        np.histogramdd(X)


@pytest.mark.parametrize("operator", ["+=", "-=", "*=", "/=", "**=", "@="])
def test_writing_a_tensor_into_an_array_is_refused_and_says_what_to_write(operator):
    array = np.abs(M).copy()
    before = array.copy()
    t = Tensor(M, requires_grad=True)
    with pytest.raises(TypeError, match=re.escape(f"array = array {operator[:-1]} tensor")):
        exec(f"array {operator} t", {"array": array, "t": t})
    np.testing.assert_array_equal(array, before)


def test_assigning_a_recorded_tensor_into_an_array_does_not_work_silently():
    """NumPy asks for an array here; a constant gives its own, a recorded tensor says what to write."""
    array = np.zeros(3)
    array[:] = Tensor(V)
    np.testing.assert_array_equal(array, V)
    with pytest.raises(TypeError, match=r"ad\.array\(a\)\.at\[i\]\.set\(t\)"):
        array[:] = Tensor(V, requires_grad=True)
    np.testing.assert_array_equal(array, V)


SCIPY = {
    "linalg.expm": lambda f, t: f(t),
    "linalg.lu_factor": lambda f, t: f(t),
    "special.logsumexp": lambda f, t: f(t),
    "special.softmax": lambda f, t: f(t),
    "special.j0": lambda f, t: f(t),
    "special.zeta": lambda f, t: f(t),
    "signal.convolve": lambda f, t: f(t, t),
    "ndimage.gaussian_filter": lambda f, t: f(t, 1.0),
    "spatial.distance.cdist": lambda f, t: f(t, t),
    "interpolate.CubicSpline": lambda f, t: f(np.arange(3.0), t),
    "stats.zscore": lambda f, t: f(t),
}


@pytest.mark.parametrize("name", SCIPY)
def test_a_scipy_function_without_rule_never_detaches_silently_and_is_named(name):
    module, _, function = f"scipy.{name}".rpartition(".")
    try:
        result = SCIPY[name](getattr(importlib.import_module(module), function), Tensor(M, requires_grad=True))
    except TypeError as error:
        assert function in str(error), error
    else:  # or it is made of functions that have rules
        results = result if isinstance(result, tuple) else (result,)
        assert all(isinstance(r, Tensor) and r.requires_grad for r in results), f"{name} detached silently"


def test_scipy_functions_take_constants():
    linalg = pytest.importorskip("scipy.linalg")
    np.testing.assert_allclose(np.asarray(linalg.expm(Tensor(M))), linalg.expm(M))


def test_scipys_minimize_takes_functions_of_constants():
    optimize = pytest.importorskip("scipy.optimize")
    f = lambda v: ((v - 2.0) ** 2).sum()
    result = optimize.minimize(lambda v: float(f(Tensor(v))), np.zeros(2), jac=ad.grad(f))
    np.testing.assert_allclose(result.x, [2.0, 2.0], atol=1e-6)


def test_inspecting_functions_answer_about_tensors():
    assert np.shape(X) == (2, 3) and np.ndim(X) == 2 and np.size(X) == 6
    assert np.allclose(X, P) and np.array_equal(X, P)
    assert np.iscomplexobj(X) is False and np.result_type(X.dtype, np.float32) == np.float64
    assert np.broadcast_shapes(X.shape, (3,)) == (2, 3)
    assert np.isscalar(X) is False
    np.testing.assert_allclose(X.detach(), P)
    np.testing.assert_array_equal(X.detach(), P)


def test_printing_functions_show_tensors():
    assert "0.5" in np.array2string(X) and "0.5" in f"{X}"


def test_like_functions_give_tensors_of_the_same_shape():
    for f in (np.zeros_like, np.ones_like, np.empty_like):
        y = f(X)
        assert isinstance(y, Tensor) and y.shape == (2, 3) and not y.requires_grad
    assert np.full_like(X, 3.0).tolist() == [[3.0] * 3] * 2


def test_the_array_priority_of_a_tensor_wins_over_numpy_scalars_and_matrices():
    for left in (np.float64(2.0), np.float32(2.0), np.int64(2), np.array(2.0), np.array([2.0])):
        for op in (lambda a, b: a + b, lambda a, b: a * b, lambda a, b: a - b, lambda a, b: a / b, lambda a, b: a**b):
            assert isinstance(op(left, X), Tensor) and isinstance(op(X, left), Tensor)
        for op in (lambda a, b: a < b, lambda a, b: a == b, lambda a, b: a >= b):
            assert isinstance(op(left, X), Tensor) and op(left, X).dtype == bool


@pytest.mark.parametrize("name", ["sum", "mean", "prod", "max", "min", "var", "std", "ptp", "any", "count_nonzero"])
@pytest.mark.parametrize("keepdims", [1, 0, np.int64(1), True, False])
def test_reductions_keep_the_axes_for_whatever_numpy_takes_as_true(name, keepdims):
    a = np.array([[1.0, 2.0], [3.0, 5.0]])
    function = getattr(np, name)
    expected = a - function(a, axis=1, keepdims=keepdims)
    np.testing.assert_allclose((Tensor(a) - function(Tensor(a), axis=1, keepdims=keepdims)).numpy(), expected)
