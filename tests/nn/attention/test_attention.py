"""Attention: the function and the layer against PyTorch, every kind of mask, and what bad input gets."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import autodiff as ad
import nn
import nn.functional as F
from tests.against_torch import agrees_with_torch, same_layer
from tests.documents import ENTRIES


@pytest.fixture
def torch():
    """PyTorch with the only implementation of its attention that can be differentiated twice."""
    module = pytest.importorskip("torch")
    import torch.nn.attention

    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        yield module


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def hides(*shape, seed=1):
    """A boolean mask that hides a third, but never the first key."""
    mask = np.random.default_rng(seed).random(shape) < 0.35
    mask[..., 0] = False
    return mask


# The function


def test_attention_gives_the_documents_weights_output_gradients_and_hessian_vector_product():
    entry = ENTRIES["scaled-dot-product-attention"]
    arrays = tuple(np.array(entry["inputs"][n]) for n in "QKV")
    c, expected = np.array(entry["inputs"]["C"]), entry["expected"]
    loss = lambda q, k, v: (F.scaled_dot_product_attention(q, k, v) * c).sum()
    close = lambda a, b: np.testing.assert_allclose(np.asarray(a), b, rtol=1e-10, atol=1e-12)
    close(F.scaled_dot_product_attention(*arrays), expected["out"])
    close(F.scaled_dot_product_attention(*arrays[:2], np.eye(3)), expected["weights"])
    close(loss(*arrays), expected["loss"])
    gradients = ad.grad(loss, argnums=(0, 1, 2))(*arrays)
    products = ad.hvp(loss, arrays, tuple(np.ones(a.shape) for a in arrays))
    for name, g, h in zip("QKV", gradients, products):
        close(g, expected[f"d{name}"])
        close(h, expected[f"hvp_{name}"])


SHAPES = [
    ((3, 4), (5, 4), (5, 2)),
    ((2, 3, 4), (2, 5, 4), (2, 5, 4)),
    ((2, 2, 3, 4), (2, 2, 5, 4), (2, 2, 5, 3)),
    ((2, 2, 3, 4), (1, 2, 5, 4), (2, 1, 5, 3)),
    ((1, 1, 1, 1), (1, 1, 1, 1), (1, 1, 1, 1)),
]


@pytest.mark.parametrize("shapes", SHAPES)
@pytest.mark.parametrize("option", ["none", "causal", "boolean", "float", "scale"])
def test_scaled_dot_product_attention_equals_pytorch_s_to_second_order(torch, shapes, option):
    q, k, v = (normal(*s, seed=i) for i, s in enumerate(shapes))
    ours, theirs = F.scaled_dot_product_attention, torch.nn.functional.scaled_dot_product_attention
    scores = (q.shape[-2], k.shape[-2])
    if option == "float":
        mask = normal(*scores, seed=9)
        return agrees_with_torch(ours, theirs, q, k, v, mask)
    if option == "boolean":
        sees = ~hides(*scores)
        return agrees_with_torch(lambda *x: ours(*x, sees), lambda *x: theirs(*x, torch.tensor(sees)), q, k, v)
    options = {"none": {}, "causal": {"is_causal": True}, "scale": {"scale": 0.3}}[option]
    agrees_with_torch(lambda *x: ours(*x, **options), lambda *x: theirs(*x, **options), q, k, v)


@pytest.mark.parametrize("shape", [(5,), (1, 5), (3, 1), (2, 3, 5), (2, 1, 1, 5), (2, 2, 3, 5)])
def test_a_float_mask_of_any_shape_that_broadcasts_gets_its_gradient(torch, shape):
    q, k, v, mask = normal(2, 2, 3, 4), normal(2, 2, 5, 4, seed=1), normal(2, 2, 5, 4, seed=2), normal(*shape, seed=3)
    theirs = torch.nn.functional.scaled_dot_product_attention
    agrees_with_torch(F.scaled_dot_product_attention, lambda *x: theirs(*x[:3], x[3].expand(2, 2, 3, 5)), q, k, v, mask)


def test_a_mask_may_have_batch_axes_that_queries_and_keys_lack():
    q, k, v, mask = normal(3, 4), normal(5, 4, seed=1), normal(2, 5, 4, seed=2), normal(2, 3, 5, seed=3)
    y = F.scaled_dot_product_attention(q, k, v, mask)
    for i in range(2):
        np.testing.assert_allclose(y.data[i], F.scaled_dot_product_attention(q, k, v[i], mask[i]).data, rtol=1e-14)


@settings(deadline=None, max_examples=60)
@given(
    st.integers(1, 4), st.integers(1, 5), st.integers(1, 4), st.integers(1, 3), st.lists(st.integers(0, 2), max_size=2),
    st.sampled_from(["none", "causal", "boolean"]), st.integers(0, 2**31),
)  # fmt: skip
def test_attention_is_the_softmax_of_the_scores_times_the_values(length, keys, e, ev, batch, masked, seed):
    rng = np.random.default_rng(seed)
    q, k, v = (rng.normal(size=(*batch, n, d)) for n, d in ((length, e), (keys, e), (keys, ev)))
    sees = np.ones((length, keys), bool) if masked == "none" else np.tri(length, keys, dtype=bool)
    options = {"is_causal": True} if masked == "causal" else {}
    if masked == "boolean":
        sees = rng.random((length, keys)) < 0.6
        options = {"attn_mask": sees}
    scores = np.where(sees, q @ k.swapaxes(-1, -2) / np.sqrt(e), -np.inf)
    weights = np.exp(scores - np.max(np.maximum(scores, -1e9), axis=-1, keepdims=True))
    total = weights.sum(axis=-1, keepdims=True)
    weights = np.where(total == 0, 0, weights / np.where(total == 0, 1, total))
    found = F.scaled_dot_product_attention(q, k, v, **options)
    np.testing.assert_allclose(found.data, weights @ v, rtol=1e-10, atol=1e-12)


def test_attention_survives_huge_scores_in_float32():
    q = np.float32([[1e4, 0], [-1e4, 0]])
    x = ad.Tensor(q, requires_grad=True)
    y = F.scaled_dot_product_attention(x, q, np.eye(2, dtype="float32"))
    np.testing.assert_array_equal(y.data, np.eye(2))
    (g,) = ad.gradients(y.sum(), x)
    assert g.dtype == y.dtype == np.float32 and np.isfinite(g.data).all()


def test_a_query_that_sees_no_key_gets_zeros_and_gives_zero_gradients_to_second_order(torch):
    q, k, v = normal(3, 4), normal(5, 4, seed=1), normal(5, 4, seed=2)
    sees = ~hides(3, 5)
    sees[1] = False
    ours, theirs = F.scaled_dot_product_attention, torch.nn.functional.scaled_dot_product_attention
    agrees_with_torch(lambda *x: ours(*x, sees), lambda *x: theirs(*x, torch.tensor(sees)), q, k, v)
    agrees_with_torch(lambda *x: ours(*x, np.where(sees, 0, -np.inf)), lambda *x: ours_as(torch, sees, *x), q, k, v)
    assert (ours(q, k, v, sees).data[1] == 0).all()
    no_keys = ours(q, k[:0], v[:0])
    assert no_keys.shape == (3, 4) and (no_keys.data == 0).all()


def ours_as(torch, sees, *x):
    return torch.nn.functional.scaled_dot_product_attention(*x, torch.tensor(sees))


def test_gradients_keep_their_digits_where_one_key_has_nearly_all_the_weight():
    q, k = np.array([[5.0]]), np.array([[7.0], [0.0]])
    f = lambda q: F.scaled_dot_product_attention(q, k, np.array([[1.0], [0.0]]), scale=1.0).sum()
    exact = 7 * math.exp(-35) / (1 + math.exp(-35)) ** 2  # the slope of σ(7 q)
    np.testing.assert_allclose(ad.grad(f)(q), [[exact]], rtol=1e-14)
    np.testing.assert_allclose(ad.hessian(f)(q), np.full((1,) * 4, -7 * exact * math.tanh(17.5)), rtol=1e-13)


def test_an_infinite_score_takes_all_and_several_have_no_limit():
    """The limits of finite scores that grow: weights, and all derivatives, as with a score of 1000 in its place."""
    q, v = normal(2, 2), normal(3, 2)
    k = np.array([[1.0, 0.5], [-1.0, 1.0], [-0.5, 1.0]])
    attend = lambda q, k, v, m=None: (F.scaled_dot_product_attention(q, k, v, m) * [1.0, -2.0]).sum()
    mask = lambda top: np.array([[0.0, top, 0.0], [0.0, 0.0, -top]])
    far = q.copy()
    far[0, 0] = np.inf
    near = np.where(np.isinf(far), 1e6, far)
    with np.errstate(invalid="ignore"):
        for infinite, finite in [((q, k, v, mask(np.inf)), (q, k, v, mask(1e3))), ((far, k, v), (near, k, v))]:
            everything = tuple(range(len(finite)))
            ones = tuple(np.ones_like(a) for a in finite)
            for of in (
                lambda *a: [F.scaled_dot_product_attention(*a).data],
                ad.grad(attend, everything),
                lambda *a, ones=ones: ad.hvp(attend, a, ones),
                lambda *a, ones=ones: [ad.jvp(attend, a, ones)[1]],
            ):
                for found, expected in zip(of(*infinite), of(*finite)):
                    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)
        several = F.scaled_dot_product_attention(q, k, v, np.array([[np.inf, np.inf, 0.0], [0.0, np.inf, 0.0]]))
        assert np.isnan(several.data[0]).all() and np.array_equal(several.data[1], v[1])


def test_dropped_weights_are_those_of_dropout_and_one_keeps_nothing():
    q, k = normal(2, 3, 4), normal(2, 500, 4, seed=1)
    nn.manual_seed(0)
    w = F.scaled_dot_product_attention(q, k, np.eye(500), dropout_p=0.25).data
    whole = F.scaled_dot_product_attention(q, k, np.eye(500)).data
    kept = w != 0
    np.testing.assert_allclose(w[kept], whole[kept] / 0.75, rtol=1e-6)
    assert 0.7 < kept.mean() < 0.8
    assert (F.scaled_dot_product_attention(q, k, np.eye(500), dropout_p=1.0).data == 0).all()


@pytest.mark.parametrize(
    "change, error, match",
    [
        ({"key": normal(5, 3)}, ValueError, r"query \(3, 4\), key \(5, 3\), value \(5, 2\)"),
        ({"value": normal(4, 2)}, ValueError, r"expects|needs query \(\.\.\., L, E\)"),
        ({"query": normal(4)}, ValueError, r"got query \(4,\)"),
        ({"query": normal(2, 3, 4), "key": normal(3, 5, 4)}, ValueError, r"got query \(2, 3, 4\), key \(3, 5, 4\)"),
        ({"query": np.ones((3, 4), int)}, TypeError, "scaled_dot_product_attention: got input of .*floating-point"),
        ({"attn_mask": np.zeros((4, 5))}, ValueError, r"attn_mask has shape \(4, 5\), expects .* \(3, 5\)"),
        ({"attn_mask": np.zeros((2, 3, 5))}, ValueError, r"attn_mask has shape \(2, 3, 5\)"),
        ({"attn_mask": np.zeros((3, 5), int)}, TypeError, "attn_mask is boolean or floating-point"),
        ({"attn_mask": np.ones((3, 5), bool), "is_causal": True}, ValueError, "not both"),
        ({"dropout_p": 1.5}, ValueError, "dropout_p is within"),
        ({"scale": "big"}, TypeError, "scale is a number"),
    ],
)
def test_scaled_dot_product_attention_refuses_what_does_not_fit(change, error, match):
    arguments = {"query": normal(3, 4), "key": normal(5, 4), "value": normal(5, 2)} | change
    with pytest.raises(error, match=match):
        F.scaled_dot_product_attention(**arguments)


# The layer

OPTIONS = [
    {},
    {"bias": False},
    {"add_bias_kv": True},
    {"add_zero_attn": True},
    {"kdim": 5},
    {"vdim": 3, "bias": False},
    {"kdim": 5, "vdim": 3, "add_bias_kv": True, "add_zero_attn": True},
]


def pair(torch, heads=2, **options):
    reference = torch.nn.MultiheadAttention(4, heads, dtype=torch.float64, **options)
    for name, p in reference.named_parameters():
        if name.endswith("bias"):  # not zeros
            torch.nn.init.normal_(p)
    return nn.MultiheadAttention(4, heads, dtype=np.float64, **options), reference


def sequences(length, keys, batch, options):
    """Query, key and value; without a batch for None."""
    widths = (4, options.get("kdim", 4), options.get("vdim", 4))
    found = []
    for i, (n, width) in enumerate(zip((length, keys, keys), widths)):
        x = normal(n, width, seed=i) if batch is None else normal(n, batch, width, seed=i)
        found.append(x.swapaxes(0, 1).copy() if options.get("batch_first") and batch is not None else x)
    return found


@pytest.mark.parametrize("options", OPTIONS, ids=lambda o: " ".join(o) or "plain")
@pytest.mark.parametrize("batch", [None, 2])
@pytest.mark.parametrize("batch_first", [False, True])
def test_the_layer_equals_pytorch_s_in_output_and_weights(torch, options, batch, batch_first):
    options = options | {"batch_first": batch_first}
    layer, reference = pair(torch, **options)
    assert list(layer.state_dict()) == list(reference.state_dict())
    inputs = sequences(3, 5, batch, options)
    for output in (lambda r: r[0], lambda r: r[1]):
        same_layer(layer, reference, *inputs, output=output)


@pytest.mark.parametrize("heads", [1, 4])
def test_heads_may_be_one_or_as_many_as_features(torch, heads):
    layer, reference = pair(torch, heads)
    same_layer(layer, reference, *sequences(3, 5, 2, {}), output=lambda r: r[0])


def called(module, torch=None, **masks):
    """The module, called with these masks (their arrays as torch's tensors)."""
    as_theirs = lambda m: torch.tensor(m) if torch and isinstance(m, np.ndarray) else m

    class Called(type(module)):
        def forward(self, *x):
            return super().forward(*x, **{name: as_theirs(m) for name, m in masks.items()})

    module.__class__ = Called
    return module


def added(mask):
    return np.where(mask, -1.5, normal(*mask.shape, seed=5))


MASKS = [
    {"attn_mask": hides(3, 5)},
    {"attn_mask": hides(4, 3, 5)},
    {"attn_mask": added(hides(3, 5))},
    {"attn_mask": added(hides(4, 3, 5))},
    {"key_padding_mask": hides(2, 5)},
    {"key_padding_mask": added(hides(2, 5))},
    {"attn_mask": hides(3, 5), "key_padding_mask": hides(2, 5, seed=2)},
    {"attn_mask": hides(4, 3, 5), "key_padding_mask": hides(2, 5, seed=2)},
    {"attn_mask": added(hides(4, 3, 5)), "key_padding_mask": added(hides(2, 5))},
]


@pytest.mark.parametrize("masks", MASKS, ids=lambda m: " ".join(f"{n}{v.ndim}{v.dtype.kind}" for n, v in m.items()))
@pytest.mark.parametrize("more", [{}, {"add_bias_kv": True, "add_zero_attn": True}], ids=["plain", "appended"])
@pytest.mark.parametrize("need_weights", [True, False])
def test_masks_of_every_kind_and_shape_are_pytorch_s(torch, masks, more, need_weights):
    options = {"batch_first": True} | more
    layer, reference = pair(torch, **options)
    layer = called(layer, **masks, need_weights=need_weights)
    reference = called(reference, torch, **masks, need_weights=need_weights)
    result = same_layer(layer, reference, *sequences(3, 5, 2, options), output=lambda r: r[0])
    assert (result[1] is not None) == need_weights


def test_masks_of_one_sequence_are_pytorch_s(torch):
    masks = {"attn_mask": hides(2, 3, 5), "key_padding_mask": hides(5)}
    layer, reference = pair(torch)
    same_layer(
        called(layer, **masks), called(reference, torch, **masks), *sequences(3, 5, None, {}), output=lambda r: r[0]
    )


def test_weights_of_each_head_are_given_when_they_are_not_averaged(torch):
    options = {"average_attn_weights": False}
    for batch, shape in ((2, (2, 2, 3, 5)), (None, (2, 3, 5))):
        layer, reference = (called(module, **options) for module in pair(torch))
        result = same_layer(layer, reference, *sequences(3, 5, batch, {}), output=lambda r: r[1])
        assert result[1].shape == shape


def test_is_causal_builds_the_mask_that_pytorch_must_be_given(torch):
    mask = ~np.tri(4, 4, dtype=bool)
    layer, reference = pair(torch)
    inputs = sequences(4, 4, 2, {})
    same_layer(called(layer, is_causal=True), called(reference, torch, attn_mask=mask), *inputs, output=lambda r: r[0])


def test_with_a_mask_is_causal_changes_nothing():
    layer = nn.MultiheadAttention(4, 2, dtype=np.float64)
    x = normal(3, 2, 4)
    y, w = layer(x, x, x, attn_mask=hides(3, 3), is_causal=True)
    z, u = layer(x, x, x, attn_mask=hides(3, 3))
    assert (y.data == z.data).all() and (w.data == u.data).all()


def test_a_boolean_and_a_float_mask_may_be_mixed():
    layer = nn.MultiheadAttention(4, 2, batch_first=True, dtype=np.float64)
    x = normal(2, 5, 4)
    pad, bias = hides(2, 5), normal(5, 5, seed=3)
    for one, other in ((bias, pad), (hides(5, 5), np.where(pad, -np.inf, 0.5))):
        w = layer(x, x, x, pad if one is bias else other, attn_mask=one)[1].data
        expected = layer(
            x, x, x, np.where(pad, -np.inf, 0.0), attn_mask=one if one is bias else np.where(one, -np.inf, 0)
        )
        np.testing.assert_allclose(w, expected[1].data, rtol=1e-12)


def test_a_learned_float_mask_gets_the_gradient_of_its_differences():
    layer = nn.MultiheadAttention(4, 2, batch_first=True, dtype=np.float64)
    x = normal(2, 3, 4)
    for shape in ((3, 3), (4, 3, 3)):
        assert ad.gradcheck(lambda m: layer(x, x, x, attn_mask=m)[0], [normal(*shape)])
    assert ad.gradcheck(lambda m: layer(x, x, x, m, attn_mask=hides(3, 3))[0], [normal(2, 3)])


def test_a_sequence_of_which_everything_is_padding_gives_the_bias_and_no_nan():
    layer = nn.MultiheadAttention(4, 2, batch_first=True, dtype=np.float64)
    layer.out_proj.bias.data = normal(4)
    x = ad.Tensor(normal(2, 3, 4), requires_grad=True)
    y, w = layer(x, x, x, np.array([[True] * 3, [False] * 3]))
    assert (w.data[0] == 0).all()
    np.testing.assert_array_equal(y.data[0], np.broadcast_to(layer.out_proj.bias.data, (3, 4)))
    (g,) = ad.gradients((y * y).sum(), x, create_graph=True)
    (h,) = ad.gradients((g * g).sum(), x)
    assert (g.data[0] == 0).all() and g.data[1].any() and np.isfinite(h.data).all()


def test_in_training_weights_are_dropped_and_in_evaluation_they_are_not():
    layer = nn.MultiheadAttention(4, 2, dropout=0.5, batch_first=True)
    x = normal(8, 10, 4).astype("float32")
    nn.manual_seed(3)
    dropped = layer(x, x, x, average_attn_weights=False)[1].data
    whole = layer.eval()(x, x, x, average_attn_weights=False)[1].data
    kept = dropped != 0
    np.testing.assert_allclose(dropped[kept], 2 * whole[kept], rtol=1e-5)
    assert 0.4 < kept.mean() < 0.6
    np.testing.assert_allclose(whole.sum(axis=-1), 1, rtol=1e-5)


def test_an_empty_batch_passes_through_with_zero_gradients():
    layer = nn.MultiheadAttention(4, 2, batch_first=True, add_bias_kv=True)
    x = ad.Tensor(np.zeros((0, 3, 4), "float32"), requires_grad=True)
    y, w = layer(x, x, x, np.zeros((0, 3), bool), is_causal=True)
    assert y.shape == (0, 3, 4) and w.shape == (0, 3, 4)
    y.sum().backward()
    assert x.grad.shape == x.shape
    assert all((p.grad.data == 0).all() for p in layer.parameters())


def test_float32_stays_float32_and_float64_comes_out_as_float64():
    layer = nn.MultiheadAttention(4, 2, batch_first=True)
    x = ad.Tensor(normal(2, 3, 4).astype("float32"), requires_grad=True)
    y, w = layer(x, x, x, np.zeros((2, 3)), attn_mask=normal(3, 3))
    assert y.dtype == w.dtype == np.float32
    y.sum().backward()
    assert x.grad.dtype == np.float32 and all(p.grad.dtype == np.float32 for p in layer.parameters())
    assert layer(*[normal(2, 3, 4)] * 3)[0].dtype == np.float64


def test_under_no_grad_and_on_constants_nothing_is_recorded():
    layer = nn.MultiheadAttention(4, 2)
    x = normal(3, 2, 4)
    with ad.no_grad():
        assert not any(r.requires_grad for r in layer(x, x, x))
    assert not any(r.requires_grad for r in layer.requires_grad_(False)(x, x, x))


def test_initial_values_have_pytorch_s_distributions(torch):
    layer = nn.MultiheadAttention(64, 4, add_bias_kv=True, rng=np.random.default_rng(0))
    torch.manual_seed(0)
    reference = torch.nn.MultiheadAttention(64, 4, add_bias_kv=True)
    for (name, ours), theirs in zip(layer.named_parameters(), reference.parameters(), strict=True):
        np.testing.assert_allclose(ours.data.std(), theirs.detach().numpy().std(), rtol=0.25, err_msg=name)
        if "bias" not in name:
            np.testing.assert_allclose(abs(ours.data).max(), abs(theirs.detach().numpy()).max(), rtol=0.02)
    again = nn.MultiheadAttention(64, 4, add_bias_kv=True, rng=np.random.default_rng(0))
    assert all((a.data == b.data).all() for a, b in zip(layer.parameters(), again.parameters()))


@pytest.mark.parametrize(
    "arguments, options, error, match",
    [
        ((4, 3), {}, ValueError, "embed_dim is a multiple of num_heads, not 4 with 3 heads"),
        ((0, 1), {}, ValueError, "embed_dim is at least 1"),
        ((4, 2.0), {}, TypeError, "num_heads is an integer"),
        ((4, 2), {"dropout": 2}, ValueError, "dropout is within"),
        ((4, 2), {"kdim": -1}, ValueError, "kdim is at least 1"),
        ((4, 2), {"dtype": int}, TypeError, "floating-point"),
    ],
)
def test_the_layer_refuses_options_that_do_not_fit(arguments, options, error, match):
    with pytest.raises(error, match=match):
        nn.MultiheadAttention(*arguments, **options)


@pytest.mark.parametrize(
    "shapes, match",
    [
        (((3, 2, 5), (3, 2, 4), (3, 2, 4)), r"got query \(3, 2, 5\), .* expects query \(N, L, 4\), key \(N, S, 4\)"),
        (((3, 2, 4), (3, 2, 4), (3, 5, 4)), r"value \(3, 5, 4\)"),
        (((3, 2, 4), (2, 2, 4), (2, 2, 4)), r"key \(2, 2, 4\)"),
        (((2, 4), (3, 2, 4), (3, 2, 4)), "or all of them without N"),
        (((4,), (4,), (4,)), r"MultiheadAttention\(embed_dim=4, num_heads=2, batch_first=True\): got query \(4,\)"),
    ],
)
def test_the_layer_refuses_inputs_that_do_not_fit(shapes, match):
    layer = nn.MultiheadAttention(4, 2, batch_first=True)
    with pytest.raises(ValueError, match=match):
        layer(*(normal(*s) for s in shapes))


def test_the_layer_refuses_integers_and_masks_that_do_not_fit():
    layer = nn.MultiheadAttention(4, 2, batch_first=True)
    x = normal(2, 3, 4)
    with pytest.raises(TypeError, match=r"MultiheadAttention: got input of .*floating-point"):
        layer(*[np.ones((2, 3, 4), int)] * 3)
    for mask in (hides(3, 4), hides(2, 3, 3), hides(1, 1, 3, 3)):
        with pytest.raises(ValueError, match=r"attn_mask has shape .* expects \(L, S\) = \(3, 3\) or \(N·H, L, S\)"):
            layer(x, x, x, attn_mask=mask)
    for mask in (hides(3), hides(3, 2)):
        with pytest.raises(ValueError, match=r"key_padding_mask has shape .* expects \(N, S\) = \(2, 3\)"):
            layer(x, x, x, mask)
    with pytest.raises(ValueError, match=r"key_padding_mask has shape \(2, 3\), expects \(S,\) = \(3,\)"):
        layer(x[0], x[0], x[0], hides(2, 3))
    with pytest.raises(TypeError, match=r"attn_mask is boolean or floating-point, got .*astype"):
        layer(x, x, x, attn_mask=np.zeros((3, 3), int))


def test_the_representation_names_what_differs_from_the_defaults():
    text = repr(nn.MultiheadAttention(8, 2, dropout=0.5, kdim=3, batch_first=True))
    assert "embed_dim=8, num_heads=2, kdim=3, vdim=8, dropout=0.5, batch_first=True" in text
