"""Connectionist temporal classification: PyTorch's values and gradients, all paths summed by hand, second derivatives,
targets without a path, errors."""

import itertools

import numpy as np
import pytest
from scipy.special import log_softmax

import autodiff as ad
import nn
import nn.functional as F
from tests.against_torch import agrees_with_torch

REPEATED = (np.array([[1, 1, 2], [3, 2, 0], [2, 0, 0]]), [7, 5, 3], [3, 2, 0])


def scores(*shape):
    return np.random.default_rng(0).normal(size=shape)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize(("targets", "times", "sizes", "blank"), [
    (*REPEATED, 0), (np.array([1, 1, 2, 3, 2]), [7, 5, 3], [3, 2, 0], 0), (np.array([[0, 1], [3, 0], [1, 1]]), [7, 2, 4], [2, 2, 2], 2),
    (np.zeros((3, 0), int), [7, 0, 3], [0, 0, 0], 0),
])  # fmt: skip
def test_losses_and_gradients_by_the_scores_are_pytorch_s(targets, times, sizes, blank, reduction):
    torch = pytest.importorskip("torch")
    theirs, how = torch.nn.CTCLoss(blank, reduction), [torch.tensor(a) for a in (targets, times, sizes)]
    agrees_with_torch(
        lambda x: nn.CTCLoss(blank, reduction)(F.log_softmax(x, -1), targets, times, sizes),
        lambda x: theirs(torch.log_softmax(x, -1), *how), scores(7, 3, 4), second=False,
    )  # fmt: skip


def test_one_sequence_needs_no_batch_axis():
    torch = pytest.importorskip("torch")
    theirs = torch.nn.functional.ctc_loss
    agrees_with_torch(
        lambda x: F.ctc_loss(F.log_softmax(x, -1), [1, 2], 6, 2, reduction="none"),
        lambda x: theirs(torch.log_softmax(x, -1), torch.tensor([1, 2]), torch.tensor(6), torch.tensor(2), reduction="none"),
        scores(6, 4), second=False,
    )  # fmt: skip


@pytest.mark.parametrize("target", [[], [1], [1, 2], [1, 1], [2, 1, 2]])
def test_the_loss_is_the_sum_over_all_paths(target):
    x, total = log_softmax(scores(4, 3), axis=-1), 0.0
    for path in itertools.product(range(3), repeat=4):
        if [k for k, _ in itertools.groupby(path) if k] == target:
            total += np.exp(x[np.arange(4), path].sum())
    loss = F.ctc_loss(x, np.array(target, int), 4, len(target), reduction="none")
    np.testing.assert_allclose(loss.item(), -np.log(total) if total else np.inf, rtol=1e-12)


def test_gradients_and_second_derivatives_agree_with_finite_differences():
    x = scores(5, 2, 3)
    assert ad.gradcheck(lambda x: F.ctc_loss(x, [[1, 2], [2, 0]], [5, 4], [2, 1]), (x,))  # of any numbers
    assert ad.gradgradcheck(lambda x: F.ctc_loss(F.log_softmax(x, -1), [[1, 2], [2, 0]], [5, 4], [2, 1]), (x,))


def test_without_a_path_the_loss_is_infinite_with_no_gradient_or_zero():
    for zero, loss, slope in (False, np.inf, np.nan), (True, 0.0, 0.0):
        x = ad.Tensor(log_softmax(scores(2, 2, 3), axis=-1), requires_grad=True)
        y = F.ctc_loss(x, [[1, 1], [1, 2]], [2, 2], [2, 2], reduction="none", zero_infinity=zero)
        assert y.data[0] == loss and np.isfinite(y.data[1])
        (g,) = ad.gradients(y.sum(), [x])
        np.testing.assert_array_equal(g.data[:, 0], np.full((2, 3), slope))
        assert np.isfinite(g.data[:, 1]).all() and g.data[:, 1].any()


def test_an_empty_batch_has_no_losses_and_float32_stays():
    x = np.zeros((4, 0, 3), "float32")
    assert F.ctc_loss(x, np.zeros((0, 2), int), [], [], reduction="none").shape == (0,)
    y = F.ctc_loss(np.zeros((4, 1, 3), "float32"), [[1]], [4], [1])
    assert y.dtype == np.float32


X = log_softmax(scores(4, 2, 3), axis=-1)


@pytest.mark.parametrize(("error", "message", "call"), [
    (ValueError, r"got log_probs of shape \(4,\), expects \(T, N, classes\)", lambda: F.ctc_loss(X[:, 0, 0], [1], [4], [1])),
    (ValueError, r"blank is within 0 … 2, not 3", lambda: F.ctc_loss(X, [[1], [2]], [4, 4], [1, 1], blank=3)),
    (ValueError, r"input_lengths is one integer within 0 … 4 for each of 2", lambda: F.ctc_loss(X, [[1], [2]], [4, 5], [1, 1])),
    (ValueError, r"target_lengths is one integer", lambda: F.ctc_loss(X, [[1], [2]], [4, 4], [1])),
    (ValueError, r"got targets of shape \(1, 2\), expects \(2, S\), S at least 1", lambda: F.ctc_loss(X, [[1, 2]], [4, 4], [1, 1])),
    (ValueError, r"classes in 0 … 2 without the blank one, 0; got 3", lambda: F.ctc_loss(X, [[1], [3]], [4, 4], [1, 1])),
    (ValueError, r"without the blank one, 0; got 0", lambda: F.ctc_loss(X, [[1], [0]], [4, 4], [1, 1])),
    (TypeError, r"targets are class indices, integers; got float64", lambda: F.ctc_loss(X, [[1.0], [2.0]], [4, 4], [1, 1])),
    (TypeError, r"input_lengths is integers, not float64", lambda: F.ctc_loss(X, [[1], [2]], [4.0, 4.0], [1, 1])),
    (ValueError, r"ctc_loss: reduction is", lambda: F.ctc_loss(X, [[1], [2]], [4, 4], [1, 1], reduction="all")),
    (ValueError, r"CTCLoss: blank is at least 0", lambda: nn.CTCLoss(-1)),
])  # fmt: skip
def test_an_error_says_what_it_got_and_what_it_expects(error, message, call):
    with pytest.raises(error, match=message):
        call()


def test_losses_of_each_example_inside_vmap_are_those_of_one_after_another():
    x = scores(3, 5, 2, 3)
    slope = ad.grad(lambda x: F.ctc_loss(F.log_softmax(x, -1), [[1, 2], [2, 1]], [5, 4], [2, 1]))
    np.testing.assert_allclose(ad.vmap(slope)(x).data, [slope(ad.Tensor(one)).data for one in x], rtol=1e-12)
