"""autodiff: reverse-mode automatic differentiation of NumPy programs, to any order, with every step in sight.

A `Tensor` is an array that remembers how it was computed. NumPy's functions work on it and record a graph; `backward`
and `gradients` walk the graph; the transforms (`grad`, `jacobian`, `hvp` …) do both for functions; `graph` draws it.

Of functions:  grad value_and_grad jacobian hessian hvp vjp jvp elementwise_grad gauss_newton_vp vmap stop_gradient
Of Tensors:    Tensor array gradients no_grad enable_grad is_grad_enabled checkpoint, and t.backward(), t.grad
Programs:      compile scan cond while_loop keep_memory
Pictures:      graph explain walk
Checks:        gradcheck gradgradcheck detect_anomaly record_lines
Files:         save load
Operations:    NumPy's names, np.exp(t) or ad.exp(t), and relu sigmoid softplus softmax log_softmax logsumexp
               cross_entropy sparse_matmul; your own with primitive and Multiplication
As SciPy's:    ad.special ad.linalg ad.fft ad.signal ad.ndimage ad.stats ad.solvers (help(ad.stats) and so on)
And:           ad.curvature ad.polynomial ad.random; import nn for networks, import optim for optimisers and minimize
"""

import os as _os
from importlib import import_module as _import_module
from types import SimpleNamespace as _Namespace
from typing import TYPE_CHECKING as _TYPE_CHECKING

from . import backward as _backward
from . import fft as fft
from . import linalg as linalg
from . import methods as _methods
from . import polynomial as polynomial
from . import signal as signal
from . import special as special
from .backward import gradients as gradients
from .checking.anomaly import AnomalyError as AnomalyError
from .checking.anomaly import detect_anomaly as detect_anomaly
from .checking.anomaly import record_lines as record_lines
from .checking.gradcheck import GradientCheckError as GradientCheckError
from .checking.gradcheck import gradcheck as gradcheck
from .checking.gradcheck import gradgradcheck as gradgradcheck
from .elsewhere import no_name as _no_name
from .leaving import DetachWarning as DetachWarning
from .mode import enable_grad as enable_grad
from .mode import is_grad_enabled as is_grad_enabled
from .mode import no_grad as no_grad
from .ops.bessel import i0 as i0
from .ops.complex import *
from .ops.creation import *
from .ops.elementwise import *
from .ops.fused import *
from .ops.index_tricks import *
from .ops.indexing import *
from .ops.indexing import at as _at
from .ops.indexing import getitem as _getitem
from .ops.mapping import *
from .ops.polynomials import *
from .ops.products import *
from .ops.reductions import *
from .ops.sampled import *
from .ops.shape import *
from .ops.sparse import *
from .ops.statistics import *
from .ops.transfer import transfer as _transfer
from .persistence.saving import load as load
from .persistence.saving import save as save
from .primitive import Multiplication as Multiplication
from .primitive import primitive as primitive
from .tensor import Tensor as Tensor
from .transforms.checkpoint import checkpoint as checkpoint
from .transforms.control import cond as cond
from .transforms.control import scan as scan
from .transforms.control import while_loop as while_loop
from .transforms.functional import elementwise_grad as elementwise_grad
from .transforms.functional import gauss_newton_vp as gauss_newton_vp
from .transforms.functional import grad as grad
from .transforms.functional import hessian as hessian
from .transforms.functional import hvp as hvp
from .transforms.functional import jacobian as jacobian
from .transforms.functional import jvp as jvp
from .transforms.functional import value_and_grad as value_and_grad
from .transforms.functional import vjp as vjp
from .transforms.stop_gradient import stop_gradient as stop_gradient
from .transforms.vmap import vmap as vmap

if _TYPE_CHECKING:
    from . import curvature as curvature
    from . import ndimage as ndimage
    from . import random as random
    from . import solvers as solvers
    from . import stats as stats
    from .compiling.compile import compile as compile
    from .memory import keep_memory as keep_memory
    from .seeing.explain import explain as explain
    from .seeing.graph import graph as graph
    from .seeing.graph import walk as walk

tensor = Tensor

_methods.bind(_Namespace(**globals() | {"backward": _backward.backward}, getitem=_getitem, at=_at, transfer=_transfer))


# Imported by their first use, because not every program uses them: SciPy and numpy.random, which two of them need, take
# longer to import than all the rest, and pictures a third of the rest.
_LATER = {
    "curvature": ("curvature", None),
    "ndimage": ("ndimage", None),
    "random": ("random", None),
    "solvers": ("solvers", None),
    "stats": ("stats", None),
    "compile": ("compiling.compile", "compile"),
    "keep_memory": ("memory", "keep_memory"),
    "explain": ("seeing.explain", "explain"),
    "graph": ("seeing.graph", "graph"),
    "walk": ("seeing.graph", "walk"),
}


_ROOMS = ("fft", "linalg", "polynomial", "signal", "special")
__all__ = sorted(
    {*(name for name, it in globals().items() if name[0] != "_" and not isinstance(it, type(_os))), *_ROOMS, *_LATER}
)


def __getattr__(name: str) -> object:
    if name not in _LATER:
        raise AttributeError(_no_name(__name__, name, {room: globals()[room] for room in _ROOMS}))
    module, attribute = _LATER[name]
    found = _import_module(f".{module}", __name__)
    globals()[name] = found = found if attribute is None else getattr(found, attribute)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER})


if _os.environ.get("AUTODIFF_KEEP_MEMORY", "0") not in ("", "0"):
    _import_module(".memory", __name__).keep_memory()
