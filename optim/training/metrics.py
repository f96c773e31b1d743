"""What is measured of an epoch: means of the loss and of metrics over its batches, and scikit-learn's metrics of all
its outputs together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from autodiff import Tensor, no_grad
from autodiff.averaging import count_of, counted
from autodiff.data import length
from autodiff.devices import as_numpy
from autodiff.ranks import sum_over_ranks

Metric = Callable[[Any, Any], Any]
"""A function of an output and a batch of targets that returns a number."""


def named(metrics: Any) -> tuple[dict[str, Metric], dict[str, str]]:
    """The functions, and the names of scikit-learn's metrics, each under the name of its column.

    Raises:
        TypeError, ValueError: for anything else, names that scikit-learn does not have, and names that are taken.
        ImportError: for names without scikit-learn.
    """
    if metrics is None:
        return {}, {}
    if callable(metrics) or isinstance(metrics, str):
        metrics = [metrics]
    if not isinstance(metrics, Iterable):
        raise TypeError(f"fit: metrics= takes names and functions, in a list or a dict by name, not {metrics!r}")
    if not isinstance(metrics, Mapping):
        listed = list(metrics)
        metrics = {f if isinstance(f, str) else getattr(f, "__name__", type(f).__name__): f for f in listed}
        if len(metrics) < len(listed):
            raise ValueError(f"fit: metrics have the same name, {list(metrics)}; give a dict of functions by name")
    for name, metric in metrics.items():
        if not isinstance(name, str) or not (callable(metric) or isinstance(metric, str)):
            raise TypeError(
                f"fit: metrics= takes functions, or names of scikit-learn's metrics, not {name!r}: {metric!r}"
            )
        if name in ("loss", "lr"):
            raise ValueError(f"fit: the name {name!r} is taken; give the metric another one")
    names = {name: metric for name, metric in metrics.items() if isinstance(metric, str)}
    if names:
        from .scoring import require_known  # needs scikit-learn

        require_known(names.values())
    return {name: metric for name, metric in metrics.items() if name not in names}, names


class Means:
    """Means of the metrics over samples, and of the loss over what its own mean divides by (see `count_of`).

    Args:
        prefix: "train" or "val".
        loss: of the training.
        metrics: functions by name.
        scores: names of scikit-learn's metrics, by name.
        comm: of the ranks that measure a part each, or None.
    """

    def __init__(
        self, prefix: str, loss: Any, metrics: dict[str, Metric], scores: dict[str, str], comm: Any = None
    ) -> None:
        self.comm = comm
        self.prefix, self.criterion, self.count = prefix, loss, count_of(loss)
        self.metrics, self.scores = metrics, scores
        self.sums = dict.fromkeys(metrics, 0.0)
        self.seen: list[tuple[Any, Any]] = []
        self.noted: dict[str, list[float]] = {}
        self.samples, self.loss, self.counted, self.passed_over = 0, 0.0, 0.0, False

    def count_in(self, y: Any) -> float | None:
        """What the loss counts of a batch; 0 if it ignores all targets, and there is neither a mean nor a gradient."""
        count = counted(self.count, y)
        self.passed_over |= count == 0
        return count

    def samples_in(self, x: Any, y: Any) -> int:
        """The number of samples of a batch."""
        return len(x) if type(x) is Tensor and x.ndim else length(x, y, f"fit: {self.prefix}")

    def add(self, samples: int, y: Any, output: Any, loss: float, count: float | None) -> None:
        """Take a batch in."""
        self.samples += samples
        weight = samples if count is None else count
        self.loss += weight * loss
        self.counted += weight
        if self.scores:
            if not isinstance(output, Tensor):
                raise TypeError(
                    f"fit: the metrics {list(self.scores.values())} are of one output, not of a "
                    f"{type(output).__name__}; give a function of output and target"
                )
            self.seen.append((np.array(as_numpy(output)), as_numpy(y)))
        if self.metrics:
            with no_grad():
                constant = _detached(output)
                for name, function in self.metrics.items():
                    value = function(constant, y)
                    try:
                        self.sums[name] += samples * float(value)
                    except (TypeError, ValueError):
                        raise TypeError(f"fit: the metric {name!r} must return a number, not {value!r}") from None

    def note(self, numbers: Mapping[str, Any]) -> None:
        """Numbers of one step, of which the epoch has the plain mean."""
        for name, number in numbers.items():
            self.noted.setdefault(name, []).append(float(number))

    def result(self, epoch: int) -> dict[str, float]:
        """The means, by column.

        Raises:
            ValueError: if there was no batch, or nothing that the loss counts; if a metric is not of such outputs.
        """
        if self.comm is not None:
            self._gather()
        if not self.samples:
            what = "data" if self.prefix == "train" else "validation data"
            if self.passed_over:
                raise ValueError(f"fit: the loss ignores every target of the {what}")
            again = (
                "; a generator can be gone through only once, give a list or optim.batches(...)" if epoch > 1 else ""
            )
            raise ValueError(f"fit: there are no batches of {what} in epoch {epoch}{again}")
        found = {f"{self.prefix}_loss": self.loss / self.counted}
        found |= {f"{self.prefix}_{name}": total / self.samples for name, total in self.sums.items()}
        if self.scores:
            from .scoring import scores

            outputs, targets = (np.concatenate([np.atleast_1d(a) for a in part]) for part in zip(*self.seen))
            for name, value in scores(self.scores, outputs, targets, self.criterion).items():
                found[f"{self.prefix}_{name}"] = value
        return found | {name: sum(numbers) / len(numbers) for name, numbers in self.noted.items()}

    def _gather(self) -> None:
        """Take in what the other ranks have."""
        own = [self.samples, self.loss, self.counted, self.passed_over, *self.sums.values()]
        samples, self.loss, self.counted, passed_over, *sums = sum_over_ranks(np.array(own, float), self.comm).tolist()
        self.samples, self.passed_over, self.sums = int(samples), passed_over > 0, dict(zip(self.sums, sums))
        if self.scores:
            self.seen = [batch for one in self.comm.allgather(self.seen) for batch in one]


def _detached(output: Any) -> Any:
    if isinstance(output, Tensor):
        return output.detach()
    return type(output)(map(_detached, output)) if type(output) in (tuple, list) else output
