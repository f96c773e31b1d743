"""How far a training is: a bar (tqdm) on a terminal or in a notebook, a plain line for each epoch anywhere else."""

from __future__ import annotations

import importlib.util
import sys
import time
from operator import length_hint
from typing import Any


class Progress:
    """What a training shows on stderr.

    Args:
        shown: True, False, or None: only where stderr is a terminal.
        batches: of an epoch, with a length or without.
        epochs: how many there will be.
        done: how many there are already.

    Raises:
        ImportError: if a bar was asked for and tqdm is missing.
    """

    def __init__(self, shown: bool | None, batches: Any, epochs: int, done: int) -> None:
        terminal = sys.stderr is not None and sys.stderr.isatty()
        self.epochs, self.lines = epochs, False
        self.bar: Any = None
        if not (terminal if shown is None else shown):
            return
        if not terminal and not _widgets():
            self.lines = True
            return
        try:
            from tqdm.auto import tqdm
        except ImportError as error:
            if shown:
                raise ImportError("fit: progress=True needs tqdm: pip install tqdm") from error
            return
        count = length_hint(batches)
        self.bar = tqdm(total=count * epochs or None, initial=count * done, unit="batch")

    def begin(self, epoch: int) -> None:
        """An epoch begins."""
        self.epoch, self.start = epoch, time.perf_counter()
        if self.bar is not None:
            self.bar.set_description(f"epoch {epoch}/{self.epochs}", refresh=False)

    def batch(self) -> None:
        """A batch is done."""
        if self.bar is not None:
            self.bar.update()

    def end(self, row: dict[str, float]) -> None:
        """An epoch is done, with these results."""
        if self.bar is not None:
            self.bar.set_postfix({name: f"{value:.4g}" for name, value in row.items()})
        elif self.lines:
            results = ", ".join(f"{name} {value:.4g}" for name, value in row.items())
            seconds = time.perf_counter() - self.start
            print(f"epoch {self.epoch}/{self.epochs}: {results} ({seconds:.3g} s)", file=sys.stderr, flush=True)

    def close(self) -> None:
        """There will be nothing more."""
        if self.bar is not None:
            self.bar.close()


def _widgets() -> bool:
    """Whether this is a notebook that can show the bar."""
    shell = sys.modules.get("IPython")
    kernel = shell is not None and hasattr(shell.get_ipython(), "kernel")
    return kernel and all(importlib.util.find_spec(name) is not None for name in ("ipywidgets", "tqdm"))
