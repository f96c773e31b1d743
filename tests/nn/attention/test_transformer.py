"""Transformer layers, stacks and positions against PyTorch, with every option and mask."""

import numpy as np
import pytest

import autodiff as ad
import nn
from tests.against_torch import same_layer


@pytest.fixture
def torch():
    """PyTorch with the only implementation of its attention that can be differentiated twice."""
    module = pytest.importorskip("torch")
    import torch.nn.attention

    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        yield module


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def pair(torch, name, *arguments, eval=True, **options):
    """Our module and PyTorch's of one name, in double precision, with biases that are not zero."""
    ours, theirs = getattr(nn, name)(*arguments, dtype="float64", **options), getattr(torch.nn, name)(
        *arguments, dtype=torch.float64, **options
    )  # fmt: skip
    for key, p in theirs.named_parameters():
        if "bias" in key or "norm" in key:
            torch.nn.init.normal_(p, 1.0 * ("norm" in key))
    assert list(ours.state_dict()) == list(theirs.state_dict())
    return (ours.eval(), theirs.eval()) if eval else (ours, theirs)


def called(module, torch=None, **options):
    """The module, called with these options (arrays as torch's tensors)."""
    as_theirs = lambda m: torch.tensor(m) if torch and isinstance(m, np.ndarray) else m

    class Called(type(module)):
        def forward(self, *x):
            return super().forward(*x, **{name: as_theirs(m) for name, m in options.items()})

    module.__class__ = Called
    return module


FUTURE = ~np.tri(3, dtype=bool)
PADDING = np.array([[False, False, False], [False, True, True]])

OPTIONS = [
    {},
    {"norm_first": True},
    {"batch_first": True, "activation": "gelu"},
    {"norm_first": True, "batch_first": True, "bias": False, "layer_norm_eps": 0.1},
]


@pytest.mark.parametrize("options", OPTIONS, ids=lambda o: " ".join(o) or "plain")
@pytest.mark.parametrize("shape", [(3, 2, 4), (3, 4)])
@pytest.mark.parametrize("training", [True, False])
def test_the_encoder_layer_equals_pytorch_s(torch, options, shape, training):
    layer, reference = pair(torch, "TransformerEncoderLayer", 4, 2, 6, 0.0, eval=not training, **options)
    same_layer(layer, reference, normal(*shape))


@pytest.mark.parametrize("options", OPTIONS, ids=lambda o: " ".join(o) or "plain")
@pytest.mark.parametrize("batch", [None, 2])
def test_the_decoder_layer_equals_pytorch_s(torch, options, batch):
    layer, reference = pair(torch, "TransformerDecoderLayer", 4, 2, 6, 0.0, eval=False, **options)
    x, memory = (normal(n, 4) if batch is None else normal(n, batch, 4) for n in (3, 5))
    if options.get("batch_first") and batch:
        x, memory = (a.swapaxes(0, 1).copy() for a in (x, memory))
    same_layer(layer, reference, x, memory)


MASKS = [
    {"src_mask": FUTURE},
    {"src_mask": normal(4, 3, 3)},
    {"src_key_padding_mask": PADDING},
    {"src_mask": FUTURE, "src_key_padding_mask": PADDING},
    {"src_mask": np.where(FUTURE, -np.inf, 0.0), "src_key_padding_mask": np.where(PADDING, -np.inf, 0.0)},
]


@pytest.mark.parametrize("masks", MASKS, ids=lambda m: " ".join(f"{n}{v.ndim}{v.dtype.kind}" for n, v in m.items()))
def test_the_encoder_layer_s_masks_are_pytorch_s(torch, masks):
    layer, reference = pair(torch, "TransformerEncoderLayer", 4, 2, 6, 0.0, batch_first=True, eval=False)
    same_layer(called(layer, **masks), called(reference, torch, **masks), normal(2, 3, 4))


