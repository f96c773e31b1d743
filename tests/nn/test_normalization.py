"""Batch, layer, group and RMS norm against PyTorch, finite differences and the documents' numbers."""

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import autodiff as ad
import nn
import nn.functional as F
from tests.against_torch import same_layer
from tests.documents import ENTRIES


def randomised(reference, rng):
    """torch's layer in double precision, with parameters and running statistics away from 0 and 1."""
    import torch

    reference = reference.double()
    for name, tensor in reference.state_dict().items():
        if tensor.is_floating_point():
            low = 0.5 if name in ("weight", "running_var") else -1.0
            tensor.copy_(torch.tensor(rng.uniform(low, 1.5, tuple(tensor.shape))))
    return reference


BATCH = [
    ("BatchNorm1d", (5,), {}, (7, 5)),
    ("BatchNorm1d", (3,), {"eps": 0.1}, (2, 3, 4)),
    ("BatchNorm1d", (1,), {"momentum": None}, (4, 1)),
    ("BatchNorm1d", (3,), {"affine": False}, (5, 3)),
    ("BatchNorm1d", (3,), {"bias": False}, (5, 3)),
    ("BatchNorm1d", (3,), {"track_running_stats": False}, (5, 3)),
    ("BatchNorm2d", (3,), {}, (2, 3, 4, 5)),
    ("BatchNorm2d", (2,), {"affine": False, "momentum": 0.3}, (1, 2, 3, 1)),
    ("BatchNorm3d", (2,), {}, (2, 2, 3, 1, 2)),
    ("InstanceNorm1d", (3,), {}, (2, 3, 4)),
    ("InstanceNorm1d", (3,), {"affine": True, "eps": 0.1}, (3, 4)),
    ("InstanceNorm1d", (2,), {"track_running_stats": True}, (4, 2, 5)),
    ("InstanceNorm2d", (2,), {"affine": True, "track_running_stats": True, "momentum": 0.3}, (3, 2, 3, 2)),
    ("InstanceNorm2d", (2,), {"track_running_stats": True, "momentum": None}, (2, 3, 2)),
    ("InstanceNorm3d", (2,), {"affine": True, "track_running_stats": True}, (2, 2, 3, 1, 2)),
]
OTHERS = [
    ("LayerNorm", (4,), {}, (3, 4)),
    ("LayerNorm", ((2, 3),), {"eps": 0.1}, (4, 2, 3)),
    ("LayerNorm", (4,), {"elementwise_affine": False}, (2, 3, 4)),
    ("LayerNorm", (4,), {"bias": False}, (4,)),
    ("LayerNorm", ([3, 1],), {}, (2, 3, 1)),
    ("RMSNorm", (4,), {}, (3, 4)),
    ("RMSNorm", ((2, 3),), {"eps": 0.1}, (2, 2, 3)),
    ("RMSNorm", (4,), {"elementwise_affine": False}, (2, 3, 4)),
    ("GroupNorm", (2, 4), {}, (3, 4, 5)),
    ("GroupNorm", (1, 4), {"eps": 0.1}, (3, 4)),
    ("GroupNorm", (4, 4), {}, (2, 4, 3, 2)),
    ("GroupNorm", (2, 6), {"affine": False}, (2, 6, 2, 2)),
    ("GroupNorm", (3, 6), {"bias": False}, (2, 6, 2)),
]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name, args, options, shape", BATCH + OTHERS)
def test_a_norm_is_pytorch_s_in_value_gradients_and_second_derivatives(name, args, options, shape, training):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(1)
    kind, theirs = getattr(nn, name), getattr(torch.nn, name)
    if "bias" in options and name != "LayerNorm" and "bias" not in theirs.__init__.__kwdefaults__ | {}:
        pytest.skip("this PyTorch has no bias= here")
    reference = randomised(theirs(*args, **options), rng).train(training)
    layer = kind(*args, **options, dtype="float64").train(training)
    assert list(layer.state_dict()) == list(reference.state_dict())
    same_layer(layer, reference, rng.normal(1.0, 2.0, shape))
    for key, value in reference.state_dict().items():  # the running statistics were written
        np.testing.assert_allclose(layer.state_dict()[key].data, value.detach().numpy(), rtol=1e-12)
        assert layer.state_dict()[key].dtype == value.numpy().dtype


