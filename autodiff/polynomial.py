"""Series of polynomials, as `numpy.polynomial`: ``ad.polynomial.chebval(x, c)``."""

from .ops import series as _series
from .ops.series import *

__all__: list[str] = []
__all__ += _series.__all__
