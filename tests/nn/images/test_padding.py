"""Padding of every mode: PyTorch's numbers to second order, negative widths, errors."""

import numpy as np
import pytest

import nn
import nn.functional as F
from tests.against_torch import agrees_with_torch, same_layer
from tests.nn.images.test_pooling import both, values


@pytest.mark.parametrize(("mode", "pad"), [
    ("constant", (1, 2)), ("constant", (0, 1, 2, 0)), ("constant", (-1, 2, 1, -2)), ("constant", (0, 0)), ("constant", ()),
    ("constant", (1, 0, 0, 1, 2, 2, 0, 1)), ("reflect", (2, 1)), ("reflect", (1, 3, 2, 0)), ("replicate", (4, 1, 0, 2)),
    ("circular", (5, 1, 2, 4)), ("circular", (1, 0)), ("reflect", (-1, 2)), ("reflect", (-3, 3)), ("reflect", (2, -4, -1, 1)),
    ("replicate", (2, -1, -2, 1)), ("circular", (-1, 3)), ("circular", (2, -2, -1, 2)), ("circular", (3, -2)),
    ("reflect", (1, 0, 1, 2, 2, 0)), ("replicate", (1, 0, 1, 2, -1, 0)), ("circular", (1, 0, 1, 2, -1, 0)),
])  # fmt: skip
def test_padding_equals_pytorch_s_to_second_order(mode, pad):
    torch = pytest.importorskip("torch")
    x = values(2, 3, 4, 5) if len(pad) != 2 else values(2, 4, 5)
    agrees_with_torch(lambda a: F.pad(a**2, pad, mode), lambda a: torch.nn.functional.pad(a**2, pad, mode), x)
    if mode == "constant":
        ours, theirs = F.pad(x, pad, value=1.5), torch.nn.functional.pad(torch.tensor(x), pad, value=1.5)
        np.testing.assert_array_equal(ours.data, theirs.numpy())


LAYERS = [(kind, (p,)) for kind in ("Zero", "Reflection", "Replication", "Circular") for p in (1, "pairs")]
LAYERS += [("Constant", (p, 0.5)) for p in (1, "pairs")]


@pytest.mark.parametrize(("kind", "args"), LAYERS, ids=str)
@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("batch", [(2,), ()])
def test_the_layers_equal_pytorch_s_to_second_order(kind, args, n, batch):
    padding = (0, 2, 1, 0, -1, 1)[: 2 * n] if args[0] == "pairs" else args[0]
    name, args = f"{kind}Pad{n}d", (padding, *args[1:])
    layer, reference = both(name, *args)
    same_layer(layer, reference, values(*batch, 2, *(3, 4, 5)[:n]))
    assert repr(layer).startswith(repr(reference)[:-1])
    empty = layer(np.ones((0, 2, *(3, 4, 5)[:n]), "float32"))
    assert empty.dtype == np.float32 and empty.shape[0] == 0


@pytest.mark.parametrize("padding", [(-1, 0, 2, -2), 0])
@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (3, 4, 5)])
def test_zero_padding_may_shorten(padding, shape):
    same_layer(*both("ZeroPad2d", padding), values(*shape))


X = np.ones((2, 3, 6, 6), "float32")


@pytest.mark.parametrize(("error", "message", "call"), [
    (ValueError, r"ZeroPad2d: takes one integer or 4, not \(1, 2\)", lambda: nn.ZeroPad2d((1, 2))),
    (TypeError, r"ZeroPad2d: a width is an integer", lambda: nn.ZeroPad2d(1.5)),
    (ValueError, r"ZeroPad2d: got input of shape \(6, 6\)", lambda: nn.ZeroPad2d(1)(X[0, 0])),
    (ValueError, r"ZeroPad2d: got input of shape .* leaves nothing", lambda: nn.ZeroPad2d(-4)(X)),
    (ValueError, r"pad: takes a pair of integers for each axis", lambda: F.pad(X, (1, 2, 3))),
    (ValueError, r"pad: got input of shape .* and widths for 5 axes", lambda: F.pad(X, (1,) * 10)),
    (ValueError, r"pad: mode is 'constant', 'reflect', 'replicate' or 'circular', not 'edge'", lambda: F.pad(X, (1, 1), "edge")),
    (ValueError, r"pad: with mode 'reflect' a width is less than the length", lambda: F.pad(X, (6, 0), "reflect")),
    (ValueError, r"pad: with mode 'circular' a width is at most the length", lambda: F.pad(X, (7, 0), "circular")),
    (ValueError, r"pad: with mode 'replicate' a width is for an axis that is not empty", lambda: F.pad(X[..., :0], (1, 0), "replicate")),
    (ValueError, r"pad: value=1.0 is for mode 'constant'", lambda: F.pad(X, (1, 0), "reflect", 1.0)),
    (ValueError, r"pad: got input of shape .* of which pad=\(-4, -4\) leaves nothing", lambda: F.pad(X, (-4, -4))),
    (ValueError, r"pad: value, 0.5, is no value of int64, that of input", lambda: F.pad([1, 2], (1, 1), value=0.5)),
    (ValueError, r"ConstantPad1d: value, 0.5, is no value of int64", lambda: nn.ConstantPad1d(1, 0.5)([[1, 2]])),
])  # fmt: skip
def test_an_error_names_the_layer_what_it_got_and_what_it_expects(error, message, call):
    with pytest.raises(error, match=message):
        call()
