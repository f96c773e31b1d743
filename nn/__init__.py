"""nn: layers, activations and losses on autodiff, with PyTorch's names, argument order and state_dict keys.

Reading order: module, parameter and random (what all layers share), then linear, activation, loss, container.
"""

from . import functional
from .activation import ReLU, Sigmoid, Tanh
from .container import Sequential
from .linear import Linear
from .loss import CrossEntropyLoss, MSELoss
from .module import Module
from .parameter import Parameter
from .random import get_default_dtype, get_rng_state, manual_seed, set_default_dtype, set_rng_state

__all__ = [
    "CrossEntropyLoss", "Linear", "MSELoss", "Module", "Parameter", "ReLU", "Sequential", "Sigmoid", "Tanh",
    "functional", "get_default_dtype", "get_rng_state", "manual_seed", "set_default_dtype", "set_rng_state",
]  # fmt: skip
