"""Special functions, as `scipy.special`: ``ad.special.erf(x)``."""

from .ops import bessel as _bessel
from .ops import exponential_sums as _exponential_sums
from .ops import gamma as _gamma
from .ops import hypergeometric as _hypergeometric
from .ops import integrals as _integrals
from .ops import powers as _powers
from .ops import special as _special
from .ops import student as _student
from .ops.bessel import *
from .ops.elementwise import expm1, log1p
from .ops.exponential_sums import *
from .ops.gamma import *
from .ops.gamma import digamma as psi
from .ops.hypergeometric import *
from .ops.integrals import *
from .ops.powers import *
from .ops.special import *
from .ops.student import *

__all__ = ["expm1", "log1p", "psi"]
__all__ += _special.__all__
__all__ += _gamma.__all__
__all__ += _student.__all__
__all__ += _hypergeometric.__all__
__all__ += _bessel.__all__
__all__ += _integrals.__all__
__all__ += _powers.__all__
__all__ += _exponential_sums.__all__
