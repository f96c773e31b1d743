"""The Vision Transformer: torchvision's names and numbers, the documents' cost arithmetic, and training on digits."""

from types import SimpleNamespace

import numpy as np
import pytest

import autodiff as ad
import nn
import optim
from tests.against_torch import close, same_layer
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


# The patch embedding


@pytest.mark.parametrize("patch, size", [(2, (4, 6)), ((1, 3), (2, 3)), (4, (4, 4))])
@pytest.mark.parametrize("bias", [True, False])
def test_the_patch_embedding_is_the_convolution_with_stride_equal_to_its_kernel(torch, patch, size, bias):
    class Tokens(torch.nn.Conv2d):
        def forward(self, x):
            return super().forward(x).flatten(-2).swapaxes(-1, -2)

    reference = Tokens(3, 5, patch, patch, bias=bias, dtype=torch.float64)
    layer = nn.PatchEmbedding(3, 5, patch, bias, dtype="float64")
    same_layer(layer, reference, normal(2, 3, *size))
    same_layer(layer, reference, normal(3, *size))


def test_the_patch_embedding_starts_with_the_convolution_s_distribution():
    layer = nn.PatchEmbedding(3, 64, 4, rng=np.random.default_rng(0))
    for p in layer.parameters():
        assert 0.9 / np.sqrt(48) < abs(p.data).max() <= 1 / np.sqrt(48)


# The model

KEYS = """class_token conv_proj.weight conv_proj.bias encoder.pos_embedding
    {blocks} encoder.ln.weight encoder.ln.bias heads.head.weight heads.head.bias"""
BLOCK = """ln_1.weight ln_1.bias self_attention.in_proj_weight self_attention.in_proj_bias
    self_attention.out_proj.weight self_attention.out_proj.bias ln_2.weight ln_2.bias
    mlp.0.weight mlp.0.bias mlp.3.weight mlp.3.bias"""


def keys(blocks):
    named = [f"encoder.layers.encoder_layer_{i}.{name}" for i in range(blocks) for name in BLOCK.split()]
    return KEYS.format(blocks=" ".join(named)).split()


def small(**options):
    arguments = {"num_layers": 2, "num_heads": 2, "hidden_dim": 4, "mlp_dim": 6, "num_classes": 3} | options
    return nn.VisionTransformer(4, 2, **arguments)


def reference(torch, arrays, x, heads, blocks, representation=False):
    """torchvision's forward pass, of torch.nn's functions and these tensors by torchvision's names."""
    F = torch.nn.functional
    norm = lambda x, name: F.layer_norm(x, x.shape[-1:], arrays[f"{name}.weight"], arrays[f"{name}.bias"], 1e-6)
    dense = lambda x, name: F.linear(x, arrays[f"{name}.weight"], arrays[f"{name}.bias"])
    weight = arrays["conv_proj.weight"]
    tokens = F.conv2d(x, weight, arrays["conv_proj.bias"], stride=weight.shape[-1]).flatten(2).swapaxes(1, 2)
    x = torch.cat([arrays["class_token"].expand(len(x), -1, -1), tokens], 1) + arrays["encoder.pos_embedding"]
    for i in range(blocks):
        name = f"encoder.layers.encoder_layer_{i}"
        q = norm(x, f"{name}.ln_1").swapaxes(0, 1)
        attention = f"{name}.self_attention"
        mixed, _ = F.multi_head_attention_forward(
            q, q, q, x.shape[-1], heads, arrays[f"{attention}.in_proj_weight"], arrays[f"{attention}.in_proj_bias"],
            None, None, False, 0.0, arrays[f"{attention}.out_proj.weight"], arrays[f"{attention}.out_proj.bias"],
            need_weights=False,
        )  # fmt: skip
        x = x + mixed.swapaxes(0, 1)
        x = x + dense(F.gelu(dense(norm(x, f"{name}.ln_2"), f"{name}.mlp.0")), f"{name}.mlp.3")
    x = norm(x, "encoder.ln")[:, 0]
    if representation:
        x = torch.tanh(dense(x, "heads.pre_logits"))
    return dense(x, "heads.head")


