"""Linear algebra, as `numpy.linalg`: ``ad.linalg.solve(a, b)``."""

from .ops.linalg import *  # noqa: F403
from .ops.linalg import __all__ as __all__