def test_instance_norm_says_what_it_takes_and_an_empty_batch_passes_through():
    layer = nn.InstanceNorm2d(2, affine=True, track_running_stats=True)
    assert layer(np.ones((0, 2, 3, 3), "float32")).shape == (0, 2, 3, 3)
    np.testing.assert_array_equal(layer.running_mean.data, [0, 0])
    with pytest.raises(
        ValueError, match=r"InstanceNorm2d\(2\): got input of shape \(3, 4, 4\), expects \(N, 2, H, W\)"
    ):
        layer(np.ones((3, 4, 4), "float32"))
    with pytest.raises(ValueError, match="one value per channel and sample has no variance"):
        layer(np.ones((5, 2, 1, 1), "float32"))
    with pytest.raises(ValueError, match="running_mean and running_var are given both or not at all"):
        F.instance_norm(np.ones((5, 2, 2)), np.zeros(2))


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from(["batch", "layer", "group", "rms"]),
    st.lists(st.integers(1, 4), min_size=2, max_size=4),
    st.integers(0, 10**6),
)
def test_functions_of_any_shape_are_pytorch_s(kind, shape, seed):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(seed)
    x = rng.normal(size=shape)
    normalized = tuple(shape[1:])
    wide = normalized if kind in ("layer", "rms") else shape[1]
    w, b = rng.normal(size=wide), rng.normal(size=wide)
    if kind == "group" and x.size == 1:
        return  # PyTorch refuses one value in a group
    calls = {
        "batch": lambda f, x, w, b: f.batch_norm(x, None, None, w, b, True, 0.1, 0.01),
        "layer": lambda f, x, w, b: f.layer_norm(x, normalized, w, b, 0.01),
        "group": lambda f, x, w, b: f.group_norm(x, 1, w, b, 0.01),
        "rms": lambda f, x, w, b: f.rms_norm(x, normalized, w, 0.01) + 0 * b.sum(),
    }
    if kind == "batch" and x.size == x.shape[1]:
        with pytest.raises(ValueError, match="batch_norm: one value per channel"):
            calls[kind](F, x, w, b)
        return
    ours = [ad.Tensor(v, requires_grad=True) for v in (x, w, b)]
    theirs = [torch.tensor(v, requires_grad=True) for v in (x, w, b)]
    y, z = calls[kind](F, *ours), calls[kind](torch.nn.functional, *theirs)
    np.testing.assert_allclose(y.data, z.detach().numpy(), rtol=1e-9, atol=1e-9)
    weights = rng.normal(size=shape)
    (y * weights).sum().backward()
    (z * torch.tensor(weights)).sum().backward()
    for t, u in zip(ours, theirs):
        np.testing.assert_allclose(t.grad.data, u.grad.numpy(), rtol=1e-8, atol=1e-8)


# Running statistics


def test_running_statistics_follow_pytorch_s_over_many_batches_and_serve_in_evaluation():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(2)
    for momentum in (0.1, None, 1.0, 0.0):
        layer = nn.BatchNorm1d(3, momentum=momentum, dtype="float64")
        reference = torch.nn.BatchNorm1d(3, momentum=momentum, dtype=torch.float64)
        for n in (4, 7, 2):
            x = rng.normal(3.0, 2.0, (n, 3))
            layer(x), reference(torch.tensor(x))
        for key, value in reference.state_dict().items():
            np.testing.assert_allclose(layer.state_dict()[key].data, value.detach().numpy(), rtol=1e-12, err_msg=key)
        x = rng.normal(size=(1, 3))
        np.testing.assert_allclose(layer.eval()(x).data, reference.eval()(torch.tensor(x)).detach().numpy(), rtol=1e-12)
        assert layer.num_batches_tracked.dtype == np.int64 and layer.num_batches_tracked.item() == 3
        layer.reset_running_stats()
        assert layer.running_mean.tolist() == [0, 0, 0] and layer.running_var.tolist() == [1, 1, 1]
        assert layer.num_batches_tracked.item() == 0


def test_the_function_writes_running_statistics_given_as_arrays_or_tensors():
    x = np.array([[1.0, 2.0], [3.0, 6.0]])
    mean, variance = np.zeros(2), np.ones(2)
    F.batch_norm(x, mean, variance, training=True, momentum=0.5)
    assert mean.tolist() == [1, 2] and variance.tolist() == [1.5, 4.5]
    mean, variance = ad.zeros(2), ad.ones(2)
    F.batch_norm(x, mean, variance, training=True, momentum=0.5, unbiased_running_var=False)
    assert mean.tolist() == [1, 2] and variance.tolist() == [1, 2.5]
    np.testing.assert_allclose(F.batch_norm(x, mean, variance).data, (x - [1, 2]) / np.sqrt([1.00001, 2.50001]))


