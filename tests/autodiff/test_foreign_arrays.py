"""The engine on an array type that is not NumPy's: the same values as on NumPy's arrays, and nothing converted."""

from __future__ import annotations

import zlib

import numpy as np
import pytest

import autodiff as ad
import nn  # noqa: F401 (its layers declare operations too)
from autodiff.primitive import REGISTRY, general
from autodiff.tensor import variable, wrap
from autodiff.transforms.forward import Pushforward, Unsupported
from tests.stand_in import StandIn, watching


def same(found, expected, what):
    assert (found is None) == (expected is None), what
    if found is not None:
        found, expected = found._ndarray if hasattr(found, "_ndarray") else found, expected
        expected = expected._ndarray if hasattr(expected, "_ndarray") else expected
        assert type(found) is StandIn, f"{what}: {type(found).__name__}"
        assert found.shape == expected.shape and found.dtype == expected.dtype, what
        np.testing.assert_allclose(found.value, expected, rtol=1e-12, atol=1e-12, err_msg=what)


def results(record, sample, kind):
    """The output, its gradients, the derivatives of those and a forward derivative, on arrays of a kind."""
    xs, inputs = [], []
    for x in sample.inputs:
        if isinstance(x, (np.ndarray, np.inexact)) and x.dtype.kind in "fc":
            xs.append(variable(kind(x)))
            inputs.append(xs[-1])
        else:
            inputs.append(wrap(kind(x)) if isinstance(x, np.ndarray) else x)
    params = {
        name: kind(v) if isinstance(v, np.ndarray) and name != "index" else v for name, v in sample.params.items()
    }
    if sample.wrap:
        inputs = sample.wrap(*inputs)
        inputs = inputs if isinstance(inputs, (tuple, list)) else (inputs,)
        inputs = [wrap(kind(x._ndarray)) if isinstance(x, ad.Tensor) and x.is_leaf and not x.requires_grad else x
                  for x in inputs]  # fmt: skip
    y = (sample.function or general(record))(*inputs, **params)
    if not y.requires_grad:
        return {"value": y}
    rng = np.random.default_rng(7)
    turn = lambda x: np.exp(0.5j) if x.dtype.kind == "c" else 1
    draw = lambda x: kind(np.asarray((rng.uniform(0.5, 1.5, x.shape) * turn(x)).astype(x.dtype)))
    g, ts = draw(y), [draw(x) for x in xs]
    found = {"value": y}
    first = ad.gradients(y, xs, wrap(g), allow_unused=True)
    found |= {f"gradient {i}": d for i, d in enumerate(first)}
    if sample.smooth >= 1:
        (tangent,) = Pushforward([y], xs)(ts)
        found["tangent"] = tangent
    if sample.smooth >= 2:
        first = ad.gradients(y, xs, wrap(g), allow_unused=True, create_graph=True)
        kept = [(d, draw(d)) for d in first if d is not None and d.requires_grad]
        if kept:
            second = ad.gradients([d for d, _ in kept], xs, [wrap(u) for _, u in kept], allow_unused=True)
            found |= {f"second {i}": d for i, d in enumerate(second)}
    return found


def compared(name, kind, same):
    """Whether some sample of an operation, or of its derivatives, copies arrays of a kind to the processor; all of them
    must be the same as of NumPy's arrays, and none may become one of these unasked."""
    record, copies = REGISTRY[name], 0
    with np.errstate(all="ignore"):
        for sample in record.samples(np.random.default_rng(zlib.crc32(name.encode()))):
            try:
                expected = results(record, sample, np.array)
            except Unsupported:
                continue
            with watching() as log:
                found = results(record, sample, kind)
            assert found.keys() == expected.keys()
            for key, value in expected.items():
                same(found[key], value, f"{name}{sample.params}: {key}")
            assert log.conversions == 0, name
            copies += log.copies
    return copies > 0


@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_each_operation_gives_the_same_on_another_array_type(name):
    compared(name, StandIn, same)


def on_both(function, *arrays):
    """What a function of Tensors gives, with its gradients, on NumPy's arrays and on stand-ins."""
    found = []
    for kind in (np.array, StandIn):
        xs = [variable(kind(a)) if a.dtype.kind == "f" else wrap(kind(a)) for a in arrays]
        y = function(*xs)
        moving = [x for x in xs if x.requires_grad]
        found.append([y, *ad.gradients((y * y).sum(), moving, allow_unused=True)])
    for expected, got in zip(*found, strict=True):
        same(got, expected, "")


TABLE = np.arange(12.0).reshape(4, 3) / 7


