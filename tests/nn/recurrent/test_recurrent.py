"""Recurrent cells and layers against PyTorch in double precision, against their own unrolled graphs, and against the
documents' numbers."""

import copy
import gc
import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import autodiff as ad
import nn
from autodiff import Tensor
from autodiff.transforms.forward import ForwardOverReverse, Pushforward
from tests.against_torch import close, same_layer
from tests.documents import ENTRIES
from tests.processor_time import least_times

KINDS = ["RNN", "LSTM", "GRU"]
BOTH = {"LSTM": 2}  # number of states, 1 by default


def joined(result):
    """All that a recurrent module returns, as one vector."""
    parts = []
    stack = [result]
    while stack:
        value = stack.pop()
        if isinstance(value, tuple):
            stack.extend(reversed(value))
        else:
            parts.append(value)
    if isinstance(parts[0], Tensor):
        return ad.concatenate([p.ravel() for p in parts])
    import torch

    return torch.cat([p.reshape(-1) for p in parts])


def flat(module, kind):
    """The module, taking its states as separate arguments, so that `same_layer` differentiates them."""

    class Flat(module):
        def forward(self, x, *states):
            return super().forward(x, None if not states else states if kind.startswith("LSTM") else states[0])

    return Flat


def pair(kind, *args, **options):
    """Our module and torch's, in double precision."""
    torch = pytest.importorskip("torch")
    ours = flat(getattr(nn, kind), kind)(*args, **options, dtype="float64")
    return ours, flat(getattr(torch.nn, kind), kind)(*args, **options, dtype=torch.float64)


def states_of(kind, rng, shape):
    return [rng.normal(size=shape) for _ in range(BOTH.get(kind.removesuffix("Cell"), 1))]


# Layers against torch

OPTIONS = [
    {},
    {"bias": False},
    {"batch_first": True},
    {"num_layers": 2},
    {"bidirectional": True},
    {"num_layers": 2, "bidirectional": True, "batch_first": True, "dropout": 0.5},
    {"num_layers": 3, "bias": False, "bidirectional": True},
]


@pytest.mark.parametrize("given_state", [False, True])
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_outputs_final_states_and_their_first_and_second_derivatives_are_torchs(kind, options, given_state):
    ours, theirs = pair(kind, 3, 2, **options)
    rng = np.random.default_rng(1)
    rows, n = options.get("num_layers", 1) * (1 + options.get("bidirectional", False)), 3
    x = rng.normal(size=(n, 4, 3) if options.get("batch_first") else (4, n, 3))
    same_layer(ours.eval(), theirs.eval(), x, *(states_of(kind, rng, (rows, n, 2)) * given_state), output=joined)