def test_state_dict_shares_the_running_statistics():
    layer = nn.BatchNorm1d(2)
    state = layer.state_dict()
    layer(np.array([[1.0, 10.0], [3.0, 30.0]], "float32"))
    np.testing.assert_allclose(state["running_mean"].data, [0.2, 2.0], rtol=1e-6)


def test_a_graph_recorded_in_evaluation_survives_a_training_step_before_its_backward_pass():
    layer = nn.BatchNorm1d(2, dtype="float64").eval()
    x = ad.Tensor(np.ones((3, 2)), requires_grad=True)
    y = layer(x)
    layer.train()(np.arange(6.0).reshape(3, 2))
    (dw,) = ad.gradients(y, layer.weight, np.ones((3, 2)))
    np.testing.assert_allclose(dw.data, 3 / np.sqrt(1 + 1e-5))


def test_a_graph_recorded_in_training_keeps_its_own_statistics():
    layer = nn.BatchNorm1d(2, dtype="float64")
    rng = np.random.default_rng(0)
    a, b = (ad.Tensor(rng.normal(size=(4, 2)), requires_grad=True) for _ in range(2))
    w = rng.normal(size=(4, 2))
    ya, yb = layer(a), layer(b)
    both = [ad.gradients(y, x, w)[0].data for y, x in ((ya, a), (yb, b))]
    for x, g in zip((a, b), both):
        (alone,) = ad.gradients(layer(x), x, w)
        np.testing.assert_array_equal(g, alone.data)


# The documents' numbers


def test_batch_norm_gives_the_numbers_of_the_documents_example():
    entry = ENTRIES["batch-norm-example-4"]
    i, expected = entry["inputs"], entry["expected"]
    z = np.array(i["z"])[:, None]
    layer = nn.BatchNorm1d(1, momentum=i["alpha"], unbiased_running_var=False, dtype="float64")
    found = []
    for _ in range(i["updates"]):
        y = layer(z)
        found.append([layer.running_mean.item(), layer.running_var.item()])
    np.testing.assert_allclose(found, expected["running_mean_variance_biased (notes)"], rtol=1e-12)
    np.testing.assert_allclose(y.data[:, 0], expected["zhat_eps_1e-5"], rtol=1e-12)
    np.testing.assert_allclose(nn.BatchNorm1d(1, eps=0.0)(z).data[:, 0], expected["zhat_eps_0"], rtol=1e-12)
    layer.weight.data = np.array([expected["gamma_that_restores_eps_1e-5"]])
    layer.bias.data = np.array([expected["beta_that_restores"]])
    np.testing.assert_allclose(layer(z).data, z, rtol=1e-12)
    layer = nn.BatchNorm1d(1, momentum=i["alpha"], dtype="float64")
    found = []
    for _ in range(i["updates"]):
        layer(z)
        found.append(layer.running_var.item())
    np.testing.assert_allclose(found, expected["running_variance_unbiased (PyTorch)"], rtol=1e-12)


@pytest.mark.parametrize(
    "entry, make",
    [("batch-norm-forward-backward", nn.BatchNorm1d), ("layer-norm-forward-backward", nn.LayerNorm)],
)
def test_forward_and_backward_pass_give_the_documents_numbers(entry, make):
    i, expected = (ENTRIES[entry][k] for k in ("inputs", "expected"))
    layer = make(3, eps=i["eps"], dtype="float64")
    hat = layer(np.array(i["z"]))
    layer.load_state_dict({"weight": np.array(i["gamma"]), "bias": np.array(i["beta"])}, strict=False)
    z = ad.Tensor(i["z"], requires_grad=True)
    loss = lambda z: 0.5 * (np.array(i["C"]) * layer(z) ** 2).sum()
    dz, dgamma, dbeta = ad.gradients(loss(z), [z, layer.weight, layer.bias])
    hvp = ad.hvp(loss, z.data, np.array(i["u_on_z"]))
    found = {"zhat": hat, "out": layer(z), "loss": loss(z), "dz": dz, "dgamma": dgamma, "dbeta": dbeta}
    found["hvp_of_L_in_z_along_u"] = hvp
    for key, value in found.items():
        np.testing.assert_allclose(
            (value.detach().numpy() if isinstance(value, ad.Tensor) else value), expected[key], rtol=1e-10, atol=1e-12
        )
    assert set(expected) - set(found) == {"mean", "variance_biased"}
    if make is nn.BatchNorm1d:
        layer = make(3, momentum=1.0, unbiased_running_var=False, dtype="float64")
        layer(z)
        np.testing.assert_allclose(layer.running_mean.data, expected["mean"])
        np.testing.assert_allclose(layer.running_var.data, expected["variance_biased"])


