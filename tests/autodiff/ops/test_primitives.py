"""Every registered operation, on the samples that stand beside its declaration."""

import ast
import importlib
import pkgutil
import types
import zlib
from pathlib import Path

import numpy as np
import pytest

import autodiff as ad
import nn  # noqa: F401 (its layers declare operations too)
from autodiff import Tensor, ops
from autodiff.checking.gradcheck import _pullback_of, gradcheck, gradgradcheck
from autodiff.primitive import REGISTRY, Primitive, Sample, general
from autodiff.transforms.functional import vjp
from autodiff.transforms.tree import flatten

LARGEST_FOR_THIRD_ORDER = 6  # elements; third order grows with their square


def floats(sample):
    return [
        i for i, x in enumerate(sample.inputs) if isinstance(x, np.ndarray) and x.dtype in (np.float64, np.complex128)
    ]


def drawn(rng, like, low=0.5, high=1.5):
    """Random numbers of the shape and kind of an array."""
    numbers = rng.uniform(low, high, np.shape(like))
    return numbers + 1j * rng.uniform(low, high, np.shape(like)) if like.dtype.kind == "c" else numbers


def function_of(record, sample):
    """The operation as a function of the sample's float64 and complex arrays alone, and those arrays."""
    operation = sample.function or general(record)

    def function_at(places):
        held = set(floats(sample)) - set(places)

        def function(*arrays):
            inputs = [Tensor(x) if i in held else x for i, x in enumerate(sample.inputs)]
            for i, x in zip(places, arrays):
                inputs[i] = x
            if sample.wrap:
                inputs = sample.wrap(*inputs)
                inputs = inputs if isinstance(inputs, (tuple, list)) else (inputs,)
            return operation(*inputs, **sample.params)

        function.__name__ = f"{record.name}{sample.params or ''}"
        return function

    places = floats(sample)
    if sample.function is not None:  # what it detaches is a constant
        xs = [Tensor(sample.inputs[i], requires_grad=True) for i in places]
        y = function_at(places)(*xs)
        reached = ad.gradients(y, xs, np.ones(y.shape), allow_unused=True)
        places = [i for i, d in zip(places, reached) if d is not None]
    return function_at(places), [sample.inputs[i] for i in places]


def check(record):
    assert record.samples is not None, f"{record.name} has no samples beside its declaration"
    samples = list(record.samples(np.random.default_rng(zlib.crc32(record.name.encode()))))
    assert any(floats(s) for s in samples), f"{record.name} has no sample with a float64 array"
    for sample in samples:
        function, arrays = function_of(record, sample)
        if not arrays:
            continue
        if all(np.isfinite(a).all() for a in arrays):
            gradcheck(function, arrays)
            if sample.smooth >= 2:
                gradgradcheck(function, arrays, rtol=1e-4)
            if sample.smooth >= 3 and sum(a.size for a in arrays) <= LARGEST_FOR_THIRD_ORDER:
                pullback, arguments, _ = _pullback_of(function, arrays)
                gradgradcheck(pullback, arguments, rtol=1e-4, atol=1e-5)
        check_float32(function, arrays)


@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_each_primitive_has_the_derivatives_of_its_differences(name):
    with np.errstate(all="ignore"):
        check(REGISTRY[name])


