"""Leaving the graph: where a tensor that carries a derivative may become a plain number or array, and what everybody
else is told.

It leaves where the user says so: `Tensor.item`, `numpy`, `tolist`, `data`, `detach`, or under `no_grad`. NumPy, SciPy
and Python's own functions ask by ``__array__``, ``__float__`` and ``__int__``; `refuse` answers them. Only ``float(t)``
and ``int(t)``, written as such, and formatting get their number, and not where a derivative of what runs is taken.

Order: whose line it is, how a call was written, what is said.
"""

from __future__ import annotations

import dis
import linecache
import os
import sys
import warnings
from types import CodeType, FrameType
from typing import Any

from .mode import derivative_is_taken, is_grad_enabled


class DetachWarning(UserWarning):
    """A tensor that requires a gradient became a number, and it cannot be told whether the user wrote ``float(t)``,
    because Python runs without the positions of the code (``-X no_debug_ranges``)."""


# Whose line it is

_HERE = os.path.dirname(os.path.abspath(__file__))
_OURS = tuple(os.path.join(os.path.dirname(_HERE), name) + os.sep for name in ("autodiff", "nn", "optim"))
_foreign: dict[str, bool] = {}


def _is_users(filename: str) -> bool:
    known = _foreign.get(filename)
    if known is None:
        libraries = [sys.modules[name].__file__ for name in ("numpy", "scipy") if name in sys.modules]
        inside = (*_OURS, *(os.path.dirname(str(file)) + os.sep for file in libraries))
        internal = filename.startswith(("<__array_function__", "<frozen "))
        known = not internal and not os.path.abspath(filename).startswith(inside)
        if not filename.startswith("<"):
            _foreign[filename] = known
    return known


def user_line() -> str | None:
    """The line now running in the first frame outside this project's packages, NumPy and SciPy: 'file:line: source'."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and not _is_users(frame.f_code.co_filename):
        frame = frame.f_back
    if frame is None:
        return None
    filename, number = frame.f_code.co_filename, frame.f_lineno
    source = linecache.getline(filename, number, frame.f_globals).strip()
    return f"{filename}:{number}: {source}" if source else f"{filename}:{number}"


def _asked_by() -> str:
    """The function of a library that the user's code called, '' where there is none to be seen."""
    frame: FrameType | None = sys._getframe(2)
    name = ""
    while frame is not None and not _is_users(frame.f_code.co_filename):
        module = frame.f_globals.get("__name__", "")
        if not module.startswith("autodiff"):
            wrapped = frame.f_locals.get("f") if frame.f_code.co_name == "wrapper" else None
            function = getattr(wrapped, "__name__", frame.f_code.co_qualname.removesuffix(".__init__"))
            if not function.startswith(("_", "<")):
                parts = [part for part in getattr(wrapped, "__module__", module).split(".") if part[0] != "_"]
                if parts[0] == "numpy" and parts[1:2] != ["linalg"] and parts[1:2] != ["fft"]:
                    parts = ["numpy"]
                name = ".".join([*parts, function.split(".")[0]])
            elif module.startswith("scipy.sparse"):
                name = name or "scipy.sparse"
        frame = frame.f_back
    return name.replace("numpy.", "np.", 1) if name.startswith("numpy.") else name


# How the call was written

_written: dict[tuple[CodeType, int], str] = {}
"""By place in the code (the latest few hundred): which of `float`, `int`, "%" the instruction there is, or ''."""


