"""Special functions, as `scipy.special`: ``ad.special.erf(x)``."""

from .ops import special as _special
from .ops.fused import log_softmax, logsumexp, softmax
from .ops.special import *

__all__ = ["log_softmax", "logsumexp", "softmax"]
__all__ += _special.__all__