def check_forward(record):
    """The forward derivative is the transpose of the reverse one and the slope of differences, and stays so for the
    derivatives of the derivative; the Hessian product, forward over reverse, is that of two reverse passes."""
    rng = np.random.default_rng(zlib.crc32(record.name.encode()) + 1)
    for sample in record.samples(np.random.default_rng(zlib.crc32(record.name.encode()))):
        function, arrays = function_of(record, sample)
        if not arrays or not all(np.isfinite(a).all() for a in arrays):
            continue
        arrays = tuple(arrays)
        tangents = tuple(drawn(rng, a, -1, 1) for a in arrays)

        def flat(*xs, function=function):
            return ad.concatenate([y.ravel() for y in flatten(function(*xs))[0]])

        y, slope = ad.jvp(flat, arrays, tangents)
        assert slope.shape == y.shape and slope.dtype == y.dtype
        same(slope, transposed_twice(flat, arrays, tangents), 1e-9)
        step = 1e-6
        ahead, behind = (flat(*[Tensor(a + e * t) for a, t in zip(arrays, tangents)]).data for e in (step, -step))
        same(slope, (ahead - behind) / (2 * step), 1e-5)
        for moving in range(len(arrays)):  # one input alone
            alone = tuple(t * (i == moving) for i, t in enumerate(tangents))
            only = ad.jvp(lambda x, i=moving: flat(*arrays[:i], x, *arrays[i + 1 :]), arrays[moving], alone[moving])[1]
            same(only, transposed_twice(flat, arrays, alone), 1e-9)
        if sample.smooth < 2:
            continue
        weights = drawn(rng, y)

        def loss(*xs, flat=flat, weights=weights):
            return (flat(*xs) * weights).sum().real

        def slope_of(*xs, loss=loss, tangents=tangents):
            return sum((inner(d, t) for d, t in zip(ad.grad(loss, range_of(xs))(*xs), tangents)), Tensor(0.0))

        expected = ad.grad(slope_of, range_of(arrays))(*arrays)
        for found, right in zip(ad.hvp(loss, arrays, tangents), expected):
            same(found, right, 1e-9)
        for found, right in zip(ad.jvp(ad.grad(loss, range_of(arrays)), arrays, tangents)[1], expected):
            same(found, right, 1e-9)
        for found, right in zip(
            ad.grad(lambda *xs: ad.jvp(loss, xs, tangents)[1], range_of(arrays))(*arrays), expected
        ):
            same(found, right, 1e-9)


def range_of(xs):
    return tuple(range(len(xs)))


def same(found, right, rtol):
    assert found.shape == right.shape and found.dtype == right.dtype
    np.testing.assert_allclose(found, right, rtol=rtol, atol=rtol * (1 + np.max(np.abs(right), initial=0.0)))


def inner(d, t):
    """The product of a gradient and a direction: of complex ones, that of their real and of their imaginary parts."""
    return (d * t.conj()).sum().real


def transposed_twice(f, arrays, tangents):
    """J t as the gradient by u of (uᵀJ) t."""
    y, _ = vjp(f, *arrays)

    def pulled(u):
        xs = [Tensor(a, requires_grad=True) for a in arrays]
        ds = ad.gradients(f(*xs), xs, u, create_graph=True, allow_unused=True)
        return sum((inner(d, t) for d, t in zip(ds, tangents) if d is not None), u.sum().real * 0.0)

    return ad.grad(pulled)(np.ones(y.shape, y.dtype))


@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_each_primitive_has_the_forward_derivatives_that_its_reverse_ones_imply(name):
    with np.errstate(all="ignore"):
        check_forward(REGISTRY[name])


def _samples(rng):
    return [Sample((rng.uniform(0.5, 1.0, 3),))]


@pytest.mark.parametrize(
    "rule, samples, match",
    [
        (lambda g, y, x: 3 * g * x**2, None, "no samples"),
        (lambda g, y, x: 3 * g * x**2, lambda rng: [Sample((2,))], "no sample with a float64 array"),
        (lambda g, y, x: 2 * g * x**2, _samples, "gradcheck of cube"),
        (lambda g, y, x: 3 * g * (x._ndarray if isinstance(x, Tensor) else x) ** 2, _samples, "gradgradcheck of"),
        (lambda g, y, x: g * _first_order_only(x), _samples, "gradient of the gradient"),
        (lambda g, y, x: 3 * g * x.astype(np.float64) ** 2, _samples, None),  # the engine casts it back
        (lambda g, y, x: 3 * g * x**2 * (1 + 1e-3 * (x.dtype == np.float32)), _samples, "Not equal to tolerance"),
    ],
)
def test_the_sweep_finds_what_is_wrong_with_a_declaration(rule, samples, match):
    record = Primitive("cube", lambda x: x**3, vjps=(rule,), samples=samples)
    if match is None:
        return check(record)
    with pytest.raises(AssertionError, match=match):
        check(record)


