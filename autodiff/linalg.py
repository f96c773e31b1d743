"""Linear algebra, as `numpy.linalg` and `scipy.linalg`: ``ad.linalg.solve(a, b)``."""

from .ops import linalg as _linalg
from .ops import matrix_equations as _matrix_equations
from .ops import matrix_functions as _matrix_functions
from .ops import norms as _norms
from .ops import primary_functions as _primary_functions
from .ops import structured as _structured
from .ops.linalg import *
from .ops.matrix_equations import *
from .ops.matrix_functions import *
from .ops.norms import *
from .ops.primary_functions import *
from .ops.products import matmul, tensordot, vecdot
from .ops.structured import *

__all__ = ["matmul", "tensordot", "vecdot"]
__all__ += _linalg.__all__
__all__ += _matrix_functions.__all__
__all__ += _norms.__all__
__all__ += _primary_functions.__all__
__all__ += _matrix_equations.__all__
__all__ += _structured.__all__
