"""Padding and packing against PyTorch's."""

import numpy as np
import pytest

import autodiff as ad
from autodiff import Tensor
from nn.utils import rnn


def sequences():
    rng = np.random.default_rng(0)
    return [rng.normal(size=(n, 2)) for n in (3, 5, 1)]


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("side", ["right", "left"])
def test_padding_is_torchs(side, batch_first):
    torch = pytest.importorskip("torch")
    options = {"batch_first": batch_first, "padding_value": -1.0, "padding_side": side}
    found = rnn.pad_sequence(sequences(), **options)
    expected = torch.nn.utils.rnn.pad_sequence([torch.tensor(s) for s in sequences()], **options)
    np.testing.assert_array_equal(found.numpy(), expected.numpy())
    if side == "right":
        for a, b in zip(rnn.unpad_sequence(found, [3, 5, 1], batch_first), sequences(), strict=True):
            np.testing.assert_array_equal(a.numpy(), b)


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("lengths", [[5, 3, 1], [3, 5, 1], [2, 2, 2]])
def test_packing_is_torchs(lengths, batch_first):
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(0).normal(size=(3, 5, 2) if batch_first else (5, 3, 2))
    for enforce in (False, True):
        if enforce and sorted(lengths, reverse=True) != lengths:
            with pytest.raises(ValueError, match="write enforce_sorted=False"):
                rnn.pack_padded_sequence(x, lengths, batch_first)
            continue
        a = rnn.pack_padded_sequence(x, lengths, batch_first, enforce)
        b = torch.nn.utils.rnn.pack_padded_sequence(torch.tensor(x), torch.tensor(lengths), batch_first, enforce)
        np.testing.assert_array_equal(a.data.numpy(), b.data.numpy())
        for mine, other in zip(a[1:], b[1:]):
            assert (mine is None) == (other is None)
            assert mine is None or mine.tolist() == other.tolist()
        back, found = rnn.pad_packed_sequence(a, batch_first, 7.0, total_length=6)
        again, _ = torch.nn.utils.rnn.pad_packed_sequence(b, batch_first, 7.0, total_length=6)
        np.testing.assert_array_equal(back.numpy(), again.numpy())
        assert found.tolist() == lengths


def test_packing_and_unpacking_is_the_identity_with_its_gradient():
    xs = [Tensor(s, requires_grad=True) for s in sequences()]
    back = rnn.unpack_sequence(rnn.pack_sequence(xs, enforce_sorted=False))
    gradients = ad.gradients(sum((b**2).sum() for b in back), xs)
    for x, b, g in zip(xs, back, gradients, strict=True):
        np.testing.assert_array_equal(b.numpy(), x.numpy())
        np.testing.assert_allclose(g.numpy(), 2 * x.numpy())


def test_padding_and_packing_refuse_what_does_not_fit():
    x = np.ones((5, 3, 2))
    for lengths in ([6, 1, 1], [0, 0, 0], [1, 1], [1.0, 1.0, 1.0]):
        with pytest.raises(ValueError, match="lengths are 3 integers within 1 … 5"):
            rnn.pack_padded_sequence(x, lengths)
    with pytest.raises(ValueError, match=r"takes sequences of shape \(length, ...\), not \[\(2, 1\), \(2, 2\)\]"):
        rnn.pad_sequence([np.ones((2, 1)), np.ones((2, 2))])
    with pytest.raises(ValueError, match="takes sequences"):
        rnn.pack_sequence([])
    with pytest.raises(ValueError, match="padding_side is 'left' or 'right', not 'up'"):
        rnn.pad_sequence([np.ones(2)], padding_side="up")
    with pytest.raises(TypeError, match="takes a PackedSequence, not list"):
        rnn.pad_packed_sequence([1, 2])
    with pytest.raises(ValueError, match="total_length=4 is less than the greatest length, 5"):
        rnn.pad_packed_sequence(rnn.pack_sequence([np.ones(5)]), total_length=4)
    with pytest.raises(ValueError, match=r"shape \(T, N, ...\), not \(5,\)"):
        rnn.pack_padded_sequence(np.ones(5), [5])
    with pytest.raises(ValueError, match=r"padding_value, 0.5, is no value of int64"):
        rnn.pad_sequence([np.array([1, 2]), np.array([3])], padding_value=0.5)