# Precision and memory


def layers():
    return [
        (nn.BatchNorm1d(6), (64, 6)),
        (nn.BatchNorm2d(6), (8, 6, 9, 11)),
        (nn.LayerNorm(33), (16, 33)),
        (nn.GroupNorm(2, 6), (8, 6, 9)),
        (nn.RMSNorm(33), (16, 33)),
    ]


@pytest.mark.parametrize("layer, shape", layers())
def test_float32_stays_float32_and_is_accurate_far_from_zero(layer, shape):
    rng = np.random.default_rng(0)
    offset = 0.0 if isinstance(layer, nn.RMSNorm) else 300.0
    x = rng.normal(offset, 1.0, shape).astype("float32")
    g = rng.normal(size=shape)
    exact = copy.deepcopy(layer).astype("float64")
    wide = ad.Tensor(x.astype("float64"), requires_grad=True)
    narrow = ad.Tensor(x, requires_grad=True)
    y, z = layer(narrow), exact(wide)
    assert y.dtype == np.float32
    np.testing.assert_allclose(y.data, z.data, atol=1e-4)
    y.backward(g.astype("float32"))
    z.backward(g)
    for t, u in [(narrow, wide), *zip(layer.parameters(), exact.parameters())]:
        assert t.grad.dtype == np.float32
        np.testing.assert_allclose(t.grad.data, u.grad.data, atol=2e-4 * (1 + np.abs(u.grad.data).max()))


def test_sums_over_a_million_values_keep_single_precision():
    rng = np.random.default_rng(0)
    for shape in [(200_000, 3), (20, 3, 100, 100)]:
        x = rng.normal(5.0, 1.0, shape).astype("float32")
        layer = (nn.BatchNorm1d if len(shape) == 2 else nn.BatchNorm2d)(3, momentum=1.0)
        layer(x)
        axes = (0, 2, 3)[: len(shape) - 1]
        np.testing.assert_allclose(layer.running_mean.data, x.mean(axes, "float64"), rtol=2e-6)
        np.testing.assert_allclose(layer.running_var.data, x.var(axes, "float64", ddof=1), rtol=5e-6)
        x = ad.Tensor(x, requires_grad=True)
        layer(x).backward(np.ones(shape, "float32"))
        np.testing.assert_allclose(layer.bias.grad.data, x.size / 3, rtol=2e-6)


@pytest.mark.parametrize("layer, shape", layers())
def test_dtypes_of_input_and_parameters_mix(layer, shape):
    rng = np.random.default_rng(0)
    x = ad.Tensor(rng.normal(size=shape), requires_grad=True)
    y = layer(x)
    y.sum().backward()
    assert y.dtype == x.grad.dtype == np.float64 and all(p.grad.dtype == np.float32 for p in layer.parameters())
    layer = copy.deepcopy(layer).astype("float64")
    x = ad.Tensor(x.data.astype("float32"), requires_grad=True)
    z = layer(x)
    z.sum().backward()
    assert z.dtype == np.float64 and x.grad.dtype == np.float32
    np.testing.assert_allclose(z.data, y.data, atol=1e-5)
    half = layer(400 * x.data.astype("float16"))
    assert half.dtype == np.float16 and np.isfinite(half.data).all()
    np.testing.assert_allclose(half.data, y.data, atol=2e-2)


@pytest.mark.parametrize("layer, shape", layers())
def test_inputs_that_are_not_contiguous_give_the_same(layer, shape):
    x = np.random.default_rng(0).normal(size=shape)
    skewed = np.asfortranarray(x)
    results = []
    for a in (x, skewed):
        t = ad.Tensor(a, requires_grad=True)
        t.data = a
        y = layer(t)
        results.append([y.data, ad.gradients(y, t, np.cos(x))[0].data])
    for one, other in zip(*results):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("layer, shape", layers())
def test_nothing_is_written_into_inputs_or_cotangents(layer, shape):
    rng = np.random.default_rng(0)
    x, g = rng.normal(size=shape), rng.normal(size=shape)
    t = ad.Tensor(x, requires_grad=True)
    before = [a.copy() for a in (t.data, g)]
    y = layer(t)
    value = y.data.copy()
    ad.gradients(y, [t, *layer.parameters()], g)
    for a, b in zip((t.data, g, y.data), (*before, value)):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("layer, shape", layers())
