"""Activations, each as a function and as a module, by family.

Reading order: base (what they share), piecewise (ReLU and its kin, steps), exponential (sigmoid, ELU and their kin),
gated (GELU, SiLU, Mish, GLU), softmaxes, periodic; derivative (of any of them, for figures and reports).
"""

from .exponential import (
    CELU,
    ELU,
    SELU,
    LogSigmoid,
    Sigmoid,
    Softplus,
    Softsign,
    Tanh,
    celu,
    elu,
    logsigmoid,
    selu,
    sigmoid,
    softplus,
    softsign,
    tanh,
)
from .gated import GELU, GLU, Mish, SiLU, gelu, glu, mish, silu
from .periodic import Sine, Snake, TriangleWave, sine, snake, triangle_wave
from .piecewise import (
    Hardshrink,
    Hardsigmoid,
    Hardswish,
    Hardtanh,
    LeakyReLU,
    PReLU,
    ReLU,
    ReLU6,
    Sign,
    Softshrink,
    Step,
    hardshrink,
    hardsigmoid,
    hardswish,
    hardtanh,
    leaky_relu,
    prelu,
    relu,
    relu6,
    sign,
    softshrink,
    step,
)
from .softmaxes import LogSoftmax, Softmax, Softmin, log_softmax, softmax, softmin

__all__ = [
    "CELU", "ELU", "GELU", "GLU", "SELU", "Hardshrink", "Hardsigmoid", "Hardswish", "Hardtanh", "LeakyReLU",
    "LogSigmoid", "LogSoftmax", "Mish", "PReLU", "ReLU", "ReLU6", "SiLU", "Sigmoid", "Sign", "Sine", "Snake",
    "Softmax", "Softmin", "Softplus", "Softshrink", "Softsign", "Step", "Tanh", "TriangleWave", "celu", "elu",
    "gelu", "glu", "hardshrink", "hardsigmoid", "hardswish", "hardtanh", "leaky_relu", "log_softmax", "logsigmoid",
    "mish", "prelu", "relu", "relu6", "selu", "sigmoid", "sign", "silu", "sine", "snake", "softmax", "softmin",
    "softplus", "softshrink", "softsign", "step", "tanh", "triangle_wave",
]  # fmt: skip
