"""Opening fused operations: the numbers stay, the graph is of plain operations, and nothing happens unasked."""

import gc
import re
import time
import weakref
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

import autodiff as ad
import nn
import nn.functional as F
from autodiff import Tensor
from autodiff.primitive import REGISTRY, general
from autodiff.seeing.expansion import FOLD, expanded, groups_of
from autodiff.seeing.graph import graph, results_behind

FUSED = sorted(name for name, record in REGISTRY.items() if record.expansion is not None)


CLOSED = {
    "elementwise, a function of the textbooks or of NumPy's": """
        absolute add arccos arccosh arcsin arcsinh arctan arctan2 arctanh cbrt ceil clip cos cosh deg2rad digamma divide
        entr erf erfc erfinv exp exp2 expm1 floor floor_divide fmax fmin fmod gamma gammaln heaviside hypot log log10
        log1p log2 log_expit log_ndtr logaddexp logaddexp2 logit maximum minimum mod multiply ndtr ndtri negative
        polygamma positive power rad2deg reciprocal relu round sigmoid sign sin sinc sinh sqrt square subtract tan tanh
        trunc where xlog1py xlogy absolute_power""",
    "a function of SciPy's": """
        beta betainc betaincc betaln bivariate_normal boxcox boxcox1p ci cosm1 dawsn erfcinv erfcx erfi exp1 expi expn exprel
        fresnel_c fresnel_s gammainc gammaincc gammaincinv gammasgn hyp0f1 hyp1f1 hyp2f1 huber_function i0 i0e i1 i1e inv_boxcox iv ive j0 j1 jv k0 k1 kl_div kv loggamma owens_t
        pseudo_huber rel_entr rgamma si spence stdtr y0 y1 yn yv zeta""",
    "of complex numbers, or of their parts": "angle conj copysign direction imag ldexp modulus real",
    "a Fourier transform, a filter, a convolution": "convolve convolve_full fft irfft lfilter rfft",
    "a function of matrices": "eig eigvals expm logm lu_square roots solve_banded solve_sylvester sqrtm",
    "lines that meet at kinks: its formula says all": """
        hardshrink hardtanh leaky_relu prelu softshrink triangle_wave""",
    "moves elements, or picks them": """
        astype broadcast_to concatenate copy getitem index_max index_min index_set pad partition reshape roll sort stack
        swapaxes transfer transpose tril triu vector""",
    "a sum, a product or an extreme": """
        cross cumprod cumsum einsum fmax_reduce fmin_reduce linear_recurrence matmul max maximum_accumulate mean min
        minimum_accumulate prod sparse_matmul sum tensordot""",
    "a factorisation, or what one gives": """
        cholesky det dyads eigh eigvalsh funm_sym inv pinv projectors qr slogdet solve solve_triangular spectral_sum svd
        svdvals""",
    "made by the rules of others, in recorded derivatives": """
        adaptive_avg_pool_transposed avg_pool_transposed betainc_derivative boxcox_derivative dawsn_derivative fold
        erfcx_derivative exprel_derivative gammainc_derivative ive_derivative log_gamma_half_step logrel_derivative
        rgamma_derivative stdtr_derivative cofactor convolution_by_weight cosine_of_angle
        embedding_pullback inverse_mills inverse_or_zero matmul_transposed max_pool_choice max_pool_transposed
        normalization_pullback one_minus_square over_cosh_squared recurrence recurrence_transposed resample_transposed scatter_add
        softmax_pullback transposed_matmul lstm_pullback gru_pullback gru_new_pullback rnn_tanh_pullback
        rnn_relu_pullback lstm_cell_pullback gru_cell_pullback""",
    "changes the cotangent alone": "embedding_share hook_gate hook_junction",
}
"""The operations that do not open, and why."""


def opened(output, which, names=None):
    return expanded("test", output, results_behind(output, "test"), which, names)


def operations(output):
    return [node.op for node in results_behind(output, "test")]


def recorded(record, sample, dtype):
    """The operation on a sample, and the leaves that require a gradient."""
    given = [
        Tensor(a.astype(dtype), requires_grad=True) if isinstance(a, np.ndarray) and a.dtype.kind == "f" else a
        for a in sample.inputs
    ]
    inputs = sample.wrap(*given) if sample.wrap else given
    inputs = inputs if isinstance(inputs, (tuple, list)) else (inputs,)
    return general(record)(*inputs, **sample.params), [x for x in given if isinstance(x, Tensor)]


def samples(name):
    found = REGISTRY[name].samples(np.random.default_rng(3))
    return [s for s in found if s.function is None and not any(np.iscomplexobj(x) for x in s.inputs)]


def same(a, b, tolerance):
    np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * np.abs(b).max(initial=1.0))


@pytest.mark.parametrize("name", FUSED)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_an_expansion_has_the_value_and_the_gradients_of_its_operation(name, dtype):
    tolerance, seen = {"float64": 1e-11, "float32": 1e-4}[dtype], 0
    for sample in samples(name):
        y, leaves = recorded(REGISTRY[name], sample, dtype)
        z = opened(y, [name])
        if z is y:  # of nothing there is no mean and no row
            assert not y.size or not leaves[0].size
            continue
        seen += 1
        assert name not in operations(z) and z.shape == y.shape and z.dtype == y.dtype
        last = general(z._primitive)(*z._inputs, **(z._params or {}))  # its value as the plain operations have it
        same(last.data, y.data, tolerance)
        g = np.random.default_rng(0).normal(size=y.shape).astype(dtype)
        for a, b in zip(ad.gradients(z, leaves, g), ad.gradients(y, leaves, g)):
            assert a.shape == b.shape and a.dtype == b.dtype
            same(a.data, b.data, tolerance)
    assert seen


