"""Stopping when a loss gets no better, with the best weights kept."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from autodiff.flags import flags


class EarlyStopping:
    """Say when a loss has not improved for `patience` epochs, and keep the weights of the best one.

    An improvement is a loss less than the best so far by more than `min_delta`; a count of epochs without one starts
    anew after each. It is time to stop when the count reaches `patience`.

    Args:
        patience: epochs without improvement, at least 1 (0 with `strict`); ``math.inf`` never stops.
        min_delta: at least 0.
        restore_best: whether `step` keeps copies of the best weights.
        compare: with "previous", an improvement is a loss less than that of the epoch before.
        strict: stop when the count exceeds `patience`.

    Raises:
        TypeError, ValueError: for arguments out of range.

    >>> stopping = EarlyStopping(patience=2)
    >>> [stopping.step(loss) for loss in [0.9, 0.5, 0.6, 0.7]]
    [False, False, False, True]
    >>> stopping.best_epoch, stopping.best
    (2, 0.5)
    """

    def __init__(
        self,
        patience: float,
        min_delta: float = 0,
        restore_best: bool = True,
        compare: str = "best",
        strict: bool = False,
    ) -> None:
        flags(EarlyStopping, (), {"restore_best": restore_best, "strict": strict})
        least = 0 if strict else 1
        if isinstance(patience, bool) or not isinstance(patience, (int, float, np.integer, np.floating)):
            raise TypeError(f"EarlyStopping: patience must be a number of epochs, not {patience!r}")
        if not patience >= least or (patience != math.inf and patience != int(patience)):
            raise ValueError(f"EarlyStopping: patience must be an integer of at least {least}, not {patience!r}")
        if isinstance(min_delta, (bool, str)) or not hasattr(min_delta, "__float__"):
            raise TypeError(f"EarlyStopping: min_delta must be a number, not {min_delta!r}")
        if not 0 <= min_delta < math.inf:
            raise ValueError(f"EarlyStopping: min_delta must be a finite number of at least 0, not {min_delta!r}")
        if compare not in ("best", "previous"):
            raise ValueError(f"EarlyStopping: compare is 'best' or 'previous', not {compare!r}")
        self.patience, self.min_delta, self.restore_best = patience, float(min_delta), bool(restore_best)
        self.compare, self.strict = compare, bool(strict)
        self.weights: dict[str, Any] | None = None
        """Copies of the best weights, arrays by name."""
        self.reset()

    def reset(self) -> None:
        """Forget all epochs."""
        self.epoch = self.best_epoch = self.count = 0
        self.best = self._reference = math.inf
        self.weights = None

    @property
    def stopped(self) -> bool:
        """Whether it is time to stop."""
        return self.count > self.patience if self.strict else self.count >= self.patience

    def step(self, loss: float, model: Any = None) -> bool:
        """Take the loss of an epoch; returns `stopped`.

        Args:
            loss: a number.
            model: whose weights are copied (by ``state_dict()``) if this epoch is the best, for `restore`.
        """
        value = float(loss)
        improved = value < self._reference - self.min_delta
        self.count = 0 if improved else self.count + 1
        if improved or self.compare == "previous":
            self._reference = value
        if value < self.best:
            if model is not None and self.restore_best:
                self.weights = {name: tensor.data.copy() for name, tensor in model.state_dict().items()}
            self.best, self.best_epoch = value, self.epoch + 1
        self.epoch += 1  # at the end: after an interrupt before it, the step can be made again
        return self.stopped

    def restore(self, model: Any) -> None:
        """Write the weights of the best epoch into the model; nothing if there are none."""
        if self.weights is not None:
            model.load_state_dict(self.weights)

    def state_dict(self) -> dict[str, Any]:
        """A snapshot of the counts and the best loss; the weights are not in it."""
        names = ("epoch", "best_epoch", "count", "best", "_reference")
        return {name.strip("_"): getattr(self, name) for name in names}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue from a snapshot.

        Raises:
            ValueError: if that is no snapshot.
        """
        if set(state_dict) != set(self.state_dict()):
            raise ValueError(f"EarlyStopping.load_state_dict: not what state_dict() returned: {sorted(state_dict)}")
        self.epoch, self.best_epoch, self.count = (int(state_dict[key]) for key in ("epoch", "best_epoch", "count"))
        self.best, self._reference = float(state_dict["best"]), float(state_dict["reference"])

    def __repr__(self) -> str:
        at = f", best {self.best:.6g} in epoch {self.best_epoch}" if self.best_epoch else ""
        return f"EarlyStopping(patience={self.patience}, count={self.count}{at})"