def test_the_decoder_layer_s_masks_are_pytorch_s(torch):
    masks = {
        "tgt_mask": FUTURE, "memory_mask": np.random.default_rng(0).random((3, 2)) < 0.3,
        "tgt_key_padding_mask": PADDING, "memory_key_padding_mask": np.array([[False, True], [False, False]]),
    }  # fmt: skip
    masks["memory_mask"][:, 0] = False
    layer, reference = pair(torch, "TransformerDecoderLayer", 4, 2, 6, 0.0, batch_first=True, eval=False)
    same_layer(called(layer, **masks), called(reference, torch, **masks), normal(2, 3, 4), normal(2, 2, 4, seed=1))


def test_is_causal_builds_the_mask_in_every_layer(torch):
    layer, reference = pair(torch, "TransformerEncoderLayer", 4, 2, 6, 0.0, eval=False)
    encoder, theirs = (
        nn.TransformerEncoder(layer, 2),
        torch.nn.TransformerEncoder(reference, 2, enable_nested_tensor=False),
    )
    same_layer(called(encoder, is_causal=True), called(theirs, torch, mask=FUTURE), normal(3, 2, 4))
    layer, reference = pair(torch, "TransformerDecoderLayer", 4, 2, 6, 0.0, eval=False)
    decoder, theirs = nn.TransformerDecoder(layer, 2), torch.nn.TransformerDecoder(reference, 2)
    x, memory = normal(3, 2, 4), normal(3, 2, 4, seed=1)
    given = {"tgt_mask": FUTURE, "memory_mask": FUTURE}
    same_layer(called(decoder, tgt_is_causal=True, memory_is_causal=True), called(theirs, torch, **given), x, memory)


@pytest.mark.parametrize("activation", ["silu", "Tanh"])
def test_the_activation_may_be_a_function_or_a_module(torch, activation):
    get = lambda package: getattr(package.nn, activation)() if activation == "Tanh" else package.nn.functional.silu
    ours, theirs = (
        package.nn.TransformerEncoderLayer(4, 2, 6, 0.0, activation=get(package), dtype=dtype)
        for package, dtype in ((type("package", (), {"nn": nn}), "float64"), (torch, torch.float64))
    )
    same_layer(ours, theirs, normal(3, 2, 4))


@pytest.mark.parametrize("norm", [True, False])
def test_stacks_equal_pytorch_s_with_and_without_a_last_norm(torch, norm):
    for kind, extra in (("Encoder", ()), ("Decoder", (normal(5, 2, 4, seed=1),))):
        layer, reference = pair(torch, f"Transformer{kind}Layer", 4, 2, 6, 0.0, norm_first=True, eval=False)
        options = {"enable_nested_tensor": False} if kind == "Encoder" else {}
        ours = getattr(nn, f"Transformer{kind}")(
            layer, 3, nn.LayerNorm(4, dtype="float64") if norm else None, **options
        )
        last = torch.nn.LayerNorm(4, dtype=torch.float64) if norm else None
        theirs = getattr(torch.nn, f"Transformer{kind}")(reference, 3, last, **options)
        for p in theirs.parameters():
            torch.nn.init.normal_(p, std=0.5)
        assert list(ours.state_dict()) == list(theirs.state_dict())
        same_layer(ours, theirs, normal(3, 2, 4), *extra)


def test_layers_of_a_stack_are_copies_with_parameters_of_their_own():
    layer = nn.TransformerEncoderLayer(4, 2, 6)
    encoder = nn.TransformerEncoder(layer, 2)
    first, second = encoder.layers
    assert first is not layer and len({id(p) for p in (*first.parameters(), *second.parameters())}) == 32 - 8
    assert all((p.data == q.data).all() for p, q in zip(first.parameters(), second.parameters()))


