"""Windows as columns and back: PyTorch's numbers to second order, that each is the other's transpose, errors."""

import numpy as np
import pytest

import nn
import nn.functional as F
from tests.against_torch import same_layer

HOW = [
    dict(kernel_size=2), dict(kernel_size=(2, 3), stride=(2, 1), padding=(1, 0)), dict(kernel_size=3, dilation=(1, 2), padding=1),
    dict(kernel_size=1), dict(kernel_size=2, stride=3), dict(kernel_size=(5, 6)), dict(kernel_size=2, padding=3, stride=2),
]  # fmt: skip


@pytest.mark.parametrize("how", HOW, ids=str)
@pytest.mark.parametrize("batch", [(2,), ()])
def test_unfold_and_fold_equal_pytorch_s_to_second_order(how, batch):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    layer, reference = nn.Unfold(**how), torch.nn.Unfold(**how)
    columns = same_layer(layer, reference, rng.normal(size=(*batch, 3, 5, 6)))
    assert repr(layer).startswith(repr(reference)[:-1])
    layer, reference = nn.Fold((5, 6), **how), torch.nn.Fold((5, 6), **how)
    same_layer(layer, reference, rng.normal(size=columns.shape))
    assert repr(layer).startswith(repr(reference)[:-1])


@pytest.mark.parametrize("how", HOW, ids=str)
def test_each_is_the_other_s_transpose_and_an_empty_batch_passes_through(how):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 3, 5, 6))
    columns = F.unfold(x, **how)
    other = rng.normal(size=columns.shape)
    product = (F.fold(other, (5, 6), **how) * x).sum()
    np.testing.assert_allclose((columns * other).sum().item(), product.item(), rtol=1e-12)
    empty = F.unfold(x[:0].astype(np.float32), **how)
    assert empty.dtype == np.float32 and F.fold(empty, (5, 6), **how).shape == (0, 3, 5, 6)


X = np.ones((2, 3, 5, 6))


@pytest.mark.parametrize(("error", "message", "call"), [
    (ValueError, r"Unfold: got input of shape \(5, 6\), expects \(N, C, H, W\)", lambda: nn.Unfold(2)(X[0, 0])),
    (ValueError, r"unfold: in images of spatial shape \(5, 6\).*no window of kernel_size=\(7, 7\)", lambda: F.unfold(X, 7)),
    (ValueError, r"Unfold: stride is at least 1, not 0", lambda: nn.Unfold(2, stride=0)),
    (TypeError, r"Fold: kernel_size is an integer", lambda: nn.Fold(4, 2.0)),
    (ValueError, r"fold: got input of shape \(1, 5, 9\), expects \(N, C · 4, 9\)", lambda: F.fold(np.ones((1, 5, 9)), 4, 2)),
    (ValueError, r"fold: got input of shape \(1, 4, 8\), expects \(N, C · 4, 9\)", lambda: F.fold(np.ones((1, 4, 8)), 4, 2)),
    (TypeError, r"unfold: got input of .*int64", lambda: F.unfold(X.astype(int), 2)),
])  # fmt: skip
def test_an_error_names_the_layer_what_it_got_and_what_it_expects(error, message, call):
    with pytest.raises(error, match=message):
        call()
