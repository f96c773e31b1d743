"""Linear algebra, as `numpy.linalg`: ``ad.linalg.solve(a, b)``."""

from .ops import linalg as _linalg
from .ops import matrix_functions as _matrix_functions
from .ops import norms as _norms
from .ops.linalg import *
from .ops.matrix_functions import *
from .ops.norms import *
from .ops.products import matmul, tensordot, vecdot

__all__ = ["matmul", "tensordot", "vecdot"]
__all__ += _linalg.__all__
__all__ += _matrix_functions.__all__
__all__ += _norms.__all__
