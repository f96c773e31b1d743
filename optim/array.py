"""The type of the arrays that optimisers compute with."""

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
"""NumPy's own, which they write into: narrower than what a Tensor may hold."""
