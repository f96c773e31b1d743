"""Radial basis functions, the first half of an RBF network."""

from __future__ import annotations

from typing import Any

import numpy as np

import autodiff as ad
from autodiff import Tensor

from .arguments import as_tensor, floats, numbers
from .module.module import Module
from .module.parameter import Parameter
from .random import floating


class RBF(Module):
    """Gaussian bumps around given centres: φ_j(x) = exp(−‖x − c_j‖² / (2 w_j²)).

    Args:
        centres: c, shape (M, D); they are kept as a buffer and not learned.
        width: w at the start, one positive number or M of them; learned.
        dtype: of both; `nn.get_default_dtype()` by default.

    Shapes: input (..., D), output (..., M); `centres` (M, D), `width` (M,).

    Raises:
        TypeError, ValueError: for centres that are no matrix, widths that are not positive, and inputs of another D.

    Source: Broomhead and Lowe 1988.

    >>> import numpy as np, nn
    >>> model = nn.Sequential(nn.RBF(np.linspace(0, 1, 5)[:, None], width=0.2), nn.Linear(5, 1))
    >>> model(np.zeros((7, 1), "float32")).shape
    (7, 1)
    """

    centres: Tensor

    def __init__(self, centres: Any, width: Any = 1.0, *, dtype: Any = None) -> None:
        dtype = floating(dtype)
        centres = numbers("RBF", "centres", centres).numpy().astype(dtype)
        if centres.ndim != 2:
            raise ValueError(f"RBF: got centres of shape {centres.shape}, expects (M, D)")
        widths = numbers("RBF", "width", width).numpy().astype(dtype)
        if widths.shape not in ((), centres.shape[:1]) or not (widths > 0).all():
            raise ValueError(f"RBF: width is one positive number or {len(centres)}, one per centre, not {width!r}")
        self.register_buffer("centres", centres)
        self.width = Parameter(np.full(len(centres), widths, dtype))

    def forward(self, input: Any) -> Tensor:
        """The bumps' heights."""
        x, (m, d) = as_tensor(input), self.centres.shape
        if x.ndim == 0 or x.shape[-1] != d:
            raise ValueError(f"RBF({m} centres, {d} features): got input of shape {x.shape}, expects (..., {d})")
        floats("RBF", x, self.width)
        return ad.exp(-((x[..., None, :] - self.centres) ** 2).sum(axis=-1) / (2 * self.width**2))

    def extra_repr(self) -> str:
        return "{} centres, {} features".format(*self.centres.shape)
