"""Special functions, as `scipy.special`: ``ad.special.erf(x)``."""

from .ops.special import *
from .ops.special import __all__ as __all__
