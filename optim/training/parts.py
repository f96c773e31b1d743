"""The parts of a training that a checkpoint holds: their state taken, and put back as a whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np

from autodiff import Tensor
from autodiff.device_arrays import ARRAYS
from autodiff.devices import place_of, put
from autodiff.generators import random_state, set_random_state
from autodiff.tensor import plain

from ..lr_scheduler import LRScheduler
from ..optimizer import Optimizer
from ..swa import EMA, SWA
from .early_stopping import EarlyStopping
from .history import History


@dataclass
class Parts:
    """What a checkpoint holds, but for how far the training is.

    Attributes:
        model: whose weights have a file of their own.
        optimizer: of it.
        scheduler: of the optimiser, or None.
        loss: whose state is kept if it has one.
        callbacks: likewise.
        others: parameters of the optimiser that neither the model nor the loss has.
        stopping: with its best weights.
        generators: the random generators that draw, by place.
        average: of the parameters, or None. The weights in the file are then the averages, the parameters themselves
            are in the state.
        columns: of the history, but for the learning rate.
    """

    model: Any
    optimizer: Optimizer
    scheduler: LRScheduler | None
    loss: Any
    callbacks: list[Any]
    others: list[Tensor]
    stopping: EarlyStopping
    generators: Callable[[], Mapping[str, Any]]
    average: EMA | SWA | None
    columns: set[str]

    def __post_init__(self) -> None:
        self.owners = [self.loss, *(callback for callback in self.callbacks if _state_of(callback) is not None)]

    def state(self, epoch: int, history: History) -> dict[str, Any]:
        """Everything but the model's weights and the best ones."""
        loss, *callbacks = map(_state_of, self.owners)
        return {
            "epoch": epoch,
            "history": history.to_dict(),
            "seconds": history.seconds,
            "classes": self._classes(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": None if self.scheduler is None else self.scheduler.state_dict(),
            "stopping": self.stopping.state_dict(),
            "loss": loss,
            "callbacks": callbacks,
            "others": [p.data for p in self.others],
            "random": random_state(self.generators()),
            "average": None
            if self.average is None
            else {"state": self.average.state_dict(), "params": [p.data for p in self.average.params]},
        }

    def restore(self, weights: Mapping[str, Any], best: Mapping[str, Any] | None, saved: Any) -> tuple[int, History]:
        """Continue from weights, best weights (or None) and a `state`; returns its epoch and history.

        Raises:
            Exception: whatever the parts raise for a state that is not theirs; all of them are then as they were.
        """
        epoch, history = _progress(saved)
        self._require_same(saved)
        found = self.generators()
        before = random_state(found)
        with ExitStack() as undo:
            undo.callback(_attributes(self.optimizer, *self.optimizer.param_groups))
            self.optimizer.load_state_dict(saved["optimizer"])
            if self.scheduler is not None:
                undo.callback(_attributes(*_with_inner(self.scheduler)))
                self.scheduler.load_state_dict(saved["scheduler"])
            undo.callback(_attributes(self.stopping))
            self.stopping.load_state_dict(saved["stopping"])
            self.stopping.weights = None if best is None else {name: tensor.data for name, tensor in best.items()}
            for p, data in zip(self.others, saved["others"]):
                undo.callback(setattr, p, "data", p.data)
                p.data = put(data.astype(p.dtype), place_of(plain(p)))
            for owner, value in zip(self.owners, [saved["loss"], *saved["callbacks"]]):
                if value is not None:
                    undo.callback(_own_state(owner))
                    owner.load_state_dict(value)
            undo.callback(set_random_state, found, before)
            set_random_state(found, saved["random"])
            undo.callback(_own_state(self.model))
            self.model.load_state_dict(weights)
            if self.average is not None:
                undo.callback(_own_state(self.average))
                self.average.load_state_dict(saved["average"]["state"])
                for p, data in zip(self.average.params, saved["average"]["params"], strict=True):
                    undo.callback(setattr, p, "data", p.data)
                    p.data = put(data.astype(p.dtype), place_of(plain(p)))
            undo.pop_all()
        return epoch, history

    def _classes(self) -> dict[str, str | None]:
        """Two optimisers may have the same state and yet be different ones."""
        scheduler = None if self.scheduler is None else type(self.scheduler).__name__
        return {"optimizer": type(self.optimizer).__name__, "scheduler": scheduler}

    def _require_same(self, saved: Mapping[str, Any]) -> None:
        """Raise ValueError if these are parts of another training."""
        classes = self._classes()
        for part, was in saved.get("classes", classes).items():  # earlier versions did not note them
            if was != classes[part] and None not in (was, classes[part]):
                raise ValueError(f"the training had the {part} {was}, and has {classes[part]} now")
        if (saved["scheduler"] is None) != (self.scheduler is None):
            had = "no" if saved["scheduler"] is None else "a"
            raise ValueError(f"the training had {had} scheduler; resume it with the same")
        if (saved.get("average") is None) != (self.average is None):
            raise ValueError(f"the training had {'an' if self.average is None else 'no'} average of its weights, ema=")
        if len(saved["callbacks"]) != len(self.owners) - 1 or (_state_of(self.loss) is None) != (saved["loss"] is None):
            raise ValueError("the training had another loss, or other callbacks with a state_dict()")
        if [p.shape for p in self.others] != [np.shape(data) for data in saved["others"]]:
            raise ValueError("the training had other parameters outside the model")
        had = saved["history"].keys() - {"lr"}
        if had and had != self.columns:
            old, new = (", ".join(sorted(columns)) for columns in (had, self.columns))
            raise ValueError(
                f"the history has the columns {old}, and this training {new}; resume it with the same validation=, "
                f"metrics=, penalty= and clip_norm="
            )


def _progress(saved: Any) -> tuple[int, History]:
    """The epoch and the history of a state."""
    if not isinstance(saved, dict):
        raise ValueError(f"a state is a dict, not {type(saved).__name__}")
    missing = [key for key in _KEYS if key not in saved]
    if missing:
        raise ValueError(f"the state lacks {', '.join(missing)}")
    epoch, columns, seconds = saved["epoch"], saved["history"], saved["seconds"]
    if type(epoch) is not int or not 0 <= epoch < 10**15:
        raise ValueError(f"the epoch is {str(epoch)[:40]}")
    lists = [*columns.values(), seconds] if isinstance(columns, dict) else [None]
    if not all(isinstance(values, list) and all(type(x) in (int, float) for x in values) for values in lists):
        raise ValueError("the history is no dict of lists of numbers")
    history = History.from_dict(columns)
    if len(seconds) != len(history):
        raise ValueError(f"the history is of {len(history)} epochs, which took {len(seconds)} times")
    history.seconds = [float(x) for x in seconds]
    for key, kind in {"stopping": dict, "callbacks": list, "others": list, "random": dict, "optimizer": dict}.items():
        if not isinstance(saved[key], kind):
            raise ValueError(f"the state has a {type(saved[key]).__name__} as {key}")
    return epoch, history


_KEYS = (
    "epoch", "history", "seconds", "optimizer", "scheduler", "stopping", "loss", "callbacks", "others", "random",
)  # fmt: skip


def _state_of(owner: Any) -> Any:
    if isinstance(owner, type) or not (hasattr(owner, "state_dict") and hasattr(owner, "load_state_dict")):
        return None
    return owner.state_dict()


# Ways back


def _attributes(*owners: Any) -> Callable[[], None]:
    """A function that gives objects the attributes, and dicts the items, that they have now."""
    places = [owner if isinstance(owner, dict) else getattr(owner, "__dict__", {}) for owner in owners]
    before = [dict(place) for place in places]

    def back() -> None:
        for place, items in zip(places, before):
            place.clear()
            place.update(items)

    return back


def _own_state(owner: Any) -> Callable[[], None]:
    """A function that gives an object the state back that it has now, and the attributes."""
    state, attributes = _copied(owner.state_dict()), _attributes(owner)

    def back() -> None:
        try:
            owner.load_state_dict(state)
        finally:
            attributes()

    return back


def _copied(value: Any) -> Any:
    if isinstance(value, (Tensor, *ARRAYS)):
        return plain(value).copy()
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    return type(value)(map(_copied, value)) if type(value) in (list, tuple) else value


def _with_inner(scheduler: LRScheduler) -> list[LRScheduler]:
    return [scheduler, *(inner for one in scheduler.schedulers for inner in _with_inner(one))]