def _instruction(code: CodeType, offset: int) -> str | None:
    """What the instruction at this offset is: a call of the name `float` or `int`, the operator % (formatting, or it
    would not have asked for a number), something else (''), or None where the code has no positions."""
    key = code, offset
    known = _written.get(key)
    if known is not None:
        return known
    positions = list(code.co_positions())
    start = positions[offset // 2][::2]  # line and column: a call begins where the name of its function stands
    if None in start:
        return None
    found = ""
    for instruction in dis.get_instructions(code):
        if instruction.offset == offset and instruction.opname == "BINARY_OP" and instruction.argrepr in ("%", "%="):
            found = "%"
        elif instruction.opname.startswith("LOAD_") and instruction.argval in ("float", "int"):
            line, _, column, _ = positions[instruction.offset // 2]
            if (line, column) == start and instruction.offset < offset:
                found = instruction.argval
    if len(_written) > 500:
        _written.clear()
    _written[key] = found
    return found


# What is said


def refuse(tensor: Any, kind: str) -> None:
    """Raise unless this tensor, which requires a gradient, may leave the graph here.

    Args:
        tensor: the Tensor.
        kind: "array", "float", "int" or "complex": what is asked for.

    Raises:
        TypeError: naming the user's line, who asked, and what to write instead.
    """
    if not is_grad_enabled():
        return
    taken = derivative_is_taken()
    if not taken and kind in ("float", "int"):
        frame = sys._getframe(2)
        written = _instruction(frame.f_code, frame.f_lasti)
        if written == kind or written == "%":
            return
        if written is None:
            warnings.warn(
                f"{kind}() of a tensor that requires a gradient; write t.item(), which says that the derivative ends "
                f"here",
                DetachWarning,
                stacklevel=3,
            )
            return
    raise TypeError(message(tensor, kind, taken))


def message(tensor: Any, kind: str, taken: bool) -> str:
    """The text of the error."""
    name = f" {tensor.name!r}" if tensor.name else ""
    made = f"shape {tensor.shape}" + (f", made by {tensor.op}" if tensor.op else "")
    asker = _asked_by()
    by = f"{asker} has no rule for Tensors and asks for a plain {kind}" if asker else f"a plain {kind} is asked for"
    where = " where a derivative of it is taken" if taken else ""
    return (
        f"{by} in place of a tensor{name} ({made}) that requires a gradient{where}; the derivative would be lost "
        f"without a word. {_remedy(asker, kind)}{_line()}"
    )


def _line() -> str:
    line = user_line()
    return f"\n  {line}" if line else ""


_OUT = "Where no gradient is wanted, say so: t.item(), t.numpy(), t.tolist(), t.detach(), or do it inside ad.no_grad()."


def _remedy(asker: str, kind: str) -> str:
    """What to write instead."""
    if asker.startswith("scipy.sparse"):
        return f"Write ad.sparse_matmul(A, t) for the product of a sparse matrix and a Tensor. {_OUT}"
    if asker in INSTEAD:
        return f"Write {INSTEAD[asker]}. {_OUT}"
    if kind == "array":
        return (
            "Write ad.array([[t, 0.0], [u, v]]) to build a tensor from Tensors and numbers, NumPy functions listed in "
            f"autodiff, or an operation of your own with ad.primitive. {_OUT}"
        )
    return (
        "Write np.sin(t) in place of math.sin(t), a = a.at[i].set(t) in place of a[i] = t, ad.array([t, u]) to build "
        f"a tensor. {_OUT}"
    )


_SHAPED = "ad.stack([f(row) for row in t]), a loop whose results are joined"
INSTEAD = {
    "np.vectorize": "the function itself with NumPy operations, or ad.stack([f(v) for v in t])",
    "np.apply_along_axis": _SHAPED,
    "np.apply_over_axes": "the reduction with several axes, t.sum(axis=(0, 1))",
    "np.piecewise": "np.where(condition, a, b), or ad.select",
    "np.fill_diagonal": "a = a.at[np.diag_indices(n)].set(t)",
    "np.copyto": "a = a.at[...].set(t)",
    "np.put": "a = a.at[i].set(t)",
    "np.place": "a = np.where(mask, t, a)",
    "np.putmask": "a = np.where(mask, t, a)",
    "np.put_along_axis": "a = a.at[np.take_along_axis's indices].set(t)",
    "np.fromiter": "ad.array(list)",
    "np.frompyfunc": "the function itself with NumPy operations, or ad.primitive",
    "np.block": "ad.concatenate of ad.concatenate",
    "np.trapezoid": "((y[1:] + y[:-1]) / 2 * np.diff(x)).sum()",
    "np.interp": "ad.where and indexing with np.searchsorted of the values",
    "scipy.integrate.trapezoid": "((y[1:] + y[:-1]) / 2 * np.diff(x)).sum()",
    "scipy.special.logsumexp": "ad.logsumexp(t)",
    "scipy.special.softmax": "ad.softmax(t)",
    "scipy.special.log_softmax": "ad.log_softmax(t)",
    "scipy.linalg.solve": "ad.linalg.solve(a, b)",
    "scipy.linalg.inv": "ad.linalg.inv(a)",
    "scipy.linalg.det": "ad.linalg.det(a)",
    "scipy.linalg.cholesky": "ad.linalg.cholesky(a) (lower), transposed for the upper factor",
    "scipy.linalg.eigh": "ad.linalg.eigh(a)",
    "scipy.linalg.eigvalsh": "ad.linalg.eigvalsh(a)",
    "scipy.linalg.svd": "ad.linalg.svd(a)",
    "scipy.linalg.svdvals": "ad.linalg.svdvals(a)",
    "scipy.linalg.qr": "ad.linalg.qr(a)",
    "scipy.linalg.norm": "ad.linalg.norm(a)",
    "scipy.linalg.pinv": "ad.linalg.pinv(a)",
    "scipy.linalg.lstsq": "ad.linalg.lstsq(a, b)",
    "scipy.linalg.solve_triangular": "ad.linalg.solve_triangular(a, b)",
    "scipy.linalg.expm": "ad.linalg.funm_sym(a, np.exp) if a is symmetric",
    "scipy.linalg.sqrtm": "ad.linalg.funm_sym(a, np.sqrt) if a is symmetric",
    "scipy.linalg.logm": "ad.linalg.funm_sym(a, np.log) if a is symmetric",
    "scipy.special.zeta": "an operation of your own with ad.primitive",
}  # fmt: skip
"""By function of NumPy or SciPy that has no rule: what to write instead."""