@pytest.mark.parametrize("representation", [None, 5])
def test_the_model_equals_one_of_torch_s_functions_with_torchvision_s_names(torch, representation):
    model = small(representation_size=representation, dtype="float64")
    expected = keys(2)
    if representation:
        expected[-2:-2] = ["heads.pre_logits.weight", "heads.pre_logits.bias"]
    assert list(model.state_dict()) == expected
    for i, p in enumerate(model.parameters()):
        p.data = normal(*p.shape, seed=i)

    names = [name for name, _ in model.named_parameters()]
    theirs = [torch.tensor(p.data, requires_grad=True) for p in model.parameters()]
    image = normal(2, 3, 4, 4, seed=50)
    x, z = ad.Tensor(image, requires_grad=True), torch.tensor(image, requires_grad=True)
    y = model(x)
    u = reference(torch, dict(zip(names, theirs)), z, 2, 2, representation)
    close(y.data, u, 1e-9)
    weight = normal(*y.shape, seed=51)
    free, free_theirs = [x, *model.parameters()], [z, *theirs]
    gradients = ad.gradients((y * weight).sum(), free, create_graph=True)
    gradients_theirs = torch.autograd.grad((u * torch.tensor(weight)).sum(), free_theirs, create_graph=True)
    for g, h in zip(gradients, gradients_theirs):
        close(g.data, h, 1e-9)
    vs = [normal(*t.shape, seed=60 + i) for i, t in enumerate(free)]
    s = sum((g * v).sum() for g, v in zip(gradients, vs))
    t = sum((g * torch.tensor(v)).sum() for g, v in zip(gradients_theirs, vs))
    seconds = torch.autograd.grad(t, free_theirs, allow_unused=True)
    for g, h in zip(ad.gradients(s, free, allow_unused=True), seconds):
        close(0.0 if g is None else g.data, h, 1e-7)