_first_order_only = ad.primitive(
    lambda x: 3 * x**2, name="slope", vjps=[lambda g, y, x: g * 6 * (x.detach() if isinstance(x, Tensor) else x)]
)


def check_float32(function, arrays):
    """Gradients of float32 inputs are float32 (of complex64, complex64), of the input's shape, finite, and those of
    double precision."""
    narrow = [a.astype(np.float32 if a.dtype.kind == "f" else np.complex64) for a in arrays]
    y, pullback = vjp(function, *[a.astype(b.dtype) for a, b in zip(narrow, arrays)])
    y32, pullback32 = vjp(function, *narrow)
    rng = np.random.default_rng(0)
    leaves, form = flatten(y)
    cotangents = [drawn(rng, a) for a in leaves]
    exact = pullback(form.build(cotangents))
    found = pullback32(form.build([c.astype(a.dtype) for c, a in zip(cotangents, flatten(y32)[0])]))
    for x, d, d32 in zip(narrow, exact, found):
        assert d32.dtype == x.dtype and d32.shape == x.shape and d.dtype == np.result_type(x, np.float64)
        assert np.isfinite(d).all() and np.isfinite(d32).all()
        scale = 1 + np.max(np.abs(d), initial=0.0)
        np.testing.assert_allclose(d32, d, rtol=1e-4, atol=1e-4 * scale)


def test_a_primitive_gives_the_same_values_as_its_forward_function():
    """The record's forward function, which pictures and the compiler use, is what the operation computes."""
    for name, record in REGISTRY.items():
        for sample in record.samples(np.random.default_rng(1)):
            if sample.wrap is None and sample.function is None:
                inputs = [Tensor(x) if isinstance(x, np.ndarray) else x for x in sample.inputs]
                y = general(record)(*inputs, **sample.params)
                np.testing.assert_array_equal(np.asarray(y), record.forward(*sample.inputs, **sample.params), name)


def test_registered_names_are_the_names_of_their_records():
    assert all(record.name == name for name, record in REGISTRY.items())
    assert {"add", "matmul", "exp", "sum"} <= set(REGISTRY)
    assert ad.gradients is not None


@pytest.mark.parametrize(
    "family",
    [m.name for m in pkgutil.iter_modules(ops.__path__) if m.name not in ("guards", "kernels", "precision", "samples")],
)
def test_the_public_names_of_a_family_are_those_it_declares(family):
    """Every operation that a file of operations defines is public, unless its name begins with an underscore or its
    declaration says that it serves other operations. (`__all__` has to be a list of texts: type checkers read no
    other.)"""
    module = importlib.import_module(f"autodiff.ops.{family}")
    defined = set()
    for node in ast.parse(Path(module.__file__).read_text(encoding="utf-8")).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            defined.add(node.name)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            defined |= {t.id for target in targets for t in ast.walk(target) if isinstance(t, ast.Name)}
    operations = {n: getattr(module, n, None) for n in defined if not n.startswith("_")}
    public = {
        name
        for name, value in operations.items()
        if (isinstance(value, (types.FunctionType, type)) or type(value).__module__ == module.__name__)
        and not getattr(value, "internal", False)
    }
    assert sorted(module.__all__) == sorted(public)


@pytest.mark.parametrize("transform", ["grad", "jacobian", "hvp", "jvp"])
def test_an_input_without_a_cotangent_in_a_joint_rule_says_that_it_has_no_derivative(transform):
    half = ad.primitive(lambda a, b: a * b, name="half", vjp=lambda g, y, a, b: [g * b, None])
    assert ad.grad(half)(2.0, 3.0) == 3.0
    with pytest.raises(TypeError, match="half: has no derivative"):
        if transform in ("hvp", "jvp"):
            getattr(ad, transform)(half, (2.0, 3.0), (1.0, 1.0))
        else:
            getattr(ad, transform)(half, 1)(2.0, 3.0)