def test_an_empty_batch_passes_with_zero_gradients_and_leaves_running_statistics(layer, shape):
    x = ad.Tensor(np.zeros((0,) + shape[1:], "float32"), requires_grad=True)
    for mode in (True, False):
        layer = copy.deepcopy(layer).train(mode)
        before = {k: v.data.copy() for k, v in layer.state_dict().items() if k.startswith("running")}
        with np.errstate(all="raise"):
            y = layer(x)
            y.sum().backward()
        assert y.shape == x.shape and all(not p.grad.data.any() for p in layer.parameters())
        for k, v in before.items():
            np.testing.assert_array_equal(layer.state_dict()[k].data, v)


def test_without_recording_nothing_is_kept_but_running_statistics_are():
    layer = nn.BatchNorm1d(2)
    with ad.no_grad():
        y = layer(np.array([[1.0, 2.0], [3.0, 4.0]], "float32"))
        assert not y.requires_grad and layer.running_mean.tolist() != [0, 0]
        assert not layer.eval()(np.ones((1, 2), "float32")).requires_grad


def test_layers_copy_pickle_and_convert_with_their_buffers():
    layer = nn.BatchNorm2d(3)
    layer(np.random.default_rng(0).normal(size=(2, 3, 2, 2)).astype("float32"))
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        for (k, v), (name, w) in zip(layer.state_dict().items(), other.state_dict().items()):
            assert k == name
            np.testing.assert_array_equal(v.data, w.data)
    layer.astype("float64")
    assert layer.running_var.dtype == np.float64 and layer.num_batches_tracked.dtype == np.int64


def test_representations_are_pytorch_s():
    torch = pytest.importorskip("torch")
    for name, args, options in [
        ("BatchNorm1d", (3,), {"momentum": None}),
        ("LayerNorm", ((2, 3),), {}),
        ("GroupNorm", (2, 4), {"affine": False}),
        ("RMSNorm", (3,), {}),
    ]:
        if "bias=" in repr(getattr(torch.nn, name)(*args, **options)):
            continue  # newer versions show it
        ours = repr(getattr(nn, name)(*args, **options)).split(" · ")[0]
        assert ours == repr(getattr(torch.nn, name)(*args, **options))
    assert "unbiased_running_var=False" in repr(nn.BatchNorm1d(3, unbiased_running_var=False))


# Bad input


def test_bad_input_is_refused_with_the_layer_s_name_and_what_it_expects():
    ones = lambda *shape: np.ones(shape, "float32")
    for call, kind, words in [
        (lambda: nn.BatchNorm1d(3)(ones(1, 3)), ValueError, r"BatchNorm1d\(3\): one value per channel.*\(1, 3\).*eval"),
        (lambda: nn.BatchNorm2d(3)(ones(1, 3, 1, 1)), ValueError, "BatchNorm2d.*one value per channel"),
        (lambda: nn.BatchNorm1d(3, track_running_stats=False).eval()(ones(1, 3)), ValueError, "one value"),
        (lambda: nn.BatchNorm1d(3)(ones(5, 4)), ValueError, r"BatchNorm1d\(3\).*\(5, 4\).*\(N, 3\) or \(N, 3, L\)"),
        (lambda: nn.BatchNorm1d(3)(ones(3)), ValueError, r"\(3,\)"),
        (lambda: nn.BatchNorm1d(3)(ones(5, 3, 2, 2)), ValueError, "BatchNorm1d"),
        (lambda: nn.BatchNorm2d(3)(ones(5, 3)), ValueError, r"\(N, 3, H, W\)"),
        (lambda: nn.BatchNorm1d(3)(np.ones((5, 3), int)), TypeError, "BatchNorm1d.*int64.*astype"),
        (lambda: nn.BatchNorm1d(2.5), TypeError, "num_features"),
        (lambda: nn.BatchNorm1d(-1), ValueError, "num_features"),
        (lambda: nn.BatchNorm1d(3, eps=-1.0), ValueError, "eps"),
        (lambda: nn.BatchNorm1d(3, momentum=2.0), ValueError, "momentum"),
        (lambda: nn.BatchNorm1d(3, dtype=int), TypeError, "floating-point"),
        (lambda: F.batch_norm(ones(3), None, None), ValueError, r"batch_norm.*\(3,\)"),
        (lambda: F.batch_norm(ones(4, 3), None, None), ValueError, "running_mean and running_var are needed"),
        (lambda: F.batch_norm(ones(4, 3), ones(3), None), ValueError, "both"),
        (lambda: F.batch_norm(ones(4, 3), ones(2), ones(2)), ValueError, r"running_mean has shape \(2,\).*\(3,\)"),
        (lambda: F.batch_norm(ones(4, 3), None, None, ones(4), training=True), ValueError, "weight"),
        (lambda: nn.LayerNorm(3)(ones(5, 4)), ValueError, r"LayerNorm\(\(3,\)\).*\(5, 4\).*\(\.\.\., 3\)"),
        (lambda: nn.LayerNorm((2, 3))(ones(3)), ValueError, r"\(\.\.\., 2, 3\)"),
        (lambda: nn.LayerNorm(()), ValueError, "normalized_shape"),
        (lambda: nn.LayerNorm("3"), TypeError, "normalized_shape"),
        (lambda: nn.LayerNorm(3)(np.ones((5, 3), bool)), TypeError, "LayerNorm.*bool"),
        (lambda: F.layer_norm(ones(5, 3), 3, ones(2)), ValueError, "layer_norm: weight"),
        (lambda: nn.RMSNorm(3)(ones(5, 4)), ValueError, "RMSNorm"),
        (lambda: nn.GroupNorm(2, 3), ValueError, "3 channels.*2"),
        (lambda: nn.GroupNorm(0, 3), ValueError, "num_groups"),
        (lambda: nn.GroupNorm(2, 4)(ones(5, 6)), ValueError, r"GroupNorm\(2, 4\).*\(5, 6\).*\(N, 4, ...\)"),
        (lambda: F.group_norm(ones(5, 3), 2), ValueError, "multiple of 2"),
    ]:
        with pytest.raises(kind, match=words):
            call()