@pytest.mark.parametrize("given_state", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_single_sequence_without_a_batch_axis_is_as_torchs(kind, given_state):
    ours, theirs = pair(kind, 3, 2, num_layers=2, bidirectional=True, batch_first=True)
    rng = np.random.default_rng(2)
    same_layer(ours, theirs, rng.normal(size=(4, 3)), *(states_of(kind, rng, (4, 2)) * given_state), output=joined)


def test_relu_units_are_as_torchs():
    ours, theirs = pair("RNN", 3, 4, 2, "relu", bidirectional=True)
    rng = np.random.default_rng(3)
    same_layer(ours, theirs, rng.normal(size=(4, 3, 3)), rng.normal(size=(4, 3, 4)), output=joined)


@pytest.mark.parametrize("kind", KINDS)
def test_one_step_and_one_unit_are_as_torchs(kind):
    ours, theirs = pair(kind, 1, 1)
    rng = np.random.default_rng(4)
    same_layer(ours, theirs, rng.normal(size=(1, 1, 1)), *states_of(kind, rng, (1, 1, 1)), output=joined)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("free_input", [False, True])
def test_an_ordinary_backward_gives_torchs_gradients_too(kind, free_input):
    """Backward without create_graph takes another way, in place on arrays; over more steps than are treated together."""
    torch = pytest.importorskip("torch")
    ours, theirs = pair(kind, 5, 96)
    ours.load_state_dict({k: v.detach().numpy() for k, v in theirs.state_dict().items()})
    rng = np.random.default_rng(5)
    arrays = [rng.normal(size=(30, 24, 5)), *states_of(kind, rng, (1, 24, 96))]
    xs = [Tensor(a, requires_grad=free_input or i > 0) for i, a in enumerate(arrays)]
    ts = [torch.tensor(a, requires_grad=free_input or i > 0) for i, a in enumerate(arrays)]
    y, z = joined(ours(*xs)), joined(theirs(*ts))
    w = rng.normal(size=y.shape)
    y.backward(w)
    z.backward(torch.tensor(w))
    for p, q in zip([*xs, *ours.parameters()], [*ts, *theirs.parameters()]):
        assert (p.grad is None) == (q.grad is None)
        if p.grad is not None:
            close(p.grad.data, q.grad, 1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_float32_stays_float32_and_agrees_with_torch(kind):
    torch = pytest.importorskip("torch")
    ours, theirs = getattr(nn, kind)(6, 5, 2, bidirectional=True), getattr(torch.nn, kind)(6, 5, 2, bidirectional=True)
    ours.load_state_dict({k: v.detach().numpy() for k, v in theirs.state_dict().items()})
    x = np.random.default_rng(6).normal(size=(7, 3, 6)).astype("float32")
    y, z = joined(ours(x)), joined(theirs(torch.tensor(x)))
    assert y.dtype == np.float32
    (y * y).sum().backward()
    (z * z).sum().backward()
    close(y.data, z, 1e-6)
    for p, q in zip(ours.parameters(), theirs.parameters()):
        assert p.grad.dtype == np.float32
        close(p.grad.data, q.grad, 1e-5)


# Cells


@pytest.mark.parametrize("shape", [(3, 4), (4,), (0, 4)])
@pytest.mark.parametrize("given_state", [False, True])
@pytest.mark.parametrize("kind, options", [("RNNCell", {}), ("RNNCell", {"nonlinearity": "relu"}), ("LSTMCell", {}),
                                           ("GRUCell", {}), ("LSTMCell", {"bias": False}), ("GRUCell", {"bias": False})])  # fmt: skip
def test_a_cells_step_is_torchs(kind, options, given_state, shape):
    ours, theirs = pair(kind, 4, 3, **options)
    rng = np.random.default_rng(7)
    states = states_of(kind, rng, (*shape[:-1], 3)) * given_state
    same_layer(ours, theirs, rng.normal(size=shape), *states, output=joined)


@pytest.mark.parametrize("native", ["0", "1"])
@pytest.mark.parametrize("kind", ["LSTMCell", "GRUCell"])
def test_a_loop_over_a_cell_has_torchs_second_derivatives_by_every_way(kind, native, monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.setenv("AUTODIFF_NATIVE", native)
    ours, theirs = pair(kind, 3, 32)
    for a, b in zip(theirs.parameters(), ours.parameters()):
        a.data.copy_(torch.tensor(b.numpy()))
    rng = np.random.default_rng(0)
    x, states = rng.normal(size=(3, 40, 3)), states_of(kind, rng, (40, 32))
    leaves = [Tensor(v, requires_grad=True) for v in (x, *states)]
    their_leaves = [torch.tensor(v, requires_grad=True) for v in (x, *states)]
    variables, their_variables = [*ours.parameters(), *leaves], [*theirs.parameters(), *their_leaves]
    vectors = [rng.normal(size=v.shape) for v in variables]

    def loss(cell, x, *states):
        total = 0
        for t in range(len(x)):
            result = cell(x[t], *states)
            states = result if isinstance(result, tuple) else (result,)
            total = total + (joined(result) ** 3).sum()
        return total

    first = torch.autograd.grad(loss(theirs, *their_leaves), their_variables, create_graph=True)
    along = sum((g * torch.tensor(v)).sum() for g, v in zip(first, vectors))
    second = torch.autograd.grad(along, their_variables)

    def same(found, expected):
        for a, b in zip(found, expected, strict=True):
            b = b.detach().numpy()
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-10 * abs(b).max())

    y = loss(ours, *leaves)
    gradients = ad.gradients(y, variables, create_graph=True)
    same([g.numpy() for g in gradients], first)
    same([g.numpy() for g in ad.gradients(y, variables)], first)
    same([g.numpy() for g in ad.gradients(gradients, variables, vectors)], second)  # reverse over reverse
    same(Pushforward(gradients, variables)(vectors), second)  # forward over recorded reverse
    same(ForwardOverReverse([y], variables)(vectors), second)
    same(Pushforward([y], variables)(vectors), [along])


def as_cell(layer, suffix="_l0"):
    """The cell with the weights of one layer and direction; shared, so that gradients meet."""
    options = {name: getattr(layer, name) for name in ("nonlinearity", "update", "reset_after") if hasattr(layer, name)}
    inputs = getattr(layer, f"weight_ih{suffix}").shape[1]
    cell = getattr(nn, f"{type(layer).__name__}Cell")(
        inputs, layer.hidden_size, bias=layer.bias, dtype=layer.weight_ih_l0.dtype, **options
    )
    for name, _ in list(cell.named_parameters()):
        setattr(cell, name, getattr(layer, name + suffix))
    return cell


def unrolled(cell, x, state=None):
    """The cell step by step."""
    outputs = []
    for t in range(x.shape[0]):
        state = cell(x[t], state)
        outputs.append(state[0] if isinstance(state, tuple) else state)
    return ad.stack(outputs), state


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from([("RNN", {}), ("RNN", {"nonlinearity": "relu"}), ("LSTM", {}), ("GRU", {}),
                     ("GRU", {"update": "new"}), ("GRU", {"reset_after": False}),
                     ("GRU", {"update": "new", "reset_after": False})]),
    st.tuples(*[st.integers(1, 5), st.integers(0, 3), st.integers(1, 4), st.integers(1, 4)]),
    st.integers(1, 2), st.booleans(), st.booleans(), st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_backpropagation_through_time_is_backpropagation_through_the_unrolled_cells(
    kind, shape, layers, both_ways, bias, seed
):
    name, options = kind
    steps, batch, inputs, hidden = shape
    rng = np.random.default_rng(seed)
    layer = getattr(nn, name)(
        inputs, hidden, layers, bias=bias, bidirectional=both_ways, dtype="float64", rng=rng, **options
    )
    x = Tensor(rng.normal(size=(steps, batch, inputs)), requires_grad=True)
    output, last = layer(x)
    below, ends = x, []
    for k in range(layers):
        there, end = unrolled(as_cell(layer, f"_l{k}"), below)
        ends.append(end)
        if both_ways:
            back, end = unrolled(as_cell(layer, f"_l{k}_reverse"), below[::-1])
            ends.append(end)
            there = ad.concatenate([there, back[::-1]], axis=-1)
        below = there
    last = last if isinstance(last, tuple) else (last,)
    ends = [end if isinstance(end, tuple) else (end,) for end in ends]
    expected = [below, *[ad.stack([end[k] for end in ends]) for k in range(len(last))]]
    free = [x, *layer.parameters()]
    weights = [rng.normal(size=e.shape) for e in expected]
    found = []
    for values in ([output, *last], expected):
        loss = sum((v * w).sum() + 0.5 * (v * v).sum() for v, w in zip(values, weights))
        found.append((values, ad.gradients(loss, free), _product(loss, free)))
    (a, d, hd), (b, e, he) = found
    for u, v in zip([*a, *d, *hd], [*b, *e, *he]):
        assert u.shape == v.shape
        np.testing.assert_allclose(u.data, v.data, rtol=1e-9, atol=1e-10)


def _product(loss, free):
    """The Hessian times ones."""
    slopes = ad.gradients(loss, free, create_graph=True)
    found = ad.gradients(sum(s.sum() for s in slopes), free, allow_unused=True)
    return [Tensor(np.zeros(x.shape)) if d is None else d for x, d in zip(free, found)]


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_third_derivatives_are_those_of_the_formulas(kind):
    """Against the same recurrence written in plain operations."""
    rng = np.random.default_rng(8)
    x = rng.normal(size=(3, 2, 2))
    layer = getattr(nn, kind)(2, 2, dtype="float64", rng=rng)
    names = [name for name, _ in layer.named_parameters()]
    start = np.concatenate([p.data.ravel() for p in layer.parameters()])
    shapes = [p.shape for p in layer.parameters()]

    def cut(v):
        parts, at = [], 0
        for shape in shapes:
            parts.append(v[at : at + math.prod(shape)].reshape(shape))
            at += math.prod(shape)
        return parts

    def plainly(v):
        w, u, b, d = cut(v)
        h = c = np.zeros((2, 2))
        total = 0.0
        for t in range(3):
            p, a = x[t] @ w.T + b, h @ u.T + d
            if kind == "RNN":
                h = np.tanh(p + a)
            elif kind == "LSTM":
                i, f, g, o = (p[:, k : k + 2] + a[:, k : k + 2] for k in range(0, 8, 2))
                c = ad.sigmoid(f) * c + ad.sigmoid(i) * np.tanh(g)
                h = ad.sigmoid(o) * np.tanh(c)
            else:
                r, z = (ad.sigmoid(p[:, k : k + 2] + a[:, k : k + 2]) for k in (0, 2))
                n = np.tanh(p[:, 4:] + r * a[:, 4:])
                h = (1 - z) * n + z * h
            total = total + (h**3).sum()
        return total

    def fused(v):
        from nn.recurrent.recurrence import scan

        states = [Tensor(np.zeros((2, 2))) for _ in range(BOTH.get(kind, 1))]
        y = scan({"RNN": "tanh"}.get(kind, kind.lower()), Tensor(x), states, cut(v))
        return (y[0] ** 3).sum()

    assert names == ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"]
    u = rng.normal(size=start.shape)
    along = lambda f: lambda v: ad.hvp(f, v, u)
    curvature = lambda f: lambda v: (along(f)(v) * u).sum()
    np.testing.assert_allclose(fused(Tensor(start)).data, plainly(Tensor(start)).data, rtol=1e-13)
    np.testing.assert_allclose(
        ad.grad(curvature(fused))(start), ad.grad(curvature(plainly))(start), rtol=1e-8, atol=1e-9
    )


# Truncation


@pytest.mark.parametrize("shape", [(40, 64, 3), (1, 2, 3)], ids=["windows", "one step"])
@pytest.mark.parametrize("kind", ["relu", *KINDS])
def test_products_on_a_recorded_layer_are_torchs_second_derivatives(kind, shape):
    torch = pytest.importorskip("torch")
    hidden = 16 if shape[0] > 2 else 2  # more than go through the cache at once, or few
    options = {"nonlinearity": "relu"} if kind == "relu" else {}
    ours, theirs = pair("RNN" if kind == "relu" else kind, shape[-1], hidden, **options)
    rng = np.random.default_rng(0)
    x, states = rng.normal(size=shape), states_of(kind, rng, (1, shape[1], hidden))
    for a, b in zip(theirs.parameters(), ours.parameters()):
        a.data.copy_(torch.tensor(b.numpy()))
    leaves = [Tensor(v, requires_grad=True) for v in (x, *states)]
    their_leaves = [torch.tensor(v, requires_grad=True) for v in (x, *states)]
    variables = [*ours.parameters(), *leaves]
    their_variables = [*theirs.parameters(), *their_leaves]
    vectors = [rng.normal(size=v.shape) for v in variables]

    H = ad.curvature.Hessian((joined(ours(*leaves)) ** 3).sum(), variables)
    found = H @ np.concatenate([v.ravel() for v in vectors])
    gradients = torch.autograd.grad((joined(theirs(*their_leaves)) ** 3).sum(), their_variables, create_graph=True)
    along = sum((g * torch.tensor(v)).sum() for g, v in zip(gradients, vectors))
    expected = torch.autograd.grad(along, their_variables)
    expected = np.concatenate([e.numpy().ravel() for e in expected])
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9 * abs(expected).max())


@pytest.mark.parametrize("kind", ["relu", *KINDS, "new"])
def test_tangents_in_forward_mode_are_those_of_two_reverse_passes(kind):
    options = {"relu": {"nonlinearity": "relu"}, "new": {"update": "new"}}.get(kind, {})
    layer = getattr(nn, {"relu": "RNN", "new": "GRU"}.get(kind, kind))(3, 2, dtype="float64", **options)
    weights, rng = dict(layer.named_parameters()), np.random.default_rng(0)

    def f(x, *values):
        return nn.functional_call(layer, dict(zip(weights, values)), x)[0]

    at = [rng.normal(size=(4, 2, 3)), *[w.numpy() for w in weights.values()]]
    ts, u = [rng.normal(size=a.shape) for a in at], rng.normal(size=(4, 2, 2))
    _, pushed = ad.jvp(f, tuple(at), tuple(ts))
    _, pull = ad.vjp(f, *at)
    np.testing.assert_allclose((u * pushed).sum(), sum((g * t).sum() for g, t in zip(pull(u), ts)), rtol=1e-10)


LAYERS = {
    "relu": lambda *sizes, **options: nn.RNN(*sizes, nonlinearity="relu", **options),
    "new": lambda *sizes, **options: nn.GRU(*sizes, update="new", **options),
    **{kind: getattr(nn, kind) for kind in KINDS},
}


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", LAYERS)
def test_products_are_the_same_by_every_way(kind, bias, monkeypatch):
    """On the recorded loss with and without machine code, for many vectors at once, for some of the parameters alone, as
    derivatives of recorded gradients, and in single precision; of two layers, so that inputs move too."""
    rng = np.random.default_rng(0)
    layer = LAYERS[kind](3, 8, 2, bias=bias, dtype="float64", rng=rng)
    weights, x = [*layer.parameters()], rng.normal(size=(20, 32, 3))

    def loss(layer, x):
        output, last = layer(x)
        return (output**3).sum() + sum((end**2).sum() for end in (last if isinstance(last, tuple) else (last,)))

    monkeypatch.setenv("AUTODIFF_NATIVE", "0")
    at = loss(layer, x)
    H = ad.curvature.Hessian(at, weights)
    V = rng.normal(size=(H.size, 4))
    expected = np.stack([H @ v for v in V.T], axis=1)
    close = {"rtol": 1e-11, "atol": 1e-11 * abs(expected).max()}
    np.testing.assert_allclose(H @ V, expected, **close)
    monkeypatch.setenv("AUTODIFF_NATIVE", "1")
    np.testing.assert_allclose(H @ V[:, 0], expected[:, 0], **close)
    slopes = ad.gradients(at, weights, create_graph=True)
    ad.curvature.Jacobian(at, weights) @ V[:, 1]  # along another vector, of which nothing must be left
    twice = ad.gradients(slopes, weights, H.split(V[:, 0]))
    np.testing.assert_allclose(np.concatenate([d.numpy().ravel() for d in twice]), expected[:, 0], **close)
    some, others = H.block(weights[:2]), np.zeros(H.size)  # of the same recorded run, in turn
    others[: some.size] = V[: some.size, 1]
    for _ in range(2):
        np.testing.assert_allclose(some @ V[: some.size, 1], (H @ others)[: some.size], **close)
        np.testing.assert_allclose(H @ V[:, 1], expected[:, 1], **close)
    layer.float()
    single = ad.curvature.Hessian(loss(layer, x.astype("float32")), weights) @ V[:, 0].astype("float32")
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, expected[:, 0], rtol=1e-3, atol=1e-4 * abs(expected).max())


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("shape", "hidden"), [((20, 16, 16), 32), ((50, 32, 32), 64)])
def test_a_product_on_a_recorded_layer_costs_less_than_three_gradients_and_one_from_scratch(kind, shape, hidden):
    layer = getattr(nn, kind)(shape[-1], hidden, dtype="float64")
    weights, x = [*layer.parameters()], np.random.default_rng(0).normal(size=shape)

    def loss():
        return (layer(x)[0] ** 2).mean()

    def scratch():
        gradients = ad.gradients(loss(), weights, create_graph=True)
        ad.gradients(sum(g.sum() for g in gradients), weights)

    H, v = ad.curvature.Hessian(loss(), weights), np.ones(sum(w.size for w in weights))
    for other, most in [(scratch, 0.9), (lambda: ad.gradients(loss(), weights), 3)]:
        recorded, anew = least_times(lambda: H @ v, other, rounds=10, enough=lambda a, b, most=most: a < 0.9 * most * b)
        assert recorded < most * anew


