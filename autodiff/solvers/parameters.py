"""What the functions given to solvers share: which of their arguments are variables, and that they read no others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..mode import differentiating, no_grad
from ..ops.creation import array
from ..tensor import Tensor, is_foreign, wrap
from ..transforms.tree import flatten

Function = Callable[..., Any]


def gathered(f: Function) -> Function:
    """f whose lists of Tensors and numbers are vectors, as SciPy takes them."""

    def of_vectors(*args: Any) -> Any:
        y = f(*args)
        return array(y) if isinstance(y, (list, tuple)) else y

    return of_vectors


class Parameters:
    """The further arguments of a function, nested as they may be, as a list of floating-point variables.

    Attributes:
        values: the variables, arrays or Tensors.
    """

    def __init__(self, name: str, args: Any) -> None:
        self.name = name
        self._leaves, self._form = flatten(tuple(args) if isinstance(args, (tuple, list)) else (args,))
        self._places = [i for i, x in enumerate(self._leaves) if _floating(x)]
        self.values = [np.asarray(x) if isinstance(x, float) else x for x in (self._leaves[i] for i in self._places)]

    def args(self, values: Any) -> Any:
        """The arguments with these variables."""
        leaves = list(self._leaves)
        for i, x in zip(self._places, values):
            leaves[i] = x if isinstance(x, Tensor) else wrap(x)
        return self._form.build(leaves)

    def plain(self, values: Any) -> Any:
        """The arguments with the numbers of these variables, as constants."""
        return self.args([x.detach() if isinstance(x, Tensor) else x for x in values])

    def called(self, f: Function, *first: Any) -> Tensor:
        """What f gives at constants, a Tensor that depends on no variable.

        Raises:
            TypeError: f returns no Tensor, or reads one that requires a gradient beside its arguments, which would be
                lost.
        """
        with differentiating():
            y = f(*[wrap(np.asarray(x, np.float64)) for x in first], *self.plain(self.values))
        if not isinstance(y, Tensor):
            raise TypeError(
                f"{self.name}: the function returned {type(y).__name__}, not a Tensor; write it with operators and "
                f"NumPy functions of its arguments, ad.array([...]) in place of np.array([...])"
            )
        if y.dtype.kind == "c":
            raise TypeError(f"{self.name}: the function returned complex numbers; write real and imaginary parts")
        if y.requires_grad:
            raise TypeError(
                f"{self.name}: the function reads a Tensor that requires a gradient beside its arguments, and would "
                f"lose it; pass that in args=, or detached (t.detach())"
            )
        return y

    def numbers(self, f: Function, values: Any) -> Callable[..., Any]:
        """f as a function of arrays at these variables, for SciPy."""
        args = self.plain(values)

        def of_arrays(*first: Any) -> Any:
            with no_grad():
                return np.asarray(f(*[wrap(np.asarray(x, np.float64)) for x in first], *args)._ndarray, np.float64)

        return of_arrays


def _floating(x: Any) -> bool:
    if isinstance(x, (float, np.floating)):
        return True
    return (isinstance(x, (Tensor, np.ndarray)) or is_foreign(x)) and x.dtype.kind == "f"