def test_a_refused_batch_leaves_the_layer_as_it_was():
    layer = nn.BatchNorm1d(3)
    before = copy.deepcopy(layer.state_dict())
    for x in (np.ones((1, 3)), np.ones((2, 4))):
        with pytest.raises(ValueError):
            layer(x)
    for key, value in layer.state_dict().items():
        np.testing.assert_array_equal(value.data, before[key].data)


def test_representations_show_the_options_as_pytorch_s():
    torch = pytest.importorskip("torch")
    for name, arguments, options in [
        ("BatchNorm1d", (3, 1e-3, None), {"affine": False}),
        ("BatchNorm2d", (3,), {"bias": False, "track_running_stats": False}),
        ("LayerNorm", ((2, 3),), {"bias": False}),
        ("LayerNorm", (3,), {"elementwise_affine": False}),
        ("GroupNorm", (2, 4), {"bias": False}),
        ("RMSNorm", (3,), {}),
    ]:
        shown = repr(getattr(nn, name)(*arguments, **options)).partition(" · ")[0]
        assert shown == repr(getattr(torch.nn, name)(*arguments, **options))
    assert repr(nn.BatchNorm1d(3, unbiased_running_var=False)).endswith("unbiased_running_var=False) · 6 parameters")


@pytest.mark.parametrize("shape", [(4, 2), (3, 2, 3)])
def test_running_statistics_that_require_a_gradient_get_it_in_evaluation(shape):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    x, (mean, w, b), variance = rng.normal(size=shape), rng.normal(size=(3, 2)), rng.uniform(0.5, 2, 2)
    weights = rng.normal(size=shape)
    values = (x, mean, variance, w, b)

    tensors = [torch.tensor(v, requires_grad=True) for v in values]
    tail = (-1,) + (1,) * (len(shape) - 2)
    y = (tensors[0] - tensors[1].reshape(tail)) / torch.sqrt(tensors[2].reshape(tail) + 1e-5)
    ((y * tensors[3].reshape(tail) + tensors[4].reshape(tail)) * torch.tensor(weights)).sum().backward()

    found = ad.grad(lambda *a: (F.batch_norm(*a) * weights).sum(), (0, 1, 2, 3, 4))(*values)
    for g, t in zip(found, tensors):
        np.testing.assert_allclose(g, t.grad.numpy(), rtol=1e-12, atol=1e-14)

    def computed(x):  # statistics computed from what moves
        axes = tuple(i for i in range(x.ndim) if i != 1)
        return (F.batch_norm(x, x.mean(axes), x.var(axes)) * weights).sum()

    own = lambda x: (F.batch_norm(x, None, None, training=True) * weights).sum()
    np.testing.assert_allclose(ad.grad(computed)(x), ad.grad(own)(x), rtol=1e-9, atol=1e-12)