def test_dropout_acts_in_training_only_and_differs_between_layers():
    nn.manual_seed(0)
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 2, 32, dropout=0.5), 2)
    x = normal(5, 3, 16).astype("float32")
    assert (encoder(x).data != encoder(x).data).any()
    encoder.eval()
    assert (encoder(x).data == encoder(x).data).all()
    masks = [ad.Tensor(np.ones(1000, "float32")) for _ in range(2)]
    first, second = (layer.train().dropout(m).data for layer, m in zip(encoder.layers, masks))
    assert (first != second).any()


@pytest.mark.parametrize("batch_first", [True, False])
def test_empty_batches_pass_through_with_zero_gradients(batch_first):
    shape = lambda n: (0, n, 4) if batch_first else (n, 0, 4)
    x, memory = (ad.Tensor(np.zeros(shape(n), "float32"), requires_grad=True) for n in (3, 5))
    decoder = nn.TransformerDecoder(nn.TransformerDecoderLayer(4, 2, 6, batch_first=batch_first), 1)
    y = nn.PositionalEncoding(4, batch_first=batch_first)(decoder(x, memory, tgt_is_causal=True))
    assert y.shape == shape(3)
    y.sum().backward()
    assert x.grad.shape == shape(3) and memory.grad.shape == shape(5)
    assert all((p.grad.data == 0).all() for p in decoder.parameters())


def test_float32_stays_float32():
    x = ad.Tensor(normal(3, 2, 4).astype("float32"), requires_grad=True)
    memory = ad.Tensor(normal(5, 2, 4).astype("float32"), requires_grad=True)
    layer = nn.TransformerDecoderLayer(4, 2, 6, activation="gelu")
    y = layer(nn.PositionalEncoding(4)(x), memory, tgt_is_causal=True)
    y.sum().backward()
    assert y.dtype == np.float32
    assert all(t.grad.dtype == np.float32 for t in (x, memory, *layer.parameters()))