@pytest.mark.parametrize("kind", KINDS)
def test_a_detached_state_between_windows_truncates_backpropagation(kind):
    """Window by window with states carried over: the values of the whole sequence, the gradients of the unrolled cells
    with the same cuts."""
    rng = np.random.default_rng(9)
    layer = getattr(nn, kind)(3, 4, dtype="float64", rng=rng)
    x = rng.normal(size=(9, 2, 3))
    state, outputs = None, []
    for start in range(0, 9, 3):
        y, state = layer(x[start : start + 3], state)
        outputs.append(y)
        state = tuple(s.detach() for s in state) if isinstance(state, tuple) else state.detach()
    y = ad.concatenate(outputs)
    np.testing.assert_allclose(y.data, layer(x)[0].data, rtol=1e-12)
    cell, state, steps = as_cell(layer), None, []
    for t in range(9):
        if t % 3 == 0 and state is not None:
            state = tuple(s.detach() for s in state) if isinstance(state, tuple) else state.detach()
        state = cell(x[t], state)
        steps.append(state[0] if isinstance(state, tuple) else state)
    free = list(layer.parameters())
    truncated = ad.gradients((y**2).sum(), free)
    for d, e in zip(truncated, ad.gradients((ad.stack(steps) ** 2).sum(), free)):
        np.testing.assert_allclose(d.data, e.data, rtol=1e-9, atol=1e-12)
    whole = ad.gradients((layer(x)[0] ** 2).sum(), free)
    assert any(np.abs(d.data - e.data).max() > 1e-3 for d, e in zip(truncated, whole))


