"""autodiff: reverse-mode automatic differentiation of NumPy programs, to any order, in the open."""

from types import SimpleNamespace as _Namespace

from . import methods as _methods
from . import ops as _ops
from .backward import backward as _backward
from .backward import gradients
from .mode import enable_grad, is_grad_enabled, no_grad
from .primitive import primitive
from .tensor import Tensor

_methods.bind(_Namespace(**vars(_ops), backward=_backward))
tensor = Tensor
from .ops import *
