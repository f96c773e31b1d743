"""The operations, one record each, sorted by family: elementwise, shape, reductions, products.

Reading order: guards and samples (what declarations share), then the families; each file is a table of derivatives.
"""

from .elementwise import *  # noqa: F403
from .shape import *  # noqa: F403
from .reductions import *  # noqa: F403
from .products import *  # noqa: F403
