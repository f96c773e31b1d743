"""What the side panel of a page says of an array: shape, dtype, range, moments, histogram, and all values of a few.

Minimum, maximum, mean and standard deviation are those of all values, the last two computed in float64.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..batching.batch import laid_out
from ..devices import as_numpy

BINS = 24
ALL = 24
"""Up to this many values are shown one by one, with four figures and, where those are not all, with all of them."""

SAMPLE = 20_000
"""A histogram of more values takes every k-th of them, and says so."""


def described(array: Any) -> dict[str, Any]:
    """An array in numbers, as text that tells neighbouring floats apart.

    >>> found = described(np.array([1.0, 2.0, 4.0]))
    >>> found["min"], found["max"], found["mean"]
    ('1.0', '4.0', '2.3333333333333335')
    """
    array = as_numpy(laid_out(array))
    found: dict[str, Any] = {"shape": str(array.shape), "dtype": str(array.dtype)}
    if array.size <= ALL:
        found["values"] = _listed(array, formatter={"float_kind": lambda value: f"{value:.4g}"})
        if array.dtype.kind == "f" and any(array.dtype.type(f"{v:.4g}") != v == v for v in array.ravel()):
            found["digits"] = _listed(array, floatmode="unique")
    if array.size < 2:
        return found
    if array.dtype.kind == "b":
        return found | {"true": f"{np.count_nonzero(array):,} of {array.size:,}"}
    if array.dtype.kind not in "iuf":
        return found
    with np.errstate(all="ignore"):
        low, high = array.min(), array.max()
        found |= {"min": str(low), "max": str(high)}
        found |= {"mean": str(array.mean(dtype=np.float64)), "std": str(array.std(dtype=np.float64))}
    finite = array.ravel()
    if not (np.isfinite(low) and np.isfinite(high)):
        found |= {"NaN": f"{np.count_nonzero(np.isnan(array)):,}", "infinite": f"{np.count_nonzero(np.isinf(array)):,}"}
        finite = finite[np.isfinite(finite)]
    return found | _histogram(finite)


def _listed(array: Any, **options: Any) -> str:
    return np.array2string(array, max_line_width=44, separator=", ", **options)


def _histogram(values: Any) -> dict[str, Any]:
    step = -(-values.size // SAMPLE) or 1
    sample = np.asarray(values[::step], np.float64)
    if not sample.size:
        return {}
    try:
        counts, edges = np.histogram(sample, BINS)
    except ValueError:  # the range is too wide, or too narrow to be divided
        return {}
    found = {"counts": counts.tolist(), "from": f"{edges[0]:.4g}", "to": f"{edges[-1]:.4g}"}
    return found | ({"every": step} if step > 1 else {})