def test_a_convolutional_stem_has_torchvision_s_names_and_numbers(torch):
    configs = [
        SimpleNamespace(out_channels=5, kernel_size=3, stride=2),
        SimpleNamespace(out_channels=6, kernel_size=3, stride=1),
    ]
    model = small(conv_stem_configs=configs, dtype="float64")
    names = [
        "conv_bn_relu_{}.0.weight",
        *(f"conv_bn_relu_{{}}.1.{n}" for n in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")),
    ]
    expected = [f"conv_proj.{n.format(i)}" for i in (0, 1) for n in names]
    expected += ["conv_proj.conv_last.weight", "conv_proj.conv_last.bias"]
    assert sorted(k for k in model.state_dict() if k.startswith("conv_proj")) == sorted(expected)

    layers = []
    for into, config in zip((3, 5), configs):
        out = config.out_channels
        layers += [
            torch.nn.Conv2d(into, out, 3, config.stride, 1, bias=False),
            torch.nn.BatchNorm2d(out),
            torch.nn.ReLU(),
        ]
    theirs = torch.nn.Sequential(*layers, torch.nn.Conv2d(6, 4, 1)).double()
    ours = {name: value for name, value in zip(sorted_like(theirs), theirs.state_dict().values())}
    model.conv_proj.load_state_dict({k: v.numpy() for k, v in ours.items()})
    image = normal(3, 3, 4, 4)
    close(model.conv_proj(image).data, theirs(torch.tensor(image)), 1e-9)
    assert model(image).shape == (3, 3)


def sorted_like(theirs):
    """The names that torchvision gives the entries of a plain sequence of convolution, norm and ReLU."""
    for key in theirs.state_dict():
        position, name = key.split(".")
        block, place = divmod(int(position), 3)
        yield f"conv_bn_relu_{block}.{place}.{name}" if block < 2 else f"conv_last.{name}"


def test_a_new_model_gives_all_classes_the_same_probability_and_is_reproducible():
    state = nn.get_rng_state()
    a, b = (small(rng=np.random.default_rng(0)) for _ in range(2))
    assert nn.get_rng_state() == state
    assert all((p.data == q.data).all() for p, q in zip(a.parameters(), b.parameters()))
    assert (a(normal(2, 3, 4, 4).astype("float32")).data == 0).all()
    assert a.class_token.data.any() == False  # noqa: E712
    wide = nn.VisionTransformer(32, 8, 1, 4, 64, 128, rng=np.random.default_rng(0)).state_dict()
    np.testing.assert_allclose(wide["encoder.pos_embedding"].data.std(), 0.02, rtol=0.1)
    np.testing.assert_allclose(wide["conv_proj.weight"].data.std(), np.sqrt(1 / (3 * 8 * 8)), rtol=0.05)
    np.testing.assert_allclose(
        abs(wide["encoder.layers.encoder_layer_0.mlp.0.weight"].data).max(), np.sqrt(6 / 192), rtol=0.01
    )


def test_dropout_acts_in_training_only():
    model = small(dropout=0.5, attention_dropout=0.5)
    model.heads.head.weight.data = normal(3, 4).astype("float32")
    x = normal(2, 3, 4, 4).astype("float32")
    assert (model(x).data != model(x).data).any()
    model.eval()
    assert (model(x).data == model(x).data).all()


def test_an_empty_batch_passes_through_with_zero_gradients_and_float32_stays():
    model = small()
    y = model(np.zeros((0, 3, 4, 4), "float32"))
    assert y.shape == (0, 3)
    y.sum().backward()
    assert all((p.grad.data == 0).all() for p in model.parameters())
    x = ad.Tensor(normal(2, 3, 4, 4).astype("float32"), requires_grad=True)
    model(x).sum().backward()
    assert x.grad.dtype == np.float32 and all(p.grad.dtype == np.float32 for p in model.parameters())


@pytest.mark.parametrize(
    "call, error, match",
    [
        (lambda: nn.VisionTransformer(10, 4, 1, 1, 4, 4), ValueError, "10 is no multiple of 4"),
        (lambda: nn.VisionTransformer(8, 4, 1, 3, 4, 4), ValueError, "embed_dim is a multiple of num_heads"),
        (lambda: nn.VisionTransformer(8, 4, -1, 1, 4, 4), ValueError, "num_layers is at least 0"),
        (lambda: nn.VisionTransformer(8, 4, 1, 1, 4, 4, representation_size=0), ValueError, "representation_size"),
        (lambda: small()(normal(3, 4, 4)), ValueError, r"VisionTransformer: got .*\(3, 4, 4\), expects \(N, 3, 4, 4\)"),
        (lambda: small()(normal(1, 3, 4, 6)), ValueError, r"expects \(N, 3, 4, 4\)"),
        (lambda: small()(np.ones((1, 3, 4, 4), "uint8")), TypeError, "VisionTransformer: .*floating-point"),
        (lambda: nn.PatchEmbedding(3, 4, 2)(normal(1, 3, 4, 5)), ValueError, r"PatchEmbedding\(3, 4.*W of 2"),
        (lambda: nn.PatchEmbedding(3, 4, 2)(normal(1, 1, 4, 4)), ValueError, r"expects \(N, 3, H, W\)"),
        (lambda: nn.PatchEmbedding(3, 4, (1, 2, 3)), ValueError, "patch_size is one integer or 2"),
        (lambda: nn.PatchEmbedding(3, 4, 2)(np.ones((3, 4, 4), int)), TypeError, "PatchEmbedding: .*floating-point"),
        (lambda: nn.vit_arithmetic(224, 15, 192, 1, 3, 4), ValueError, "224 is no multiple of 15"),
        (lambda: nn.vit_arithmetic(224, 16, 192, 1, 5, 4), ValueError, "192 is no multiple of 5"),
        (lambda: nn.vit_arithmetic(224, 16, 192, -1, 3, 4), ValueError, "depth is at least 0"),
        (lambda: nn.vit_arithmetic(224, 16, 192, 1, 3, "4"), TypeError, "mlp_ratio is a number"),
    ],
)
def test_bad_options_and_inputs_are_errors_that_name_the_layer(call, error, match):
    with pytest.raises(error, match=match):
        call()


# What it costs


def test_vit_arithmetic_gives_the_documents_numbers():
    entry = ENTRIES["vit-token-and-attention-counts"]
    image, patches, width, heads, ratio = (entry["inputs"][k] for k in ("image", "patch", "D", "heads", "mlp_ratio"))
    entries = []
    for patch in patches:
        cost = nn.vit_arithmetic(image, patch, width, 12, heads, ratio)
        expected = entry["expected"][f"patch_{patch}"]
        assert {name: cost[name] for name in expected} == expected
        assert cost["attention_multiply_adds"] == 2 * cost["attention_multiply_adds_N2D"]
        assert cost["projection_multiply_adds"] > cost["attention_multiply_adds"] or cost["tokens"] > 2 * width
        entries.append(cost["attention_entries_per_layer"])
    ratio = entry["expected"]["ratio_of_attention_entries"]
    np.testing.assert_allclose(entries[1] / entries[0], ratio, rtol=1e-14)


def test_vit_arithmetic_counts_the_parameters_of_torchvision_s_models_and_of_ours():
    published = {"b_16": (16, 768, 12, 12, 86567656), "l_32": (32, 1024, 24, 16, 306535400)}
    for patch, dim, depth, heads, parameters in published.values():
        assert nn.vit_arithmetic(224, patch, dim, depth, heads, 4)["parameters"] == parameters
    model = nn.VisionTransformer(12, 3, 3, 2, 8, 20, num_classes=7, in_channels=2)
    cost = nn.vit_arithmetic(12, 3, 8, 3, 2, 2.5, 7, 2)
    assert cost["parameters"] == sum(p.size for p in model.parameters())
    assert cost["parameters_per_layer"] == sum(p.size for p in model.encoder.layers[0].parameters())
    assert cost["tokens"] == model.seq_length


def test_vit_arithmetic_counts_the_multiply_adds_of_the_products_that_are_recorded():
    model = nn.VisionTransformer(12, 3, 3, 2, 8, 20, num_classes=7, in_channels=2)
    products = {"linear": lambda x, w, *_: x.size * len(w), "attention_weights": lambda q, k: q.size * k.shape[-2],
                "attention_values": lambda w, v: w.size * v.shape[-1]}  # fmt: skip
    y = model(normal(1, 2, 12, 12).astype("float32"))
    seen, stack, found = set(), [y], {name: 0 for name in products}
    while stack:
        t = stack.pop()
        if isinstance(t, ad.Tensor) and id(t) not in seen:
            seen.add(id(t))
            stack += t.inputs
            if t.op in products:
                found[t.op] += products[t.op](*t.inputs)
    cost = nn.vit_arithmetic(12, 3, 8, 3, 2, 2.5, 7, 2)
    assert sum(found.values()) == cost["multiply_adds"]
    assert found["attention_weights"] + found["attention_values"] == 3 * cost["attention_multiply_adds"]
    assert cost["attention_entries"] == 3 * 2 * 17**2


# Training


@pytest.mark.slow
def test_a_small_vision_transformer_learns_the_digits_to_95_percent_of_those_held_out():
    """Four patches of 4 × 4 pixels, two blocks, Adam with a cosine schedule; 97 to 99 % over seeds, in two seconds."""
    datasets = pytest.importorskip("sklearn.datasets")
    digits = datasets.load_digits()
    x, t = (digits.images[:, None] / 8 - 1).astype("float32"), digits.target
    rng = np.random.default_rng(0)
    order = rng.permutation(len(x))
    train, held_out = order[:1400], order[1400:]
    model = nn.VisionTransformer(
        8, 4, num_layers=2, num_heads=4, hidden_dim=32, mlp_dim=64, num_classes=10, in_channels=1, rng=rng
    )
    loss, optimizer = nn.CrossEntropyLoss(), optim.Adam(model.parameters())
    batches = [batch for _ in range(25) for batch in np.array_split(rng.permutation(train), 22)]
    for i, batch in enumerate(batches):
        optimizer.param_groups[0]["lr"] = 3e-3 * np.cos(0.5 * np.pi * i / len(batches)) ** 2
        optimizer.zero_grad()
        loss(model(x[batch]), t[batch]).backward()
        optimizer.step()
    model.eval()
    with ad.no_grad():
        logits = model(x[held_out])
    assert not logits.requires_grad
    assert (logits.data.argmax(axis=1) == t[held_out]).mean() > 0.95