def test_every_operation_opens_or_has_a_reason_not_to():
    closed = [name for names in CLOSED.values() for name in names.split()]
    own = {n for n, r in REGISTRY.items() if (r.forward.__module__ or "numpy").split(".")[0] != "tests"}
    assert len(closed) == len(set(closed)) and set(closed).isdisjoint(FUSED)
    assert own <= {*closed, *FUSED} and {*closed, *FUSED} <= own


@pytest.mark.parametrize("name", FUSED)
def test_an_expansion_has_the_second_derivatives_of_its_operation(name):
    for sample in samples(name):
        if sample.smooth < 2:
            continue
        y, leaves = recorded(REGISTRY[name], sample, "float64")
        rng, found = np.random.default_rng(0), []
        g, us = rng.normal(size=y.shape), [rng.normal(size=x.shape) for x in leaves]
        for output in (y, opened(y, [name])):
            ds = ad.gradients(output, leaves, g, create_graph=True)
            s = sum((d * u).sum() for d, u in zip(ds, us))
            second = ad.gradients(s, leaves, allow_unused=True) if s.requires_grad else [None] * len(leaves)
            found.append([np.zeros(x.shape) if d is None else d.numpy() for d, x in zip(second, leaves)])
        for a, b in zip(found[1], found[0]):
            same(a, b, 1e-9)


@pytest.mark.parametrize("name", FUSED)
def test_what_happens_to_constant_data_inside_an_operation_is_seen_and_has_no_gradient(name):
    for sample in samples(name):
        y, _ = recorded(REGISTRY[name], sample, "float64")
        given = y._inputs
        variables = [i for i, x in enumerate(given) if isinstance(x, Tensor) and x.requires_grad]
        for i in variables if len(variables) > 1 else []:
            for constant in (given[i].detach(), given[i].numpy().copy()):
                if given[i].ndim == 0 and not isinstance(constant, Tensor):
                    continue
                inputs = [constant if k == i else Tensor(x.numpy(), requires_grad=True) if k in variables else x
                          for k, x in enumerate(given)]  # fmt: skip
                part = general(REGISTRY[name])(*inputs, **sample.params)
                z, whole = opened(part, [name]), opened(y, [name])
                assert operations(z) == operations(whole)
                assert not isinstance(constant, Tensor) or not constant.requires_grad
                for node in results_behind(z, "test"):
                    assert node.requires_grad == any(isinstance(x, Tensor) and x.requires_grad for x in node._inputs)
                leaves = [inputs[k] for k in variables if k != i]
                g = np.random.default_rng(0).normal(size=y.shape)
                for a, b in zip(ad.gradients(z, leaves, g), ad.gradients(part, leaves, g)):
                    same(a.data, b.data, 1e-11)


def test_the_mean_and_variance_of_constant_data_and_its_name_are_shown():
    x = Tensor([[1.0, 2.0, 6.0]], name="data")
    layer = nn.LayerNorm(3).double()
    y = (layer(x) ** 2).sum()
    table = ad.explain(y, names=layer, expand="layer_norm")
    rows = {row.quantity: row for row in table}
    assert rows["μ"].number.tolist() == [[3.0]] and rows["μ"].expression.startswith("mean data")
    np.testing.assert_allclose(rows["σ²"].number, [[14 / 3]])
    assert rows["data"].expression == "constant" and not any("∂data" in q or "∂μ" in q for q in rows)
    with pytest.raises(ValueError, match="'μ' does not require a gradient"):
        table.delta("μ")
    for order in (1, 2):
        source = graph(y, names=layer, expand=True, order=order).source
        assert (
            "μ" in source and "∂μ" not in source and re.search(r"class=constant.*>data<|data.*class=constant", source)
        )
    assert x.name == "data" and not x.requires_grad and x.is_leaf


def network(seed=0):
    """A small model with something to open, its input and loss."""
    rng = np.random.default_rng(seed)
    model = nn.Sequential(nn.Linear(3, 4, rng=rng), nn.LayerNorm(4), nn.GELU(), nn.Linear(4, 3, rng=rng)).double()
    x = Tensor(rng.normal(size=(2, 3)), requires_grad=True, name="x")
    return model, x, ad.cross_entropy(model(x), [0, 2])


def test_true_opens_everything_down_to_operations_without_an_expansion():
    _, _, loss = network()
    found = operations(opened(loss, True))
    assert not any(REGISTRY[name].expansion for name in found)
    assert {"matmul", "exp", "log", "sqrt"} <= set(found)


def test_a_list_opens_what_an_expansion_is_made_of_too():
    _, _, loss = network()
    once, twice = operations(opened(loss, "cross_entropy")), operations(opened(loss, ["cross_entropy", "log_softmax"]))
    assert "log_softmax" in once and "log_softmax" not in twice and "exp" in twice and "linear" in twice


def test_the_gradients_of_an_opened_graph_go_to_the_same_leaves():
    model, x, loss = network()
    leaves = [x, *model.parameters()]
    plain = ad.gradients(loss, leaves)
    for a, b in zip(ad.gradients(opened(loss, True), leaves), plain):
        same(a.data, b.data, 1e-12)
    opened(loss, True).backward()
    for p, b in zip(leaves, plain):
        same(p.grad.data, b.data, 1e-12)