# The documents' numbers


def load(layer, **values):
    layer.load_state_dict({k: np.asarray(v, float).reshape(layer.state_dict()[k].shape) for k, v in values.items()})
    return layer


def approx(found, expected):
    found = found.data if isinstance(found, Tensor) else np.asarray(found)
    np.testing.assert_allclose(found.ravel(), np.ravel(expected), rtol=1e-10, atol=1e-12)


def test_the_documents_scalar_network_unrolled_over_three_steps():
    entry = ENTRIES["rnn-bptt-scalar"]
    i, e = entry["inputs"], entry["expected"]
    rnn = load(nn.RNN(1, 1, dtype="float64"), weight_ih_l0=i["w_x"], weight_hh_l0=i["w_h"], bias_ih_l0=i["b"],
               bias_hh_l0=0)  # fmt: skip
    h0 = Tensor([[float(i["h0"])]], requires_grad=True)
    x = np.reshape(i["x"], (3, 1)).astype(float)
    targets = np.reshape(i["targets"], (3, 1))
    h, _ = rnn(x, h0)
    losses = 0.5 * (h - targets) ** 2
    approx(h, e["h"])
    approx(losses, e["E_t"])
    approx(losses.sum(), e["E"])
    free = [rnn.weight_ih_l0, rnn.weight_hh_l0, rnn.bias_ih_l0, h0]
    names = ["dE_dw_x", "dE_dw_h", "dE_db", "dE_dh0"]
    for d, name in zip(ad.gradients(losses.sum(), free), names):
        approx(d, e[name])
    slopes = ad.gradients(losses.sum(), free, create_graph=True)
    approx([d.item() for d in ad.gradients(sum(s.sum() for s in slopes), free)], e["hvp_u"])
    states = [h0, *[Tensor(v.reshape(1, 1), requires_grad=True) for v in h.data[:-1]]]
    for state, x_t, slope in zip(states, x, e["dh_t_dh_t-1"]):
        approx(ad.gradients(rnn(x_t[None], state)[0].sum(), state)[0], slope)


