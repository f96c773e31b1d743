"""Helpers around models: all parameters as one vector, gradients kept within bounds, weights of bounded spectral norm
or with a length of their own, and `rnn`, sequences of different lengths."""

from autodiff.clipping import clip_grad_norm_, clip_grad_value_

from . import rnn
from .parameters import parameters_to_vector, vector_to_parameters
from .reparameterization import spectral_norm, weight_norm

__all__ = [
    "clip_grad_norm_",
    "clip_grad_value_",
    "parameters_to_vector",
    "rnn",
    "spectral_norm",
    "vector_to_parameters",
    "weight_norm",
]