def test_the_recorded_graph_stays_as_it_is():
    _, _, loss = network()
    before = [(id(n), n._number, tuple(map(id, n._inputs)), n.name, n.op) for n in results_behind(loss, "test")]
    value = loss.item()
    opened(loss, True)
    assert before == [(id(n), n._number, tuple(map(id, n._inputs)), n.name, n.op) for n in results_behind(loss, "test")]
    assert loss.item() == value


def test_what_was_recorded_keeps_its_number_and_what_is_new_lies_between_in_order():
    _, _, loss = network()
    old, new = results_behind(loss, "test"), results_behind(opened(loss, True), "test")
    numbers = [n._number for n in new]
    assert numbers == sorted(set(numbers)) and set(numbers) >= {n._number for n in old}
    for node in new:
        assert all(x._number < node._number for x in node._inputs if isinstance(x, Tensor))


def test_results_that_depend_on_nothing_opened_are_shared():
    x = Tensor([1.0, 2.0], requires_grad=True)
    a = x * 2
    y = (ad.softmax(a) + a).sum()
    new = results_behind(opened(y, "softmax"), "test")
    assert any(node is a for node in new) and not any(node is y for node in new)
    assert opened(a.sum(), True).inputs[0] is a


def test_an_opened_result_keeps_its_value_name_gradient_and_hooks():
    x = Tensor([1.0, 2.0], requires_grad=True)
    y = ad.softmax(x)
    y.name = "p"
    y.retain_grad()
    (y[0] * 1.0).backward()
    seen = []
    y.register_hook(lambda g: seen.append(g.numpy()))
    z = opened(y, "softmax")
    assert z.name == "p" and z.grad is y.grad and z.data.tobytes() == y.data.tobytes()
    ad.gradients(z[0], x)
    assert len(seen) == 1 and seen[0].tolist() == [1.0, 0.0]


def test_what_an_expansion_makes_has_the_users_line():
    x = Tensor([1.0, 2.0], requires_grad=True)
    with ad.record_lines():
        y = ad.softmax(x)
    lines = {node._line for node in results_behind(opened(y, "softmax"), "test")}
    assert len(lines) == 1 and "y = ad.softmax(x)" in lines.pop()


def test_an_expansion_is_not_made_unless_it_is_asked_for(monkeypatch):
    def never(*inputs, **params):
        raise AssertionError

    for name in FUSED:
        monkeypatch.setattr(REGISTRY[name], "expansion", never)
    model, _, loss = network()
    graph(loss, names=model)
    graph(loss, names=model, order=2, expand=False)
    ad.explain(loss, names=model, expand=None)


def test_a_deep_graph_opens_without_recursion_and_is_freed_at_once():
    x = Tensor([0.5, 1.5], requires_grad=True)
    y = x
    for _ in range(3000):
        y = ad.softmax(y)
    z = opened(y, True)
    assert operations(z).count("exp") == 3000
    gone = weakref.ref(z)
    gc.disable()
    try:
        del z
        assert gone() is None
    finally:
        gc.enable()


# What can be asked for


def test_a_name_that_matches_nothing_is_an_error_that_lists_what_can_be_opened():
    _, _, loss = network()
    for call in (graph, ad.explain):
        with pytest.raises(
            ValueError, match=r"'lstm' names nothing .*'cross_entropy', .*'layer_norm', 'linear' \(2 times\)"
        ):
            call(loss, expand=["linear", "lstm"])
    x = Tensor(1.0, requires_grad=True)
    with pytest.raises(
        ValueError, match="'exp' names nothing in this graph that can be opened; its operations are plain"
    ):
        graph(ad.exp(x), expand="exp")
    assert "exp" in graph(ad.exp(x), expand=True).source


@pytest.mark.parametrize("expand", [1, 2.5, [1], {"lstm": True}, [None]])
def test_an_expand_of_another_kind_is_an_error_that_says_what_it_takes(expand):
    _, _, loss = network()
    with pytest.raises(TypeError, match="expand takes the name of an operation or module, a Tensor"):
        graph(loss, expand=expand)


def test_a_name_opens_every_operation_that_has_that_word():
    x = Tensor(np.ones((2, 3)), requires_grad=True)
    w, b = Tensor(np.ones((4, 3)), requires_grad=True), Tensor(np.ones(4))
    y = (F.linear(x, w) + F.linear(x, w, b)).sum()
    assert "linear" not in "".join(operations(opened(y, "linear")))
    with pytest.raises(ValueError, match="'lin' names nothing"):
        opened(y, "lin")


def test_a_module_is_opened_by_its_path_its_class_or_itself():
    model, _, loss = network()
    ways = [opened(loss, w, model) for w in ("3", model[3])] + [opened(loss, "m.3", {"m": model})]
    for z in ways:
        assert operations(z).count("linear") == 1 and operations(z).count("matmul") == 1
    assert operations(opened(loss, "Linear", model)).count("matmul") == 2


def test_a_tensor_is_opened_by_its_name_or_itself():
    x = Tensor([1.0, 2.0], requires_grad=True)
    a = ad.softmax(x)
    y = (a + ad.softmax(x * 2)).sum()
    for which, names in ((a, None), ("a", {"a": a})):
        assert operations(opened(y, which, names)).count("softmax") == 1
    a.name = "p"
    assert operations(opened(y, "p")).count("softmax") == 1