def test_positions_are_the_sines_and_cosines_of_the_formula():
    for d in (6, 5):
        encoding = nn.PositionalEncoding(d, dropout=0.0, max_len=20, dtype="float64")
        p, i = np.arange(20)[:, None], np.arange(d)[None, :]
        angle = p / 10000 ** (2 * (i // 2) / d)
        expected = np.where(i % 2 == 0, np.sin(angle), np.cos(angle))
        np.testing.assert_allclose(encoding.state_dict()["pe"].data[:, 0], expected, rtol=1e-12, atol=1e-14)
        x = normal(7, 3, d)
        np.testing.assert_allclose(encoding(x).data, x + expected[:7, None], rtol=1e-12)
        np.testing.assert_allclose(encoding(x[:, 0]).data, x[:, 0] + expected[:7], rtol=1e-12)
        first = nn.PositionalEncoding(d, dropout=0.0, max_len=20, batch_first=True, dtype="float64")
        np.testing.assert_allclose(first(x.swapaxes(0, 1)).data, encoding(x).data.swapaxes(0, 1))
        assert list(encoding.parameters()) == []


def test_positional_encoding_has_dropout_in_training():
    encoding = nn.PositionalEncoding(4, dropout=1.0)
    assert (encoding(np.ones((3, 2, 4), "float32")).data == 0).all()
    assert (encoding.eval()(np.ones((3, 2, 4), "float32")).data != 0).any()


@pytest.mark.parametrize(
    "call, error, match",
    [
        (lambda: nn.TransformerEncoderLayer(4, 3), ValueError, "embed_dim is a multiple of num_heads"),
        (lambda: nn.TransformerEncoderLayer(4, 2, activation="tan"), ValueError, "activation .* 'relu' or 'gelu', not"),
        (lambda: nn.TransformerDecoderLayer(4, 2, dropout=2), ValueError, "dropout is within"),
        (lambda: nn.TransformerEncoderLayer(4, 2, 1.5), TypeError, "dim_feedforward is an integer"),
        (lambda: nn.TransformerEncoder(3, 2), TypeError, "TransformerEncoder: takes a layer, not 3"),
        (lambda: nn.TransformerEncoder(None, 2), TypeError, "TransformerEncoder: takes a layer, not None"),
        (lambda: nn.TransformerDecoder(nn.Identity(), -1), ValueError, "num_layers is at least 0"),
        (lambda: nn.TransformerDecoder(nn.Identity(), 1, "norm"), TypeError, "a module or None for its norm"),
        (lambda: nn.PositionalEncoding(0), ValueError, "d_model is at least 1"),
        (lambda: nn.PositionalEncoding(4, max_len=5)(np.zeros((6, 4))), ValueError, r"\(6, 4\).* L at most 5"),
        (lambda: nn.PositionalEncoding(4)(np.zeros((6, 1, 3))), ValueError, r"\(6, 1, 3\), expects \(L, N, 4\)"),
        (lambda: nn.PositionalEncoding(4)(np.zeros((6, 4), int)), TypeError, "PositionalEncoding: .*floating-point"),
        (lambda: ENCODER(np.zeros((2, 3, 5))), ValueError, r"TransformerEncoderLayer: got src .*\(2, 3, 5\).*\(N, L, 4\)"),
        (lambda: ENCODER(np.zeros((2, 3, 4), int)), TypeError, "TransformerEncoderLayer: got input .*floating-point"),
        (lambda: ENCODER(np.zeros((2, 3, 4)), np.zeros((2, 2))), ValueError, r"attn_mask has shape \(2, 2\)"),
        (lambda: DECODER(np.zeros((2, 3, 4)), np.zeros(4)), ValueError, r"TransformerDecoderLayer: got memory .*\(4,\)"),
        (lambda: DECODER(np.zeros((2, 3, 4)), np.zeros((3, 3, 4))), ValueError, r"got query \(2, 3, 4\), key \(3, 3, 4\)"),
    ],
)  # fmt: skip
def test_bad_options_and_inputs_are_errors_that_name_the_layer(call, error, match):
    with pytest.raises(error, match=match):
        call()


ENCODER = nn.TransformerEncoderLayer(4, 2, 6, batch_first=True)
DECODER = nn.TransformerDecoderLayer(4, 2, 6, batch_first=True)


@pytest.mark.parametrize("options", OPTIONS, ids=lambda o: " ".join(o) or "plain")
def test_the_transformer_is_pytorch_s_to_second_order(torch, options):
    ours, theirs = pair(torch, "Transformer", 4, 2, 1, 2, 6, 0.1, **options)
    mask = nn.Transformer.generate_square_subsequent_mask(3, "float64")
    theirs_mask = torch.nn.Transformer.generate_square_subsequent_mask(3, dtype=torch.float64)
    np.testing.assert_array_equal(mask.data, theirs_mask)
    src, tgt = (normal(2, 4, 4), normal(2, 3, 4)) if options.get("batch_first") else (normal(4, 2, 4), normal(3, 2, 4))
    how = {"tgt_mask": mask.data, "tgt_key_padding_mask": np.where(PADDING, -np.inf, 0.0)}
    same_layer(called(ours, **how), called(theirs, torch, **how), src, tgt)


def test_a_transformer_takes_encoders_of_its_own_and_starts_as_glorot():
    model = nn.Transformer(8, 2, 1, 1, 16, custom_encoder=nn.Lambda(lambda x, *masks: x))
    assert not list(model.encoder.parameters())
    assert model(np.ones((4, 1, 8), "float32"), np.ones((3, 1, 8), "float32")).shape == (3, 1, 8)
    weight = model.decoder.layers[0].linear1.weight.data
    assert 0.9 * np.sqrt(6 / 24) < np.abs(weight).max() <= np.sqrt(6 / 24)
    with pytest.raises(TypeError, match="Transformer: custom_decoder is a module or None, not 3"):
        nn.Transformer(8, 2, 1, 1, 16, custom_decoder=3)