def test_the_documents_network_of_two_units_truncated_to_its_last_steps():
    entry = ENTRIES["rnn-bptt-matrix-truncated"]
    i, e = entry["inputs"], entry["expected"]
    rnn = load(nn.RNN(2, 2, dtype="float64"), weight_ih_l0=i["W_x"], weight_hh_l0=i["W_h"], bias_ih_l0=i["b"],
               bias_hh_l0=[0, 0])  # fmt: skip
    x, target, steps = np.array(i["x"]), np.array(i["target"]), len(i["x"])
    h0 = Tensor([i["h0"]], requires_grad=True)
    approx(rnn(x, h0)[0], e["h"])
    names = {"dW_x": rnn.weight_ih_l0, "dW_h": rnn.weight_hh_l0, "db": rnn.bias_ih_l0, "dh0": h0}
    for last in range(1, steps + 1):
        state = rnn(x[: steps - last], h0)[1].detach() if last < steps else h0
        loss = 0.5 * ((rnn(x[steps - last :], state)[0][-1] - target) ** 2).sum()
        approx(loss, e["loss"])
        expected = e["gradients_by_truncation_length"][str(last)]
        for name, value in expected.items():
            approx(ad.gradients(loss, names[name])[0], value)
        assert ("dh0" in expected) == (last == steps)
    hs = rnn(x, h0)[0].data
    cell = as_cell(rnn)
    befores = [h0.data[0], *hs[:-1]]
    for x_t, before, jacobian in zip(x, befores, e["step_jacobians"]):
        approx(ad.jacobian(lambda h, x_t=x_t: cell(x_t, h))(before), jacobian)
    approx(ad.jacobian(lambda h: rnn(x[1:], h[None])[0][-1])(hs[0]), e["jacobian_h4_h1"])


def test_the_documents_scalar_lstm():
    entry = ENTRIES["lstm-scalar-trace"]
    i, e = entry["inputs"], entry["expected"]
    gates = [i["weights_h_x_bias"][gate] for gate in "ifco"]  # PyTorch's order
    lstm = load(nn.LSTM(1, 1, dtype="float64"), weight_ih_l0=[g[1] for g in gates], weight_hh_l0=[g[0] for g in gates],
                bias_ih_l0=[g[2] for g in gates], bias_hh_l0=[0] * 4)  # fmt: skip
    x = np.reshape(i["x"], (2, 1)).astype(float)
    h0, c0 = (Tensor([[float(i[name])]], requires_grad=True) for name in ("h0", "C0"))
    state = (h0, c0)
    for x_t, step in zip(x, e["steps"]):
        _, state = lstm(x_t[None], state)
        approx(state[0], step["h"])
        approx(state[1], step["C"])
    output, _ = lstm(x, (h0, c0))
    free = [lstm.weight_hh_l0, lstm.weight_ih_l0, lstm.bias_ih_l0, h0, c0]

    def in_their_order(found):
        wh, wx, b, dh, dc = (d.data.ravel() for d in found)
        return [v[k] for k in (1, 0, 2, 3) for v in (wh, wx, b)] + [dh[0], dc[0]]

    approx(in_their_order(ad.gradients(output[-1].sum(), free)), e["dh2"])
    slopes = ad.gradients(output[-1].sum(), free, create_graph=True)
    approx(in_their_order(ad.gradients(sum(s.sum() for s in slopes), free)), e["hvp_u"])
    cell = as_cell(lstm)
    h1, c1 = (Tensor([e["steps"][0][name]], requires_grad=True) for name in ("h", "C"))
    _, c2 = cell(x[1], (h1, c1))
    approx(ad.gradients(c2.sum(), c1)[0], e["dC2_dC1_direct_path_only"])
    o1 = Tensor([e["steps"][0]["o"]])
    _, c2 = cell(x[1], (o1 * np.tanh(c1), c1))
    approx(ad.gradients(c2.sum(), c1)[0], e["dC2_dC1_total"])


@pytest.mark.parametrize("convention", ["notes", "pytorch"])
@pytest.mark.parametrize("kind", ["GRU", "GRUCell"])
def test_the_documents_scalar_gru_in_both_conventions(kind, convention):
    entry = ENTRIES["gru-scalar-conventions"]
    i, e = entry["inputs"], entry["expected"]
    gates = [i["weights_h_x_bias"][gate] for gate in "rzn"]
    options = {"update": "new", "reset_after": False} if convention == "notes" else {}
    end = "_l0" if kind == "GRU" else ""
    values = {"weight_ih": [g[1] for g in gates], "weight_hh": [g[0] for g in gates], "bias_ih": [g[2] for g in gates],
              "bias_hh": [0] * 3}  # fmt: skip
    gru = load(getattr(nn, kind)(1, 1, dtype="float64", **options), **{k + end: v for k, v in values.items()})
    h = Tensor([[float(i["h0"])]])
    for x_t, step in zip(i["x"], e[convention]):
        h = gru(np.array([[float(x_t)]]), h)
        h = h[1] if kind == "GRU" else h
        approx(h, step["h"])
    found = ad.gradients(h.sum(), [getattr(gru, n + end) for n in ("weight_hh", "weight_ih", "bias_ih")])
    ours = [d.data.ravel()[k] for k in (1, 0, 2) for d in found]  # z, r, n
    approx(ours, e[f"dh2_{convention}_order_z_r_n"])


def test_the_reset_gate_before_or_after_the_matrix_product():
    entry = ENTRIES["gru-reset-placement"]
    i, e = entry["inputs"], entry["expected"]
    r, h = np.array(i["r"]), np.array(i["h"])
    for reset_after, name in [(False, "before (notes)"), (True, "after (PyTorch)")]:
        # z closed, so that the new state is the candidate, whose input is what the document computes
        cell = load(
            nn.GRUCell(1, 2, reset_after=reset_after, dtype="float64"), weight_ih=np.zeros(6),
            weight_hh=np.vstack([np.zeros((4, 2)), i["W"]]), bias_hh=np.zeros(6),
            bias_ih=np.concatenate([np.log(r / (1 - r)), [-800.0, -800.0], [0, 0]]),
        )  # fmt: skip
        approx(np.arctanh(cell(np.zeros(1), h).data), e[name])