def test_inputs_that_were_written_since_are_an_error():
    for write in ("assigned", "in place", "unseen"):
        model, _, loss = network()
        w = model[0].weight
        alias = w.data
        if write == "assigned":
            w.data = w.data * (1 + 1e-12)  # too little to be seen in the result
        elif write == "in place":
            with ad.no_grad():
                w -= 1e-12
        else:
            alias[0, 0] += 1e-12
        with pytest.raises(RuntimeError, match="linear was written after it was used"):
            graph(loss, expand="linear")
    data = Tensor(np.ones((1, 2)))
    alias = data.data
    y = F.linear(data, Tensor(np.ones((2, 2)), requires_grad=True))
    alias[0, 0] += 1e-12
    with pytest.raises(RuntimeError, match="linear_without_bias was written after it was used"):
        opened(y, True)
    mask = np.array([1.0, 0.0])  # an array that is no Tensor
    y = F.linear(np.ones((1, 2)), Tensor(np.ones((2, 2)), requires_grad=True), mask)
    y._inputs[2]._ndarray[0] = 5.0
    with pytest.raises(RuntimeError, match="written after it was used"):
        opened(y, True)


# At the limits


def test_what_has_no_plain_formula_at_these_values_stays_closed():
    x = Tensor([np.inf, 1.0], requires_grad=True)
    assert operations(opened(ad.softmax(x), "softmax")) == ["softmax"]
    x = Tensor([-np.inf, -np.inf], requires_grad=True)
    assert operations(opened(ad.logsumexp(x), True)) == ["logsumexp"]


def test_minus_infinity_counts_for_nothing_in_an_opened_softmax():
    for f in (ad.softmax, ad.logsumexp, lambda x: ad.log_softmax(x)[1], lambda x: ad.cross_entropy(x, np.array(1))):
        x = Tensor([-np.inf, 0.3, 1.2], requires_grad=True)
        y = f(x)
        z = opened(y, True)
        g = np.arange(1.0, 1.0 + y.size).reshape(y.shape)
        same(ad.gradients(z, x, g)[0].data, ad.gradients(y, x, g)[0].data, 1e-14)


def test_half_precision_is_opened_in_single_precision_as_it_is_computed():
    x = Tensor(np.full(70_000, 1.0, "float16"), requires_grad=True)
    y = ad.logsumexp(x)
    assert y.item() == pytest.approx(1 + np.log(70_000), abs=5e-3)
    z = opened(y, True)
    assert z.dtype == np.float16 and "astype" in operations(z)
    x = Tensor(np.arange(300, dtype="float16"), requires_grad=True)
    for f in (np.var, np.std, ad.linalg.norm, lambda x: ad.linalg.norm(x[1:], 3)):
        y = f(x / 4)
        z = opened(y, True)
        assert z.dtype == np.float16 and operations(z)[-1] == "astype" and operations(z).count("astype") == 2
        same(ad.gradients(z, x)[0].data, ad.gradients(y, x)[0].data, 1e-3)
    assert operations(opened(np.std(x[:1]), True))[-1] == "std"  # has no plain derivative at 0
    x = Tensor(np.array([1.0, 2.0], "float16"), requires_grad=True)
    loss = ad.cross_entropy(x, np.array(1))
    z = opened(loss, True)
    same(ad.gradients(z, x)[0].data, ad.gradients(loss, x)[0].data, 1e-3)


def test_a_row_whose_keys_are_all_hidden_stays_zero_when_attention_is_opened():
    rng = np.random.default_rng(0)
    q, k, v = (Tensor(rng.normal(size=(2, 3)), requires_grad=True) for _ in range(3))
    y = F.scaled_dot_product_attention(q, k, v, np.array([[False, False], [True, False]]))
    z = opened(y, True)
    g = rng.normal(size=y.shape)
    for a, b in zip(ad.gradients(z, [q, k, v], g), ad.gradients(y, [q, k, v], g)):
        assert np.isfinite(b.data).all()
        same(a.data, b.data, 1e-13)


# Pictures


def lstm(steps, seed=0):
    rng = np.random.default_rng(seed)
    layer = nn.LSTM(2, 2, rng=rng, dtype="float64")
    x = Tensor(rng.normal(size=(steps, 1, 2)), requires_grad=True, name="x")
    return layer(x)[0][-1].sum()


def test_an_opened_operation_is_a_frame_with_its_parts_beside_each_other():
    loss = lstm(FOLD)
    labels = [g.label for g in groups_of(results_behind(opened(loss, "lstm"), "test"))]
    assert sorted(labels) == ["lstm", *(f"step {k + 1}" for k in range(FOLD))]
    source = graph(loss, expand="lstm").source
    depth, within = 0, {}
    for line in source.splitlines():
        depth -= line.strip() == "}"
        found = re.search(r'tooltip="?(lstm|step \d+)\b', line)
        if "subgraph" in line:
            depth += 1
        elif found and line.strip().startswith("graph"):
            within[found[1]] = depth
    assert within["lstm"] == 1 and {within[f"step {k + 1}"] for k in range(FOLD)} == {2}


