"""A recorded graph, made again of traced arrays, is the program of what was recorded: for other values it gives what the
operations give for these."""

import numpy as np
import pytest

import autodiff as ad
import nn
from autodiff import Tensor
from autodiff.backward import reachable, reverse
from autodiff.compiling.replay import replayed
from autodiff.compiling.source import Source, numpy_function
from autodiff.compiling.tracer import Trace, Tracer, Uncommon, stripped
from autodiff.primitive import REGISTRY, general
from autodiff.seeing.graph import results_behind


def program_of(output, leaves):
    """The program of an output and its gradients, of the arrays of the leaves."""
    trace = Trace()
    results = results_behind(output, "replay")
    found = {x._number for node in results for x in node._inputs if isinstance(x, Tensor)}
    traced = {x._number: trace.input(x._ndarray.copy()) for x in leaves if x._number in found}
    made = replayed(trace, results, traced, {}, {})
    y = made[output._number]
    nodes, reached = reachable([y])
    wanted = {n: made[n] for n in traced if n in reached}
    gradients = reverse({y._number: np.ones_like(y._ndarray)[()]}, nodes, wanted, False)
    values = [y._ndarray, *(gradients.get(n) for n in traced)]
    return trace.program([stripped(v) for v in values if v is not None]), [n in gradients for n in traced]


def compare(function, before, after, close=1e-11):
    """Record the function with some arrays, and compare its program with it for others."""
    leaves = [Tensor(a, requires_grad=True) for a in before]
    with np.errstate(all="ignore"):
        y = function(*leaves)
        if not y.requires_grad or y.dtype.kind == "c":
            return
        try:
            program, given = program_of(y.sum(), leaves)
        except Uncommon:
            return
        if any(_is_whole(node) for node in program.nodes):
            return  # what the recorded values alone are known of
        run, unmet = numpy_function(Source(program))
        found_inputs = [a for a, x in zip(after, leaves) if x._number in {*_reached(y)}]
        try:
            value, *gradients = run(*[a.copy() for a in found_inputs])
        except unmet:
            return
        xs = [Tensor(a, requires_grad=True) for a in after]
        total = function(*xs).sum()
        expected = ad.gradients(total, xs, allow_unused=True)
        expected = [g for g, x in zip(expected, leaves) if x._number in {*_reached(y)}]
    np.testing.assert_allclose(value, total.data, rtol=close, atol=close)
    for g, e in zip(gradients, [e for e, there in zip(expected, given) if there], strict=True):
        scale = np.abs(e.data[np.isfinite(e.data)]).max(initial=1)
        np.testing.assert_allclose(g, e.data, rtol=close, atol=close * scale)


def _is_whole(node):
    return node.op == "call" and getattr(node.options["function"].function, "__module__", "") == replayed.__module__


def _reached(y):
    return [x._number for node in results_behind(y, "replay") for x in node._inputs if isinstance(x, Tensor)]


@pytest.mark.parametrize("name", sorted(name for name, record in REGISTRY.items() if record.samples is not None))
def test_an_operation_is_computed_again_with_other_values(name):
    record = REGISTRY[name]
    samples = (list(record.samples(np.random.default_rng(seed)))[:3] for seed in (0, 1))
    for sample, other in zip(*samples):
        places = [i for i, x in enumerate(sample.inputs) if isinstance(x, np.ndarray) and x.dtype.kind == "f"]
        before, after = ([s.inputs[i] for i in places] for s in (sample, other))
        if [a.shape for a in before] != [a.shape for a in after]:
            after = [a * 0.9 for a in before]

        def function(*xs, sample=sample, places=places):
            inputs = list(sample.inputs)
            for i, x in zip(places, xs):
                inputs[i] = x
            inputs = sample.wrap(*inputs) if sample.wrap else inputs
            inputs = inputs if isinstance(inputs, (tuple, list)) else (inputs,)
            return (sample.function or general(record))(*inputs, **sample.params)

        compare(function, before, after)


def layers():
    rng = np.random.default_rng(0)
    x, series, image = rng.normal(size=(3, 4)), rng.normal(size=(3, 2, 4)), rng.normal(size=(1, 2, 5, 5))
    yield from ((nn.LSTM(4, 2), series), (nn.GRU(4, 2), series), (nn.RNN(4, 2), series), (nn.LSTMCell(4, 2), x))
    yield from ((nn.LayerNorm(4), x), (nn.BatchNorm1d(4), x), (nn.GroupNorm(2, 4), x), (nn.RMSNorm(4), x))
    yield from ((nn.Conv2d(2, 2, 3), image), (nn.MaxPool2d(2), image), (nn.AvgPool2d(2), image))
    yield from ((nn.Softmax(), x), (nn.GELU(), x), (nn.Linear(4, 2), x))
    yield nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0), series


@pytest.mark.parametrize("layer, x", list(layers()), ids=lambda v: type(v).__name__)
def test_a_layer_is_computed_again_with_other_values(layer, x):
    layer.double()

    def function(x):
        y = layer(x)
        while isinstance(y, tuple):
            y = y[0]
        return y * y

    compare(function, [x], [np.cos(x) * 0.5])


def test_notes_of_a_forward_pass_are_not_changed_by_the_second():
    layer, x = nn.BatchNorm1d(3), Tensor(np.random.default_rng(0).normal(size=(4, 3)), requires_grad=True)
    layer.double()
    y = (layer(x) ** 3).sum()
    expected = ad.gradients(y, [x])[0].data
    program_of(y, [x])
    np.testing.assert_array_equal(ad.gradients(y, [x])[0].data, expected)


def test_numbers_names_flags_and_lines_are_those_of_the_first_graph():
    x, c = Tensor([1.0, 2.0], requires_grad=True, name="x"), Tensor([3.0, 1.0])
    y = np.exp(x * c).sum()
    trace = Trace()
    made = replayed(trace, results_behind(y, "replay"), {x._number: trace.input(x._ndarray)}, {}, {})
    assert isinstance(made[y._number]._ndarray, Tracer)
    again = made[x._number]
    assert (again.name, again.requires_grad, again._number) == ("x", True, x._number)
    assert not made[c._number].requires_grad
    np.testing.assert_array_equal(made[c._number]._ndarray.node, c.data)
    np.testing.assert_array_equal(x.data, [1, 2])


def test_what_hides_something_in_its_options_is_called_whole():
    whole = set()
    for name, record in REGISTRY.items():
        for sample in list((record.samples or (lambda rng: []))(np.random.default_rng(0)))[:1]:
            xs = [Tensor(x, requires_grad=True) if _is_float(x) else x for x in sample.inputs]
            given = sample.wrap(*xs) if sample.wrap else xs
            y = (sample.function or general(record))(
                *(given if isinstance(given, (tuple, list)) else (given,)), **sample.params
            )
            if y.requires_grad:
                with np.errstate(all="ignore"):
                    trace = Trace(rare=True)
                    leaves = {x._number: trace.input(x._ndarray) for x in xs if isinstance(x, Tensor)}
                    made = replayed(trace, results_behind(y, "replay"), leaves, {}, {})
                nodes = trace.program([stripped(x._ndarray) for x in made.values()]).nodes
                whole |= {node.options["name"] for node in nodes if _is_whole(node)}
    assert {"funm_sym", "sparse_matmul", "spectral_sum"} <= whole
    assert not whole & {"lstm", "layer_norm", "max_pool", "where", "einsum", "getitem", "sort"}


def _is_float(x):
    return isinstance(x, np.ndarray) and x.dtype.kind == "f"
