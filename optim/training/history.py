"""The history of a training: losses and metrics by epoch, drawn, written, and read for what they say."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from autodiff.figures import axes_for, dotted, drawable, legend, line_style, note, note_unseen
from autodiff.lettering import families, shown_name
from autodiff.persistence.files import FilePath, open_file, replace_file
from autodiff.seeing.printable import printable
from autodiff.seeing.spreadsheets import comma_separated


@dataclass(frozen=True)
class Diagnosis:
    """What learning curves say.

    Attributes:
        kind: "diverging", "underfitting", "overfitting", "converged" or "improving".
        best_epoch: the epoch of the lowest validation (else training) loss, the first one being 1; 0 where no loss is
            a number.
        sentence: the same in words, with the numbers.
    """

    kind: str
    best_epoch: int
    sentence: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.sentence}"


class History:
    """Losses, metrics and learning rates by epoch: what `fit` returns.

    ``history["val_loss"]``, or ``history.val_loss``, is a list with a number for each epoch, and so is any column;
    ``len(history)`` is the number of epochs.

    Attributes:
        seconds: how long each epoch took (not part of `to_dict`, since no two runs agree in it).
        stopped: why training ended before its last epoch: "patience", "callback", "interrupted", or None.
        compiled: what `fit` compiled, and what ran as it is and why, as text; empty where nothing was to be compiled.

    >>> history = History.from_dict({"train_loss": [1.0, 0.5, 0.2], "val_loss": [1.1, 0.7, 0.8]})
    >>> history.best_epoch
    2
    >>> history.diagnose().kind
    'improving'
    >>> print(history.to_csv())
    epoch,train_loss,val_loss
    1,1.0,1.1
    2,0.5,0.7
    3,0.2,0.8
    <BLANKLINE>
    """

    def __init__(self) -> None:
        self._columns: dict[str, list[float]] = {}
        self.seconds: list[float] = []
        self.stopped: str | None = None
        self.compiled = ""

    @classmethod
    def from_dict(cls, columns: Mapping[str, Sequence[float]]) -> History:
        """A history of lists that you have.

        Args:
            columns: a list of numbers, one for each epoch, by name: "train_loss", "val_loss", and any others.

        Raises:
            TypeError: for anything but numbers.
            ValueError: for lists of different lengths.
        """
        if not isinstance(columns, Mapping):
            raise TypeError(f"History.from_dict: takes a dict of lists, not {type(columns).__name__}")
        history = cls()
        for name, values in columns.items():
            if not isinstance(name, str):
                raise TypeError(f"History.from_dict: names are strings, not {name!r}")
            try:
                history._columns[name] = [float(value) for value in values]
            except (TypeError, ValueError):
                raise TypeError(f"History.from_dict: {name!r} must be a list of numbers, not {values!r}") from None
        lengths = {name: len(values) for name, values in history._columns.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"History.from_dict: the lists have different lengths, {lengths}")
        return history

    def append(self, **values: float) -> None:
        """Add an epoch: a number for each column.

        Raises:
            ValueError: for other columns than those of the epochs before.
        """
        if len(self) and set(values) != set(self._columns):
            raise ValueError(f"History.append: needs {list(self._columns)}, got {list(values)}")
        for name, value in values.items():
            self._columns.setdefault(name, []).append(float(value))

    def cut(self, epochs: int) -> None:
        """Forget all epochs after so many."""
        short = min([epochs, *map(len, self._columns.values())])
        for values in (self.seconds, *self._columns.values()):
            del values[short:]
        if not short:
            self._columns.clear()

    # Reading

    def __len__(self) -> int:
        return len(next(iter(self._columns.values()), ()))

    def __bool__(self) -> bool:
        return True

    def __contains__(self, name: object) -> bool:
        return name in self._columns

    def keys(self) -> list[str]:
        """The names of the columns."""
        return list(self._columns)

    def __getitem__(self, name: str) -> list[float]:
        try:
            return self._columns[name]
        except KeyError:
            raise KeyError(f"the history has no {name!r}; it has {', '.join(self._columns) or 'no columns'}") from None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, History) and self._columns == other._columns

    def __getattr__(self, name: str) -> list[float]:
        columns = self.__dict__.get("_columns", {})  # which an object that is being copied has not yet
        if name in columns:
            found: list[float] = columns[name]
            return found
        raise AttributeError(f"the history has no {name!r}; it has {', '.join(columns) or 'no columns'}")

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *filter(str.isidentifier, self._columns)})

    @property
    def best_epoch(self) -> int:
        """The epoch of the lowest validation loss (training loss, if there is no other), the first one being 1; 0 where
        no loss is a number."""
        losses = [loss if not math.isnan(loss) else math.inf for loss in self.monitored]
        lowest = min(losses, default=math.inf)
        return losses.index(lowest) + 1 if lowest < math.inf else 0

    @property
    def monitored(self) -> list[float]:
        """The validation loss of each epoch; the training loss, if there is no other."""
        if "val_loss" not in self and "train_loss" not in self:
            raise ValueError(f"History: there is neither 'val_loss' nor 'train_loss', but {self.keys()}")
        return self["val_loss" if "val_loss" in self else "train_loss"]

    def diagnose(
        self,
        *,
        high: float = 0.5,
        gap: float = 0.1,
        rise: float = 0.1,
        plateau: float = 0.01,
        window: int = 5,
        scale: float | None = None,
    ) -> Diagnosis:
        """Read the learning curves. The first of these rules that holds gives the kind::

            diverging      a loss is NaN or infinite, or the last training loss is higher than the first
            underfitting   the last training and validation losses both exceed `high`
            overfitting    the best epoch is at least `window` epochs before the last, and either the last validation
                           loss exceeds the last training loss by more than `gap`, or it exceeds the lowest validation
                           loss by more than `rise`
            converged      over the last `window` epochs, the validation loss fell by less than `plateau`
            improving      otherwise

        Without validation losses the training losses stand for them, and there is no overfitting.

        Args:
            high, gap, rise, plateau: thresholds, in units of `scale`.
            window: a number of epochs. (The fall over five epochs is that between the first and the last of them.)
            scale: 1 by default if the first training loss lies between 0.1 and 10, which is what the thresholds are
                made for (the cross-entropy of a few classes begins there), otherwise that first loss. Give 1 for
                absolute thresholds, the first loss for relative ones.

        Raises:
            ValueError: for a history without epochs, or arguments out of range.

        >>> History.from_dict({"train_loss": [100.0, 144.0, 207.4]}).diagnose().sentence
        'The training loss rose from 100 to 207.4: the learning rate may be too high.'
        """
        if not len(self) or "train_loss" not in self:
            raise ValueError(f"History.diagnose: needs the training loss of an epoch at least; there is {self.keys()}")
        if isinstance(window, bool) or not isinstance(window, (int, np.integer)) or window < 2:
            raise ValueError(f"History.diagnose: window is a number of epochs, at least 2, not {window!r}")
        for name, threshold in dict(high=high, gap=gap, rise=rise, plateau=plateau).items():
            if not isinstance(threshold, (int, float, np.number)) or not threshold >= 0:
                raise ValueError(f"History.diagnose: {name} must be a number of at least 0, not {threshold!r}")
        train, best = self["train_loss"], self.best_epoch
        validated = "val_loss" in self
        val, which = (self["val_loss"], "validation") if validated else (train, "training")
        for name, losses in (("training", train), (which, val)):
            wrong = next((i for i, loss in enumerate(losses) if not math.isfinite(loss)), None)
            if wrong is not None:
                sentence = (
                    f"The {name} loss is {losses[wrong]} in epoch {wrong + 1}: the learning rate may be too high."
                )
                return Diagnosis("diverging", best, sentence)
        if scale is None:
            size = abs(train[0])
            scale = 1.0 if 0.1 <= size <= 10 or not size else size
        elif not 0 < scale < math.inf:
            raise ValueError(f"History.diagnose: scale must be a positive number, not {scale!r}")
        if train[-1] > train[0]:
            sentence = (
                f"The training loss rose from {train[0]:.4g} to {train[-1]:.4g}: the learning rate may be too high."
            )
            return Diagnosis("diverging", best, sentence)
        if train[-1] > high * scale and val[-1] > high * scale:
            both = f"and the validation loss ({val[-1]:.4g}) are" if validated else "is"
            sentence = (
                f"The training loss ({train[-1]:.4g}) {both} still high: a larger model or more training may help."
            )
            return Diagnosis("underfitting", best, sentence)
        if validated and best < len(self) - window + 1:
            apart, above = val[-1] - train[-1], val[-1] - val[best - 1]
            if apart > gap * scale or above > rise * scale:
                sentence = (
                    f"The validation loss was lowest in epoch {best} ({val[best - 1]:.4g}) and is {val[-1]:.4g} now, "
                    f"with a training loss of {train[-1]:.4g}: stop earlier, or regularise."
                )
                return Diagnosis("overfitting", best, sentence)
        if len(self) >= window and (fall := val[-window] - val[-1]) < plateau * scale:
            how = f"fell by {fall:.2g} only" if fall > 0 else "did not fall"
            sentence = (
                f"The {which} loss {how} over the last {window} epochs (it is {val[-1]:.4g}): training has plateaued."
            )
            return Diagnosis("converged", best, sentence)
        return Diagnosis("improving", best, f"The {which} loss is still falling ({val[-1]:.4g}): train on.")

    # Writing

    def to_dict(self) -> dict[str, list[float]]:
        """The columns, copied."""
        return {name: list(values) for name, values in self._columns.items()}

    def to_csv(self, path: FilePath | None = None) -> str:
        """A table with a line for each epoch, as text; written to a file too, if one is given. Names that a spreadsheet
        would take for formulas get an apostrophe before them."""
        rows = ([str(i), *map(repr, row)] for i, row in enumerate(zip(*self._columns.values()), 1))
        return _written(comma_separated([["epoch", *self._columns], *rows]), path)

    def to_json(self, path: FilePath | None = None) -> str:
        """The columns as JSON, every digit kept; written to a file too, if one is given. NaN and infinity, which JSON
        lacks, are the texts "nan", "inf" and "-inf"."""
        columns = {
            name: [value if math.isfinite(value) else str(value) for value in values]
            for name, values in self._columns.items()
        }
        return _written(json.dumps(columns), path)

    @classmethod
    def from_json(cls, source: FilePath) -> History:
        """What `to_json` wrote: the text itself, or the path of a file.

        Raises:
            ValueError: if it is something else.
        """
        is_text = isinstance(source, str) and source.lstrip().startswith("{")
        if is_text:
            text = str(source).encode(errors="surrogatepass")
        else:
            with open_file(source) as file:
                text = file.read()
        try:
            return cls.from_dict(json.loads(text.decode()))
        except (ValueError, TypeError, RecursionError) as error:
            raise ValueError(f"History.from_json: not what to_json wrote: {error}") from None

    def plot(self, *names: str | Sequence[str], ax: Any = None, label: str | None = None) -> Any:
        """Draw columns over the epochs, and where the validation loss is lowest.

        Args:
            names: "loss" (the default) for "train_loss" and "val_loss", so any metric; or a column's full name. A list
                of names will do, too.
            ax: matplotlib axes to draw into; new ones by default.
            label: what the training is called in the legend, beside others in the same axes.

        Returns:
            the axes.

        Raises:
            TypeError: for anything but names.
            ValueError: for a name that is not there.
            ImportError: without matplotlib.
        """
        there = ", ".join(self._columns) or "no columns"
        wanted = [n for given in names for n in (given if isinstance(given, (list, tuple)) else [given])] or ["loss"]
        chosen: dict[str, int] = {}  # columns of one metric look alike but for the dashes
        for i, name in enumerate(wanted):
            if not isinstance(name, str):
                raise TypeError(
                    f"History.plot: takes names, such as history.plot('loss'), not {name!r}; there are {there}"
                )
            found = [c for c in (f"train_{name}", f"val_{name}", name) if c in self._columns]
            if not found:
                raise ValueError(f"History.plot: there is no {name!r}; there are {there}")
            chosen |= {column: chosen.get(column, i) for column in found}
        beside = ax is None and len(chosen) > 6
        ax = axes_for("History.plot", ax)
        epochs, before = range(1, len(self) + 1), 0 if label is None else len(ax.lines)
        named = "" if label is None else f"{label}: "
        several, gap = len(set(chosen.values())) > 1, max(1, len(self) // 10)
        for name, i in chosen.items():
            kind, _, rest = name.partition("_")
            dashes, curve = {"train": ("-", f"training {rest}"), "val": ("--", f"validation {rest}")}.get(
                kind, ("-", name)
            )
            values = drawable(self[name])
            style = line_style(before + (i if several else int(kind == "val")), marker=several or dotted(values))
            style |= {"linestyle": dashes, "markevery": 1 if dotted(values) else gap}
            (line,) = ax.plot(epochs, values, **style, label=shown_name(named + curve.replace("_", " "), 60))
            if name == "val_loss":
                color = "0.6" if label is None else line.get_color()
        if len(self):
            note_unseen(ax, [self[name] for name in chosen])
        else:
            note(ax, "no epoch yet")
        if "val_loss" in chosen and self.best_epoch:
            best = shown_name(f"{named}best epoch, {self.best_epoch}", 60)
            ax.axvline(self.best_epoch, color=color, linewidth=1, linestyle=":", zorder=0, label=best)
        ax.set_xlabel("epoch")
        ax.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        metrics = list(dict.fromkeys(n.removeprefix("train_").removeprefix("val_") for n in chosen))
        ax.set_ylabel(" and ".join(map(shown_name, metrics)) if len(metrics) < 4 else "", family=families(metrics))
        legend(ax, beside)
        return ax

    def __repr__(self) -> str:
        last = [f"{printable(name)} {values[-1]:.6g}" for name, values in self._columns.items() if values]
        shown = ", ".join(last if len(last) <= _SHOWN else [*last[:_SHOWN], f"… {len(last) - _SHOWN} more columns"])
        return f"History({len(self)} epoch{'s' * (len(self) != 1)}{': ' if shown else ''}{shown})"


_SHOWN = 8  # columns in a representation


def _written(text: str, path: FilePath | None) -> str:
    if path is not None:
        replace_file(path, lambda file: file.write(text.encode()))
    return text
