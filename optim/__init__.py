"""optim: optimisers with PyTorch's names and numbers, in order of increasing complexity.

Reading order: optimizer (what all share), sgd, adam.
"""

from .adam import Adam
from .optimizer import Optimizer
from .sgd import SGD

__all__ = ["SGD", "Adam", "Optimizer"]