@pytest.mark.parametrize("steps", [FOLD + 1, 60])
def test_of_many_time_steps_the_first_two_and_the_last_are_drawn_and_a_node_for_the_others(steps):
    loss = lstm(steps)
    picture = graph(loss, expand="lstm")
    source = picture.source
    assert f"steps 3 … {steps - 1}" in source and source.count("class=module") == 1
    for name in ("h₁", "f₂", f"i{steps}".translate(str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉"))):
        assert name in source
    assert "h₃" not in source and "not shown" not in source
    assert source.count("\n") < 320
    box = re.search(r"\t(module\S+) ?\[", source)[1]
    edges = re.findall(r"\t(\S+) -> (\S+)", source)
    assert len(edges) == len({e for e in edges if box in e}) + sum(box not in e for e in edges)  # each once
    assert any(a == box for a, b in edges) and any(b == box for a, b in edges)
    picture.pipe("svg")


def test_long_sequences_open_in_time_that_grows_with_their_length():
    loss = lstm(500)
    began = time.perf_counter()
    graph(loss, expand=True)
    assert time.perf_counter() - began < 20


def test_when_there_is_too_much_what_was_opened_is_closed_last():
    rng = np.random.default_rng(0)
    model = nn.Sequential(*(nn.Sequential(nn.Linear(3, 3, rng=rng), nn.ReLU()) for _ in range(8)), nn.LayerNorm(3))
    y = model(Tensor(np.ones((2, 3), "float32"), requires_grad=True)).sum()
    source = graph(y, names=model, expand="layer_norm", max_nodes=55).source
    assert "σ²" in source and "x̂" in source and source.count("class=module") >= 8
    assert "σ²" not in graph(y, names=model, expand="layer_norm", max_nodes=10).source


def test_names_of_recorded_results_hold_in_an_opened_picture():
    x = Tensor([1.0, 2.0], requires_grad=True)
    p = ad.softmax(x)
    q = p * 2
    source = graph(q.sum(), names={"p": p, "q": q}, expand=True).source
    assert '"p' in source or "label=p" in source or "p\\n" in source
    assert f"t{p._number} " in source and f"t{q._number} " in source


def test_a_picture_of_order_2_opens_what_was_computed_and_so_its_passes():
    x = Tensor([0.3, 1.2], requires_grad=True, name="x")
    y = ad.softplus(x).sum()
    closed, open_ = graph(y, order=2).source, graph(y, order=2, expand="softplus").source
    assert "softplus" in closed and "log1p" in open_ and "∂ softplus" in open_
    assert "hexagon" in open_ and "octagon" in open_


def test_time_steps_that_are_one_node_are_one_node_in_the_backward_passes_too():
    w = nn.RNN(1, 1, rng=np.random.default_rng(0), dtype="float64")
    loss = w(np.ones((9, 1, 1)))[0][-1].sum()
    source = graph(loss, order=2, expand="rnn", max_nodes=2000).source
    for title in ("steps 3 … 8", "∂ steps 3 … 8"):
        assert any("class=module" in line and f">{title}<" in line for line in source.splitlines())
    assert "h₂" in source and "h₈" in source and "h₃" not in source


def test_a_hessian_vector_product_of_an_opened_graph_is_that_of_the_closed_one():
    model, x, loss = network()
    u = np.ones(x.shape)
    plain, inside = (ad.explain(loss, wrt=x, hvp=[u], expand=e) for e in (None, True))
    last = [next(row for row in reversed(e.rows) if row.phase == "second").number for e in (plain, inside)]
    same(last[1], last[0], 1e-10)


def test_a_recorded_derivative_is_opened_too():
    x = Tensor([0.3, 1.2], requires_grad=True, name="x")
    (g,) = ad.gradients(ad.softplus(x).sum(), x, create_graph=True)
    s = (g * g).sum() + ad.softplus(x).sum()
    z = opened(s, "softplus")
    assert "softplus" not in operations(z)
    same(ad.gradients(z, x)[0].data, ad.gradients(s, x)[0].data, 1e-13)
    assert "second" in graph(s, order=2, expand=True).source or "backward" in graph(s, order=2, expand=True).source


# Checkpoints, and loops that are one


def frames(source):
    """The frames of a picture, each as the labels of those around it and its own."""
    around, found = [], []
    for line in source.splitlines():
        if "subgraph" in line:
            around.append("")
        elif line.strip() == "}" and around:
            around.pop()
        elif around and (label := re.match(r'\s*graph \[.* tooltip=("[^"]*"|[^\s\]]+)', line)):
            around[-1] = label[1].strip('"')
            found.append(" / ".join(around))
    return found


W = np.random.default_rng(5).normal(size=(2, 2))
BODIES = {
    "one output": lambda x, w: ad.softmax(np.tanh(x @ w)),
    "the output is another's view": lambda x, w: np.tanh(x @ w).T,
    "several outputs, one of them twice": lambda x, w: (lambda h: {"h": h, "s": [np.sin(h).sum(), h]})(x @ w),
    "several dtypes": lambda x, w: [(x @ w).astype("float32"), np.exp(x)],
    "checkpoints in it": lambda x, w: ad.checkpoint(lambda h: ad.checkpoint(np.tanh, h) * h, x @ w),
    "a constant made in it": lambda x, w: (x @ w) * Tensor([1.0, 2.0]),
    "a loop": lambda x, w: ad.scan(lambda c, _: (np.tanh(c @ w), c.sum()), x, length=3)[0],
}


@pytest.mark.parametrize("body", BODIES)
def test_an_opened_checkpoint_has_the_values_and_derivatives_of_the_closed_one(body):
    def total(tree):
        tree = list(tree.values()) if isinstance(tree, dict) else tree
        return sum(map(total, tree)) if isinstance(tree, list) else (tree * tree).sum()

    x, w = Tensor(W + 1, requires_grad=True), Tensor(W, requires_grad=True)
    plain = total(BODIES[body](x, w))
    y = total(ad.checkpoint(BODIES[body], x, w))
    z = opened(y, "checkpoint")
    assert "checkpoint" in operations(y) and "checkpoint" not in operations(z)
    assert set(operations(z)) >= set(operations(plain)) - {"checkpoint"}
    derivatives = []
    for output in (plain, z):
        first = ad.gradients(output, [x, w], create_graph=True)
        derivatives.append([*first, *ad.gradients(sum((g**2).sum() for g in first), [x, w])])
    for a, b in zip(*derivatives):
        same(b.data, a.data, 1e-6 if body == "several dtypes" else 1e-12)


def test_the_random_numbers_in_an_opened_checkpoint_are_those_of_the_first_run_and_go_on_undisturbed():
    rng = np.random.default_rng(0)
    x = Tensor(np.ones(40), requires_grad=True)
    y = ad.checkpoint(lambda x: F.dropout(np.sin(x), 0.5, rng=rng), x, rng=rng)
    state = rng.bit_generator.state
    z = opened(y, True)
    assert rng.bit_generator.state == state and z.data.tobytes() == y.data.tobytes()
    last = z._primitive.forward(*[x.data if isinstance(x, Tensor) else x for x in z._inputs])
    assert last.tobytes() == y.data.tobytes()
    same(ad.gradients(z, x, np.ones(40))[0].data, ad.gradients(y, x, np.ones(40))[0].data, 1e-14)


def test_a_checkpoint_that_does_something_else_when_it_is_opened_is_found_out():
    x, rng, scale = Tensor(np.ones(40), requires_grad=True), np.random.default_rng(0), Tensor(np.ones(40))
    for f, change, match in (
        (lambda x: F.dropout(np.sin(x), 0.5, rng=rng), lambda: None, "second run of <lambda> gave .* pass its random"),
        (lambda x: np.sin(x) * scale, lambda: scale.__setitem__(0, 1.0), "would read a tensor .* written or assigned"),
    ):
        y = ad.checkpoint(f, x)
        change()
        with pytest.raises(RuntimeError, match=match):
            graph(y, expand="checkpoint")


class Block(nn.Module):
    def __init__(self, rng):
        self.norm = nn.LayerNorm(3)
        self.linear = nn.Linear(3, 3, rng=rng)

    def forward(self, x):
        return x + ad.tanh(self.linear(self.norm(x)))


class Model(nn.Module):
    def __init__(self):
        rng = np.random.default_rng(0)
        self.a, self.b, self.head = Block(rng), Block(rng), nn.Linear(3, 1, rng=rng)

    def forward(self, x):
        return self.head(ad.checkpoint(self.b, ad.checkpoint(self.a, x)))


def test_modules_in_an_opened_checkpoint_have_their_frames_and_can_be_asked_for():
    model = Model()
    loss = model(Tensor(np.ones((2, 3), "float32"), requires_grad=True)).sum()
    inside = frames(graph(loss, names=model, expand=True, max_nodes=1000).source)
    for letter in "ab":
        assert f"Model / checkpoint / {letter} · Block / {letter}.norm · LayerNorm / layer_norm / mean" in inside
    assert "Model / checkpoint / a · Block / a.linear · Linear / linear" in inside
    assert "Model / head · Linear / linear" in inside
    source = graph(loss, names=model, expand="checkpoint", max_nodes=6).source
    assert source.count("class=module") == 3 and frames(source).count("Model / checkpoint") == 2
    for one in ("a.norm", model.a.norm):
        found = operations(opened(loss, ["checkpoint", one], model))
        assert found.count("layer_norm") == 1 and found.count("sqrt") == 1
    graph(loss, names=model, expand=True, order=2).pipe("svg")


def test_hooks_in_an_opened_checkpoint_and_on_its_result_change_gradients_as_in_the_closed_one():
    def f(x):
        h = ad.softplus(x)
        h.register_hook(lambda g: g * 3)
        y = ad.softplus(h)
        y.register_hook(lambda g: g + 1)
        return y

    x = Tensor([0.3, -1.0], requires_grad=True)
    y = ad.checkpoint(f, x)
    y.register_hook(lambda g: g * 10)
    closed = ad.gradients(y.sum(), x)[0].numpy()
    for which in ("checkpoint", True):
        same(ad.gradients(opened(y, which).sum(), x)[0].numpy(), closed, 1e-13)


def test_what_the_function_of_an_opened_checkpoint_makes_and_keeps_is_left_alone():
    kept = []

    def f(x):
        kept.append(Tensor([1.0, 2.0], name="c"))
        return x * kept[-1]

    x = Tensor([0.3, -1.0], requires_grad=True)
    z = opened(ad.checkpoint(f, x).sum(), True)
    assert len(kept) == 2 and all(type(c._number) is int and c.name == "c" for c in kept)
    product = next(node for node in results_behind(z, "test") if node.op == "multiply")
    assert product._inputs[1].name == "c" and product._inputs[1] is not kept[1]


@pytest.mark.parametrize("reverse", [False, True])
def test_a_checkpointed_loop_opens_into_its_first_second_and_last_step(reverse):
    w = Tensor(W, requires_grad=True, name="w")
    state, ys = ad.scan(
        lambda c, x: (np.tanh(w @ c + x), (c**2).sum()), np.zeros(2), np.ones((12, 2)), checkpoint=6, reverse=reverse
    )
    loss = state.sum() + ys.sum()
    steps = [("1", "2", "3 … 5", "6"), ("7", "8", "9 … 11", "12")]
    if reverse:
        steps = [("12", "11", "10 … 8", "7"), ("6", "5", "4 … 2", "1")]
    groups = groups_of(results_behind(opened(loss, "scan"), "test"))
    for numbers in steps:
        labels = [f"step{'s' * ('…' in n)} {n}" for n in numbers]
        found = [next(g for g in groups if g.label == label) for label in labels]
        assert {g.parent.label for g in found} == {"scan"} and len({id(g.parent) for g in found}) == 1
        assert [g.closed for g in found] == [False, False, True, False]
        assert [g.start for g in found] == sorted(g.start for g in found)
    source = graph(loss, expand="scan").source
    assert source.count("class=module") == 2 and f"steps {steps[0][2]}" in source
    same(ad.gradients(opened(loss, True), w)[0].data, ad.gradients(loss, w)[0].data, 1e-13)
    with pytest.raises(ValueError, match=r"'checkpoint' names nothing .* there is 'scan' \(2 times\)"):
        graph(loss, expand="checkpoint")


def test_a_part_that_is_all_of_an_expansion_lies_in_its_frame_and_not_around_it():
    q, k, v = (Tensor(np.ones((2, 3)), requires_grad=True) for _ in range(3))
    found = frames(graph(F.scaled_dot_product_attention(q, k, v).sum(), expand=True).source)
    assert "attention_values / weighted sums of V" in found and "attention_weights / softmax / softmax" in found


# Tables and the page


def test_the_table_of_an_opened_graph_has_the_same_gradients():
    model, x, loss = network()
    plain, inside = ad.explain(loss, names=model), ad.explain(loss, names=model, expand=["layer_norm", "cross_entropy"])
    assert {"μ", "σ²", "x̂"} <= {row.quantity for row in inside}
    for p in (x, *model.parameters()):
        same(inside.delta(p), plain.delta(p), 1e-12)


def test_wrt_and_questions_take_recorded_results_of_an_opened_graph():
    x = Tensor([1.0, 2.0], requires_grad=True)
    p = ad.softmax(x)
    q = p * p
    loss = q.sum()
    e = ad.explain(loss, wrt=[x, q], names={"p": p, "q": q}, expand="softmax")
    same(e.delta(p), 2 * p.data, 1e-14)
    same(e.delta("q"), np.ones(2), 1e-14)
    assert e.jacobian(q)[0].tolist() == np.diag(p.data).tolist()


def test_the_page_of_an_opened_graph_marks_what_is_inside(tmp_path):
    loss = lstm(2)
    explanation = ad.explain(loss, expand="lstm")
    page = explanation.to_html(tmp_path / "page.html")
    node = next(row.tensor for row in explanation if row.quantity == "f₂")
    assert re.fullmatch(r"\d+_\d+", f"{node._number}")
    assert f'data-node="t{node._number}"' in page and page.count(f'"t{node._number}"') >= 2 and ">step 2<" in page


# Where values were detached


def test_truncated_backpropagation_through_time_shows_where_it_is_cut():
    layer = nn.LSTM(2, 2, rng=np.random.default_rng(0))
    x = np.random.default_rng(0).normal(size=(4, 1, 2)).astype("float32")
    output, states = layer(x[:2])
    loss = output.sum()
    output, _ = layer(x[2:], tuple(s.detach() for s in states))
    loss = loss + output.sum()
    for expand in (None, "lstm"):
        source = graph(loss, names=layer, expand=expand).source
        cut = re.findall(r"(\S+) -> (\S+) \[.*detached", source)
        assert len({b for _, b in cut}) == len(cut) == 2
        made = {f"t{n._number}": n.op for n in results_behind(loss, "test")}
        assert sorted(made[a] for a, _ in cut) == ["getitem", "lstm"]  # of h all outputs, of c what the layer gave
    explanation = ad.explain(loss, expand="lstm")
    rows = [row for row in explanation if row.expression.endswith(", detached")]
    assert len(rows) == 2 and all(row.tensor.is_leaf and row.sources for row in rows)


def test_a_leaf_made_of_a_results_values_is_joined_to_it_and_no_other_is():
    x = Tensor([1.0, 2.0], requires_grad=True)
    h = x * 3
    state = h.detach()
    again = h.detach()
    again.requires_grad = True
    constant = Tensor(h.numpy().copy())
    y = (h + state * x + again[1:] * x[1:] + constant * x).sum()
    cut = re.findall(r"(\S+) -> (\S+) \[.*detached", graph(y).source)
    assert sorted(cut) == sorted((f"t{h._number}", f"t{leaf._number}") for leaf in (state, again))
    assert "detached" not in graph((x * constant).sum()).source


def without_recording(f, h):
    with ad.no_grad():
        return f(h)


WAYS = {
    "detached": lambda h: h.detach(),
    "a part of what is detached": lambda h: h.detach()[1:].reshape(3, 1)[::-1, 0],
    "a copy of it": lambda h: h.detach().copy(),
    "NumPy's copy of it": lambda h: np.copy(h.detach()),
    "a leaf of it": lambda h: Tensor(h.detach(), requires_grad=True),
    "a copy of a copy": lambda h: Tensor(h.detach().copy()).copy(),
    "a copy that is not recorded": lambda h: without_recording(np.copy, h),
    "its array": lambda h: h.numpy(),
    "a part of its array": lambda h: h.data[::-2],
}
UNKNOWN = {
    "a copy of its array": lambda h: Tensor(h.numpy()),
    "a copy that was written": lambda h: (c := h.detach().copy(), c.__setitem__(0, 5.0))[0],
    "a leaf that was assigned": lambda h: (c := Tensor(h.detach()), setattr(c, "data", np.ones(4)))[0],
    "a leaf that was written unseen": lambda h: (c := Tensor(h.detach()), c.data.__setitem__(0, 5.0))[0],
    "a leaf that was written in place": lambda h: without_recording(lambda h: Tensor(h.detach()).__isub__(1.0), h),
    "what was computed of it": lambda h: h.detach() * 2,
    "its values in another format": lambda h: Tensor(h.detach(), dtype="float32"),
}


@pytest.mark.parametrize("way", [*WAYS, *UNKNOWN])
def test_a_result_is_joined_to_its_values_in_a_leaf_wherever_that_can_be_known(way):
    x = Tensor([1.0, 2.0, 3.0, 4.0], requires_grad=True)
    h = x * 3
    leaf = (WAYS | UNKNOWN)[way](h)
    product = leaf * x[: np.shape(leaf)[0]]
    y = h.sum() + product.sum()
    place = f"t{leaf._number}" if isinstance(leaf, Tensor) else f"t{product._number}i0"
    for compact in (True, False):
        cut = re.findall(r"(\S+) -> (\S+) \[.*detached", graph(y, compact=compact).source)
        assert cut == ([(f"t{h._number}" if not compact else cut[0][0], place)] if way in WAYS else [])
    rows = ad.explain(y, names={"h": h}).rows
    found = [row for row in rows if row.expression == "h, detached"]
    assert len(found) == (way in WAYS)
    if found:
        assert rows[found[0].sources[0] - 1].quantity == "h"
        assert np.array_equal(found[0].number, leaf.data if isinstance(leaf, Tensor) else leaf)


def test_a_leaf_that_was_a_copy_of_a_result_trains_as_any_other():
    h = Tensor([1.0, 2.0], requires_grad=True) * 3
    w = Tensor(h.detach(), requires_grad=True)
    for _ in range(2):
        w.data = w.data - 0.5
        assert type((w * w).requires_grad) is bool
        (w * w).sum().backward()
    assert w.data.tolist() == [2.0, 5.0] and w.grad.tolist() == [5.0 + 4.0, 11.0 + 10.0]
    assert "origin" not in (w._params or {})


@pytest.mark.parametrize("f", [
    lambda w: ad.softplus(w).sum(),
    lambda w: nn.functional.softplus(w, beta=2.0).sum(),
    lambda w: nn.functional.binary_cross_entropy_with_logits(w, np.array([0.0, 1.0])),
])  # fmt: skip
def test_opened_operations_are_as_smooth_at_0_as_the_closed_ones(f):
    w = Tensor(np.zeros(2), requires_grad=True)
    plain, inside = (ad.explain(f(w), wrt=w, hvp=[np.ones(2)], expand=e) for e in (None, True))
    last = [next(row for row in reversed(e.rows) if row.phase == "second").number for e in (plain, inside)]
    assert np.all(np.abs(last[0]) > 0.1)
    same(last[1], last[0], 1e-12)


@pytest.mark.parametrize("layer", [nn.Conv2d(1, 2, 3), nn.Conv2d(2, 2, 3, groups=2), nn.GroupNorm(1, 2)], ids=repr)
def test_layers_open_on_plain_data(layer):
    channels = 1 if isinstance(layer, nn.Conv2d) and layer.in_channels == 1 else 2
    x = Tensor(np.random.default_rng(0).normal(size=(1, channels, 5, 5)).astype("float32"))
    y = (layer(x) ** 2).sum()
    assert len(ad.explain(y, expand=True)) > len(ad.explain(y))
    params = list(layer.parameters())
    for a, b in zip(ad.gradients(opened(y, True), params), ad.gradients(y, params)):
        same(a.data, b.data, 1e-4)


def test_steps_in_the_folded_middle_have_their_inputs_inside():
    def constants(steps):
        output, _ = nn.LSTM(4, 8, rng=np.random.default_rng(0))(Tensor(np.ones((steps, 2, 4), "float32")))
        return graph(output.sum(), expand="lstm").source.count("class=constant")

    assert constants(50) == constants(10)


@pytest.mark.parametrize("direction, axis", [("TB", 1), ("LR", 0)])
@pytest.mark.parametrize("steps", [2, 9])
def test_each_step_of_an_lstm_begins_behind_the_whole_of_the_one_before(steps, direction, axis):
    output, _ = nn.LSTM(3, 4, rng=np.random.default_rng(0))(Tensor(np.ones((steps, 6, 3), "float32")))
    picture = graph((output**2).mean(), expand="lstm", direction=direction)
    svg = picture.pipe("svg", encoding="utf-8")
    space, frames = "{http://www.w3.org/2000/svg}", {}
    for group in ElementTree.fromstring(svg).iter(f"{space}g"):
        label = next(group.iter(f"{space}text"), None) if group.get("class") == "cluster" else None
        if label is not None and label.text.startswith("step "):
            corners = re.findall(r"-?[\d.]+", next(group.iter(f"{space}path")).get("d"))
            frames[label.text] = np.array(corners, float).reshape(-1, 2)[:, axis]
    assert list(frames) == ["step 1", "step 2"] + ["step 9"] * (steps == 9)
    ordered = [frames[name] for name in sorted(frames)]
    assert all(a.max() < b.min() for a, b in zip(ordered, ordered[1:]))
    assert int(repr(picture).split()[3]) == len(re.findall('class="edge"', svg))  # what is not seen is not counted
