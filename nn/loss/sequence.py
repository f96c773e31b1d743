"""Losses on sequences without an alignment: connectionist temporal classification."""

from __future__ import annotations

from typing import Any

import numpy as np

import autodiff as ad
from autodiff import Tensor
from autodiff.devices import brought, put
from autodiff.flags import flagged
from autodiff.ops.guards import common
from autodiff.tensor import plain

from ..arguments import as_tensor, count, float_input
from .base import Loss, reduced


def _lengths(name: str, what: str, value: Any, n: int, most: int) -> Any:
    a = np.atleast_1d(put(plain(as_tensor(value)), None))
    if a.dtype.kind not in "iu" and a.size:
        raise TypeError(f"{name}: {what} is integers, not {a.dtype}")
    if a.shape != (n,) or (n and not (0 <= a.min() and a.max() <= most)):
        raise ValueError(f"{name}: {what} is one integer within 0 … {most} for each of {n} sequences, not {value!r}")
    return a.astype(np.intp)


def _labels(name: str, targets: Any, lengths: Any, classes: int, blank: int) -> Any:
    """Class indices (N, S), those beyond a target's length being `blank`."""
    given = put(plain(as_tensor(targets)), None)
    n, longest = len(lengths), int(lengths.max(initial=0))
    if given.dtype.kind not in "iu" and given.size:
        raise TypeError(f"{name}: targets are class indices, integers; got {given.dtype}")
    inside = np.arange(longest) < lengths[:, None]
    labels = np.full((n, longest), blank, np.intp)
    if given.ndim == 2 and len(given) == n and given.shape[1] >= longest:
        labels[inside] = given[:, :longest][inside]
    elif given.ndim == 1 and len(given) == lengths.sum():
        labels[inside] = given
    else:
        raise ValueError(
            f"{name}: got targets of shape {given.shape}, expects ({n}, S), S at least {longest}, or those of all "
            f"sequences one after another, ({lengths.sum()},)"
        )
    wrong = inside & ((labels < 0) | (labels >= classes) | (labels == blank))
    if wrong.any():
        raise ValueError(
            f"{name}: targets are classes in 0 … {classes - 1} without the blank one, {blank}; got {labels[wrong][0]}"
        )
    return labels


@flagged
def ctc_loss(
    log_probs: Any,
    targets: Any,
    input_lengths: Any,
    target_lengths: Any,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Tensor:
    """−log Σ Π p(t, πₜ) over all paths π that become the target when repeated classes, then blanks are left out.

    With the target's labels between blanks, l₀ … l₂ₛ, the sums over paths that end at s follow from
    αₜ(s) = p(t, lₛ) (αₜ₋₁(s) + αₜ₋₁(s − 1) + αₜ₋₁(s − 2)), the last one where lₛ is no blank and not lₛ₋₂; here in
    logarithms.

    Args:
        log_probs: log p, shape (T, N, classes), of one sequence (T, classes); what `log_softmax` gives.
        targets: class indices, shape (N, S), or all targets one after another; none of them blank.
        input_lengths: how many of the T steps count, for each sequence.
        target_lengths: length of each target.
        blank: index of the class that stands for none.
        reduction: "mean" (of the losses divided by the targets' lengths, as PyTorch's), "sum" or "none".
        zero_infinity: whether a loss is 0 where no path exists; else it is infinite, with NaN for its gradient.

    Raises:
        TypeError, ValueError: for other options, lengths, indices and shapes.

    Source: Graves et al., Connectionist Temporal Classification, 2006.

    >>> ctc_loss(np.log([[[0.5, 0.5]], [[0.5, 0.5]]]), [[1]], [2], [1])
    Tensor(0.28768207)
    """
    name = "ctc_loss"
    x = float_input(name, log_probs)
    if x.ndim not in (2, 3) or not x.shape[-1]:
        raise ValueError(f"{name}: got log_probs of shape {x.shape}, expects (T, N, classes) or (T, classes)")
    batched, x = x.ndim == 3, x if x.ndim == 3 else x[:, None]
    steps, n, classes = x.shape
    if count(name, "blank", blank) >= classes:
        raise ValueError(f"{name}: blank is within 0 … {classes - 1}, not {blank}")
    times = _lengths(name, "input_lengths", input_lengths, n, steps)
    sizes = _lengths(name, "target_lengths", target_lengths, n, np.iinfo(np.intp).max)
    labels = _labels(name, targets, sizes, classes, blank)
    states = np.full((n, 2 * labels.shape[1] + 1), blank)
    states[:, 1::2] = labels
    jump = np.zeros(states.shape, bool)
    jump[:, 3::2] = labels[:, 1:] != labels[:, :-1]

    def there(a: Any) -> Any:
        return brought(a, plain(x))

    wall = there(np.where(jump, 0, -np.inf).astype(x.dtype))
    emitted = x[:, np.arange(n)[:, None], states]
    none = there(np.full((n, 2), -np.inf, x.dtype))
    # Before the first step a path is at the first blank.
    first = np.where(np.arange(states.shape[1]) == 0, 0, np.full(states.shape, -np.inf))
    alpha: Tensor = Tensor(there(first.astype(x.dtype)))
    for t in range(int(times.max(initial=0))):
        before = ad.concatenate([none, alpha], 1)
        moved = ad.stack([alpha, before[:, 1:-1], before[:, :-2] + wall])
        alpha = ad.where(there((t < times)[:, None]), ad.logsumexp(moved, axis=0) + emitted[t], alpha)
    rows = np.arange(n)
    last = ad.where(there(sizes > 0), alpha[rows, np.maximum(2 * sizes - 1, 0)], -np.inf)
    ends = ad.stack([alpha[rows, 2 * sizes], last])
    losses = -ad.logsumexp(ends, axis=0)
    impossible = plain(losses) == np.inf
    if not common(~impossible.any()):
        # Where there is no path, the sum over them is the constant 0, of which the logarithm has no derivative.
        nothing = 0.0 if zero_infinity else -ad.log(ad.exp(x).sum(axis=(0, 2)) * 0.0)
        losses = ad.where(impossible, nothing, losses)
    if reduction == "mean":
        losses = losses / there(np.maximum(sizes, 1).astype(x.dtype))
    return reduced(losses if batched else losses[0], reduction, name)


class CTCLoss(Loss):
    """Connectionist temporal classification, as `ctc_loss`.

    >>> CTCLoss()(np.log([[[0.5, 0.5]], [[0.5, 0.5]]]), [[1]], [2], [1])
    Tensor(0.28768207)
    """

    def __init__(self, blank: int = 0, reduction: str = "mean", zero_infinity: bool = False) -> None:
        super().__init__(reduction=reduction)
        self.blank, self.zero_infinity = count("CTCLoss", "blank", blank), zero_infinity

    def forward(self, log_probs: Any, targets: Any, input_lengths: Any, target_lengths: Any) -> Tensor:
        """−log Σ Π p over the paths, reduced."""
        return ctc_loss(
            log_probs, targets, input_lengths, target_lengths, self.blank, self.reduction, self.zero_infinity
        )