def test_the_documents_parameter_counts():
    entry = ENTRIES["recurrent-parameter-counts"]
    count = lambda m: sum(p.size for p in m.parameters())
    found = {}
    for kind in KINDS:
        layer = getattr(nn, kind)(entry["inputs"]["D"], entry["inputs"]["H"])
        found[f"pytorch_{kind.lower()}_two_biases"] = count(layer)
        found[f"{kind.lower()}_one_bias"] = count(layer) - layer.bias_hh_l0.size
        if kind == "RNN":
            found["W_x"], found["W_h"] = layer.weight_ih_l0.size, layer.weight_hh_l0.size
    found["unshared_rnn_10_steps"] = 10 * found["rnn_one_bias"]
    assert found == entry["expected"]


# Options that torch lacks, and its initial values


@pytest.mark.parametrize("kind", ["GRU", "GRUCell"])
def test_an_update_gate_that_says_what_is_new_is_torchs_with_that_gates_weights_negated(kind):
    torch = pytest.importorskip("torch")
    theirs = getattr(torch.nn, kind)(3, 4, dtype=torch.float64)
    ours = getattr(nn, kind)(3, 4, update="new", dtype="float64")
    sign = np.repeat([1.0, -1.0, 1.0], 4)
    ours.load_state_dict({k: (v.detach().numpy().T * sign).T for k, v in theirs.state_dict().items()})
    x = np.random.default_rng(13).normal(size=(5, 2, 3) if kind == "GRU" else (2, 3))
    y, z = joined(ours(x)), joined(theirs(torch.tensor(x)))
    (y**2).sum().backward()
    (z**2).sum().backward()
    close(y.data, z, 1e-12)
    for p, q in zip(ours.parameters(), theirs.parameters()):
        np.testing.assert_allclose((p.grad.data.T * sign).T, q.grad.numpy(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("update", ["old", "new"])
@pytest.mark.parametrize("kind", ["GRU", "GRUCell"])
def test_a_reset_gate_before_the_product_follows_its_formula(kind, update, bias):
    gru = getattr(nn, kind)(3, 4, bias=bias, update=update, reset_after=False, dtype="float64")
    rng = np.random.default_rng(14)
    xs, h = rng.normal(size=(3, 2, 3)), rng.normal(size=(2, 4))
    w, u, *biases = (p.data for p in gru.parameters())
    b, d = biases or (np.zeros(12), np.zeros(12))
    sigmoid = lambda v: 1 / (1 + np.exp(-v))
    ours, expected = h if kind == "GRUCell" else h[None], h
    for x in xs:
        p = x @ w.T + b + d
        r, z = (sigmoid(p[:, k : k + 4] + expected @ u[k : k + 4].T) for k in (0, 4))
        n = np.tanh(p[:, 8:] + (r * expected) @ u[8:].T)
        expected = (1 - z) * expected + z * n if update == "new" else (1 - z) * n + z * expected
        ours = gru(x, ours) if kind == "GRUCell" else gru(x[None], ours)[1]
        np.testing.assert_allclose(ours.data.reshape(2, 4), expected, rtol=1e-12)
    if kind == "GRU":
        np.testing.assert_allclose(gru(xs, h[None])[0].data[-1], expected, rtol=1e-12)


def test_a_learned_initial_state_is_a_parameter_that_all_samples_share():
    lstm = nn.LSTM(3, 4, 2, bidirectional=True, learn_initial_state=True, dtype="float64")
    assert list(lstm.state_dict())[-2:] == ["h_0", "c_0"]
    assert lstm.h_0.shape == lstm.c_0.shape == (4, 1, 4) and not lstm.h_0.data.any()
    rng = np.random.default_rng(10)
    x = rng.normal(size=(5, 3, 3))
    for p in (lstm.h_0, lstm.c_0):
        p.data = rng.normal(size=p.shape)
    states = tuple(Tensor(np.repeat(p.data, 3, axis=1), requires_grad=True) for p in (lstm.h_0, lstm.c_0))
    learned, given_ = lstm(x), lstm(x, states)
    np.testing.assert_array_equal(joined(learned).data, joined(given_).data)
    w = rng.normal(size=joined(learned).shape)
    ds = ad.gradients(joined(learned), [lstm.h_0, lstm.c_0], w)
    for d, e in zip(ds, ad.gradients(joined(given_), states, w)):
        np.testing.assert_allclose(d.data, e.data.sum(axis=1, keepdims=True), rtol=1e-12)
    gru = nn.GRU(3, 4, learn_initial_state=True)
    assert [name for name, _ in gru.named_parameters()][-1] == "h_0" and not hasattr(gru, "c_0")
    assert gru(np.ones((5, 3), "float32"))[0].shape == (5, 4)


def test_dropout_drops_outputs_between_layers_and_only_in_training():
    x = np.random.default_rng(11).normal(size=(6, 4, 3))
    gru = nn.GRU(3, 64, 2, dropout=0.25, dtype="float64", rng=np.random.default_rng(0))
    assert not np.array_equal(gru(x)[0].data, gru(x)[0].data)
    whole = gru.eval()(x)
    np.testing.assert_array_equal(whole[0].data, gru(x)[0].data)
    one = nn.GRU(3, 64, dtype="float64")
    one.load_state_dict({k: v for k, v in gru.state_dict().items() if k.endswith("_l0")})
    two = nn.GRU(64, 64, dtype="float64")
    two.load_state_dict({k.replace("_l1", "_l0"): v for k, v in gru.state_dict().items() if k.endswith("_l1")})
    mask = (np.random.default_rng(5).random((6, 4, 64), np.float32) < 0.75) / 0.75
    gru.train().rng = np.random.default_rng(5)
    output, h = gru(x)
    np.testing.assert_allclose(output.data, two(one(x)[0] * mask)[0].data, rtol=1e-12)
    np.testing.assert_allclose(h[0].data, one(x)[1][0].data, rtol=1e-12)  # final states are as they are
    gru.dropout = 1.0
    np.testing.assert_allclose(gru(x)[0].data, two(np.zeros((6, 4, 64)))[0].data, rtol=1e-12)


def test_dropout_draws_from_the_default_generator_unless_given_one():
    x = np.ones((3, 2, 3), "float32")
    lstm = nn.LSTM(3, 8, 2, dropout=0.5)
    nn.manual_seed(3)
    first = lstm(x)[0].data
    state = nn.get_rng_state()
    nn.manual_seed(3)
    np.testing.assert_array_equal(lstm(x)[0].data, first)
    own = nn.LSTM(3, 8, 2, dropout=0.5, rng=np.random.default_rng(1))
    nn.set_rng_state(state)
    again = copy.deepcopy(own)
    np.testing.assert_array_equal(own(x)[0].data, again(x)[0].data)
    assert nn.get_rng_state() == state
    with pytest.warns(UserWarning, match="LSTM: dropout=0.5 is applied between layers"):
        nn.LSTM(3, 8, dropout=0.5)


@pytest.mark.parametrize("kind", [*KINDS, *[f"{k}Cell" for k in KINDS]])
def test_names_shapes_and_initial_bounds_are_torchs(kind):
    torch = pytest.importorskip("torch")
    options = {} if kind.endswith("Cell") else {"num_layers": 2, "bidirectional": True}
    ours = getattr(nn, kind)(30, 25, **options, rng=np.random.default_rng(0))
    theirs = getattr(torch.nn, kind)(30, 25, **options)
    assert {k: v.shape for k, v in ours.state_dict().items()} == {
        k: tuple(v.shape) for k, v in theirs.state_dict().items()
    }
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for p in ours.parameters():
        assert np.abs(p.data).max() <= 0.2 and (p.size < 200 or np.abs(p.data).max() > 0.19)
        assert p.dtype == np.float32
    assert sum(p.size for p in ours.parameters()) == sum(p.numel() for p in theirs.parameters())


def test_layers_show_the_options_that_differ_from_the_defaults():
    assert repr(nn.LSTM(3, 2, 2, batch_first=True)) == "LSTM(3, 2, num_layers=2, batch_first=True) · 104 parameters"
    text = repr(nn.GRU(3, 2, bias=False, update="new", reset_after=False, bidirectional=True))
    assert text == "GRU(3, 2, bias=False, bidirectional=True, update='new', reset_after=False) · 60 parameters"
    assert repr(nn.RNNCell(3, 2, nonlinearity="relu")) == "RNNCell(3, 2, nonlinearity='relu') · 14 parameters"


# Limits


@pytest.mark.parametrize("options", [{}, {"reset_after": False}])
@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_batch_passes_through_with_zero_gradients(kind, options):
    if options and kind != "GRU":
        return
    layer = getattr(nn, kind)(3, 2, 2, bidirectional=True, **options)
    x = Tensor(np.zeros((5, 0, 3), "float32"), requires_grad=True)
    output, _ = layer(x)
    assert output.shape == (5, 0, 4)
    output.sum().backward()
    assert x.grad.shape == x.shape and all(not p.grad.data.any() for p in layer.parameters())
    assert joined(layer(x)).shape == (0,)


@pytest.mark.parametrize("kind", KINDS)
def test_saturated_gates_overflow_nowhere(kind):
    layer = getattr(nn, kind)(3, 4)
    x = Tensor(np.random.default_rng(12).choice([-1e6, 1e6], (6, 2, 3)).astype("float32"), requires_grad=True)
    with warnings.catch_warnings(), np.errstate(all="raise", under="ignore"):
        warnings.simplefilter("error")
        y = joined(layer(x))
        slopes = ad.gradients((y * y).sum(), [x, *layer.parameters()], create_graph=True)
        second = ad.gradients(sum((s * s).sum() for s in slopes), list(layer.parameters()), allow_unused=True)
        (joined(layer(x)) ** 2).sum().backward()
    assert np.isfinite(y.data).all() and np.isfinite(x.grad.data).all()
    assert all(np.isfinite(d.data).all() for d in [*slopes, *second] if d is not None)


@pytest.mark.parametrize("kind", KINDS)
def test_mixed_dtypes_give_the_wider_one_and_gradients_of_each_ones_own(kind):
    layer = getattr(nn, kind)(3, 4, bidirectional=True)
    x = Tensor(np.ones((5, 2, 3)), requires_grad=True)
    y, _ = layer(x)
    assert y.dtype == np.float64
    y.sum().backward()
    assert x.grad.dtype == np.float64 and all(p.grad.dtype == np.float32 for p in layer.parameters())
    assert layer(np.ones((5, 2, 3)))[0].dtype == np.float64


def test_only_what_requires_a_gradient_gets_one():
    layer = nn.LSTM(3, 4)
    layer.weight_hh_l0.requires_grad = False
    layer(np.ones((5, 2, 3), "float32"))[0].sum().backward()
    assert layer.weight_hh_l0.grad is None and layer.weight_ih_l0.grad is not None
    layer.requires_grad_(False)
    assert not layer(np.ones((5, 2, 3), "float32"))[0].requires_grad


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_recorded_under_no_grad(kind):
    layer = getattr(nn, kind)(3, 4, 2, bidirectional=True).eval()
    with ad.no_grad():
        y = joined(layer(np.ones((5, 2, 3), "float32")))
    assert y.is_leaf and not y.requires_grad


@pytest.mark.parametrize("kind, name", [("RNN", "rnn_tanh"), ("LSTM", "lstm"), ("GRU", "gru")])
def test_each_layer_and_direction_is_one_operation(kind, name):
    layer = getattr(nn, kind)(3, 4, 2, bidirectional=True)
    seen, stack = {}, [joined(layer(np.ones((50, 2, 3), "float32")))]
    while stack:
        t = stack.pop()
        if id(t) not in seen:
            seen[id(t)] = t
            stack.extend(t.inputs)
    assert sum(t.op == name for t in seen.values()) == 4


def test_a_layers_graph_is_freed_without_the_garbage_collector():
    import weakref

    layer = nn.LSTM(3, 4, 2, bidirectional=True, dropout=0.5)
    gc.collect()
    gc.disable()
    try:
        y, (h, c) = layer(np.ones((5, 2, 3), "float32"))
        ((y**2).sum() + h.sum() + c.sum()).backward()
        alive = [weakref.ref(t) for t in (y, h, c)]
        del y, h, c
        assert all(r() is None for r in alive)
    finally:
        gc.enable()


def test_a_graph_can_be_walked_twice_and_is_gone_when_freed():
    layer = nn.GRU(3, 4, dtype="float64")
    y = (layer(np.ones((5, 2, 3)))[0] ** 2).sum()
    y.backward()
    once = [p.grad.data.copy() for p in layer.parameters()]
    y.backward(retain_graph=False)
    for p, d in zip(layer.parameters(), once):
        np.testing.assert_allclose(p.grad.data, 2 * d, rtol=1e-14)
    with pytest.raises(RuntimeError, match="gone"):
        y.backward()


def test_an_input_written_after_use_is_noticed():
    layer, x = nn.LSTM(3, 4), Tensor(np.ones((5, 2, 3), "float32"))
    y = layer(x)[0].sum()
    x[0] = 7.0
    with pytest.raises(RuntimeError, match="written or assigned"):
        y.backward()


# Errors

ERRORS = [
    (lambda: nn.LSTM(3, 0), ValueError, "LSTM: hidden_size is at least 1, not 0"),
    (lambda: nn.GRU(3.0, 2), TypeError, "GRU: input_size is an integer, not 3.0"),
    (lambda: nn.RNN(3, 2, 0), ValueError, "RNN: num_layers is at least 1"),
    (lambda: nn.RNN(3, 2, nonlinearity="sin"), ValueError, "RNN: nonlinearity is 'tanh' or 'relu', not 'sin'"),
    (lambda: nn.RNNCell(3, 2, nonlinearity=None), ValueError, "RNNCell: nonlinearity"),
    (lambda: nn.GRU(3, 2, update="both"), ValueError, "GRU: update is 'old' or 'new', not 'both'"),
    (lambda: nn.GRUCell(3, 2, update=1), ValueError, "GRUCell: update"),
    (lambda: nn.LSTM(3, 2, 2, dropout=1.5), ValueError, r"LSTM: dropout is within \[0, 1\]"),
    (lambda: nn.LSTM(3, 2, 2, dropout="a"), TypeError, "LSTM: dropout is a number"),
    (lambda: nn.LSTM(3, 2, dtype=int), TypeError, "floating-point"),
    (lambda: nn.LSTM(3, 2, rng=7), TypeError, "numpy.random.Generator"),
    (lambda: nn.LSTM(3, 2)(np.ones((0, 4, 3))), ValueError, r"LSTM\(input_size=3, hidden_size=2\): .* 1 step or more"),
    (lambda: nn.GRU(3, 2, batch_first=True)(np.ones((4, 0, 3))), ValueError, "1 step or more"),
    (lambda: nn.LSTM(3, 2)(np.ones((5, 4, 2))), ValueError, r"got input of shape \(5, 4, 2\), expects \(T, 3\) or \(T, N, 3\)"),
    (lambda: nn.LSTM(3, 2, batch_first=True)(np.ones(3)), ValueError, r"expects \(T, 3\) or \(N, T, 3\)"),
    (lambda: nn.LSTM(3, 2)(np.ones((5, 4, 3), int)), TypeError, r"LSTM.*floating-point values"),
    (lambda: nn.GRU(3, 2)(np.ones((5, 4, 3)), np.zeros((1, 3, 2))), ValueError,
     r"GRU.*got h_0 of shape \(1, 3, 2\), expects \(layers · directions, N, hidden_size\) = \(1, 4, 2\)"),
    (lambda: nn.GRU(3, 2)(np.ones((5, 3)), np.zeros((1, 1, 2))), ValueError, r"\(layers · directions, hidden_size\) = \(1, 2\)"),
    (lambda: nn.GRU(3, 2)(np.ones((5, 4, 3)), np.zeros((1, 4, 2), int)), TypeError, "GRU, initial state"),
    (lambda: nn.LSTM(3, 2)(np.ones((5, 4, 3)), np.zeros((1, 4, 2))), TypeError, r"LSTM: the initial states are a tuple \(h, c\)"),
    (lambda: nn.LSTM(3, 2)(np.ones((5, 4, 3)), (np.zeros((1, 4, 2)),)), TypeError, "tuple of 1"),
    (lambda: nn.LSTM(3, 2)(np.ones((5, 4, 3)), (np.zeros((1, 4, 2)), np.zeros((1, 4, 3)))), ValueError, "got c_0"),
    (lambda: nn.LSTMCell(3, 2)(np.ones((5, 4))), ValueError, r"LSTMCell.*expects \(3,\) or \(N, 3\)"),
    (lambda: nn.LSTMCell(3, 2)(np.ones((5, 4, 3))), ValueError, r"got input of shape \(5, 4, 3\)"),
    (lambda: nn.GRUCell(3, 2)(np.ones((5, 3)), np.ones((4, 2))), ValueError, r"GRUCell.*h of shape \(4, 2\).*= \(5, 2\)"),
    (lambda: nn.LSTMCell(3, 2)(np.ones((5, 3)), np.ones((5, 2))), TypeError, r"LSTMCell: the initial states are a tuple"),
    (lambda: nn.RNNCell(3, 2)(np.ones(3, bool)), TypeError, "RNNCell"),
]  # fmt: skip


@pytest.mark.parametrize("call, kind, message", ERRORS)
def test_errors_name_the_layer_what_it_got_and_what_it_expects(call, kind, message):
    with pytest.raises(kind, match=message):
        call()


def test_a_state_dict_of_another_size_names_the_weights():
    with pytest.raises(RuntimeError, match="weight_ih_l0"):
        nn.LSTM(3, 2).load_state_dict(nn.LSTM(4, 2).state_dict())


def test_pytorchs_proj_size_is_the_eighth_argument_of_an_lstm_and_refused_by_a_gru():
    assert nn.LSTM(3, 4, 1, True, False, 0.0, True, 2).proj_size == 2
    with pytest.raises(TypeError, match="positional arguments"):
        nn.GRU(3, 4, 1, True, False, 0.0, False, 2)
    assert nn.GRU(3, 4, 1, True, False, 0.0, True).bidirectional