@pytest.mark.parametrize(
    "function",
    [
        lambda x, i: x[i],
        lambda x, i: x[1:, i],
        lambda x, i: x[i[0]],
        lambda x, i: ad.take(x, i, axis=1),
        lambda x, i: ad.take(x, i, mode="clip"),
        lambda x, i: np.take_along_axis(x, i[:, None], 0),
        lambda x, i: x.at[i].set(2.0),
        lambda x, i: x.at[i, 1].set(x[2, 2]),
        lambda x, i: x.at[i[2]].add(x[0]),
        lambda x, i: x.at[i].max(0.9),
        lambda x, i: x.at[1].set(0.5),
        lambda x, i: np.sort(x[::-1], axis=0),
        lambda x, i: ad.cross_entropy(x, np.concatenate([i[:1], i]), reduction="none"),
    ],
)
def test_positions_may_be_of_the_other_array_type(function):
    on_both(function, TABLE, np.array([2, 0, 2]))


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.sum(axis=0, where=x._ndarray > 0.5, initial=2.0),
        lambda x: x.mean(where=x._ndarray > 0.5),
        lambda x: x.std(axis=0, where=x._ndarray > 0.1, dtype=np.float32),
        lambda x: x.max(where=x._ndarray < 0.5, initial=0.1),
        lambda x: np.maximum.accumulate(x[::-1], axis=1),
        lambda x: np.logaddexp.accumulate(x, axis=1),
        lambda x: np.add.reduceat(x, [0, 2], axis=1),
        lambda x: np.median(x, axis=0),
        lambda x: np.corrcoef(x**2, rowvar=False),
        lambda x: np.interp(x, [0.0, 0.5, 2.0], [1.0, 2.0, 5.0]),
        lambda x: np.interp(x, np.cumsum(x[:, 0]), x[:, 1], period=1.9),
        lambda x: np.convolve(x[0], x[:, 1], "same"),
        lambda x: np.gradient(x, x[:, 0] + x[:, 1] ** 2, axis=0, edge_order=2),
        lambda x: np.trapezoid(x, x**2, axis=0),
        lambda x: np.unwrap(5 * x, axis=0),
        lambda x: np.vander(x[0], 3),
        lambda x: np.polyval(x[0], x[1]),
        lambda x: ad.polynomial.chebval(x, x[:, 1]),
        lambda x: np.insert(x, 1, x[:, 0] ** 2, axis=1),
        lambda x: np.lib.stride_tricks.sliding_window_view(x, 2, axis=0),
        lambda x: np.apply_along_axis(lambda line: line / line.sum(), 0, x),
        lambda x: np.copysign(x, x - 0.5),
        lambda x: np.add(x, 1.0, dtype=np.float32),
    ],
)
def test_functions_put_together_from_others_run_on_the_other_array_type(function):
    on_both(function, TABLE + 0.01)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: np.nanmax(x, axis=1),
        lambda x: np.nanquantile(x, (0.2, 0.5), axis=0),
        lambda x: np.nanmedian(x, axis=1),
        lambda x: np.median(x, axis=0)[1:],
    ],
)
def test_what_nan_does_not_enter_runs_on_the_other_array_type(function):
    on_both(function, np.where(TABLE == TABLE[2, 0], np.nan, TABLE))


def test_what_was_written_over_has_no_gradient():
    on_both(lambda x, v, i: x.at[i].set(v), TABLE, np.ones((3, 3)), np.array([2, 0, 2]))


def test_a_position_out_of_range_is_an_error_that_names_it():
    with pytest.raises(IndexError, match=r"take\(shape \(4, 3\), axis=0\)"):
        ad.take(wrap(StandIn(TABLE)), wrap(StandIn(np.array([0, 4]))), axis=0)


def test_numpy_and_another_array_type_do_not_mix():
    with pytest.raises(ValueError, match=r"a StandIn and a numpy.ndarray of shape \(4, 3\) do not mix"):
        wrap(StandIn(TABLE)) * TABLE


def test_repeated_eigenvalues_are_seen_on_another_array_type():
    a = wrap(StandIn(np.diag([1.0, 1.0, 2.0])))
    a._requires_grad = True
    (d,) = ad.gradients(ad.linalg.eigh(a).eigenvectors.sum(), [a])
    assert np.isnan(d._ndarray.value).all()


def test_a_value_of_the_other_array_type_is_written_into_a_constant_of_numpy():
    v = variable(StandIn(np.array(2.0)))
    for index in (1, np.array([1]), wrap(StandIn(np.array([1])))):
        y = wrap(np.zeros(3)).at[index].set(v)
        assert y._ndarray.value.tolist() == [0, 2, 0]
        (d,) = ad.gradients((y * y).sum(), [v])
        assert d._ndarray.value == 4


def test_a_user_s_operation_runs_on_the_other_array_type():
    cube = ad.primitive(lambda x: x**3, name="cube", vjps=[lambda g, y, x: g * 3 * x**2])
    on_both(lambda x: cube(cube(x)), TABLE)
    on_both(lambda x: ad.gradients(cube(x).sum(), [x], create_graph=True)[0], TABLE)


def raw_sum(x, w):
    return np.frombuffer((x * w).tobytes(), x.dtype).reshape(x.shape)


@pytest.mark.parametrize(
    "rules",
    [
        {"vjps": [lambda g, y, x, w: raw_sum(g, w), None]},
        {"vjp": lambda g, y, x, w: [raw_sum(g, w), None]},
        {"vjps": [lambda g, y, x, w: raw_sum(g, w), lambda g, y, x, w: raw_sum(g, x)]},
        {"vjp": lambda g, y, x, w: [raw_sum(g, w), raw_sum(g, x)]},
    ],
)
def test_a_user_s_opaque_operation_is_taken_whole(rules):
    product = ad.primitive(raw_sum, name="product", opaque="bytes", **rules)
    both = None not in rules.get("vjps", ()) and (not rules.get("vjp") or rules["vjp"](*[TABLE] * 4)[1] is not None)
    with watching() as log:
        on_both(lambda x, w: product(x, w if both else w.detach()), TABLE, TABLE + 1)
    assert log.calls[0] == "product" and log.calls[1] == "product: pullback 0" and log.conversions == 0


def test_a_user_s_operation_that_is_not_opaque_meets_the_array_type_s_own_error():
    product = ad.primitive(raw_sum, name="product", vjps=[None, None])
    with pytest.raises((TypeError, ValueError, AttributeError), match="product"):
        product(wrap(StandIn(TABLE)), wrap(StandIn(TABLE)))
