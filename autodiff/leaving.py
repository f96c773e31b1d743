"""Leaving the graph: where a tensor that carries a derivative may become a plain number or array, and what everybody
else is told.

It leaves where the user says so: `Tensor.item`, `numpy`, `tolist`, `data`, `detach`, or under `no_grad`. NumPy, SciPy
and Python's own functions ask by ``__array__``, ``__float__`` and ``__int__``; `refuse` answers them. Only ``float(t)``
and ``int(t)``, written as such outside a library that computes, and formatting get their number, and not where a
derivative of what runs is taken.

Order: whose line it is, how a call was written, what is said.
"""

from __future__ import annotations

import dis
import linecache
import os
import sys
import warnings
from itertools import takewhile
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


def is_users_file(filename: str) -> bool:
    """Whether code of this file is the user's: of none of this project's packages, NumPy, SciPy and pandas."""
    known = _foreign.get(filename)
    if known is None:
        libraries = [sys.modules[name].__file__ for name in ("numpy", "scipy", "pandas") if name in sys.modules]
        inside = (*_OURS, *(os.path.dirname(str(file)) + os.sep for file in libraries))
        internal = filename.startswith(("<__array_function__", "<frozen "))
        known = not internal and not os.path.abspath(filename).startswith(inside)
        if not filename.startswith("<"):
            _foreign[filename] = known
    return known


def user_place() -> tuple[str, int] | None:
    """File and number of the line now running in the first frame outside this project's packages, NumPy, SciPy and
    pandas."""
    frame = _user_frame()
    return None if frame is None else (frame.f_code.co_filename, frame.f_lineno)


def user_line() -> str | None:
    """That line as 'file:line: source'."""
    frame = _user_frame()
    if frame is None:
        return None
    filename, number = frame.f_code.co_filename, frame.f_lineno
    source = linecache.getline(filename, number, frame.f_globals).strip()
    return f"{filename}:{number}: {source}" if source else f"{filename}:{number}"


def _user_frame() -> FrameType | None:
    frame: FrameType | None = sys._getframe(2)
    while frame is not None and not is_users_file(frame.f_code.co_filename):
        frame = frame.f_back
    return frame


def user_level() -> int:
    """The ``stacklevel=`` with which a warning names the user's line, for the function that calls this."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and not is_users_file(frame.f_code.co_filename):
        frame, level = frame.f_back, level + 1
    return level


_WRAPPED = {"wrapper": "f", "axis_nan_policy_wrapper": "hypotest_fun_in"}
"""By name of a wrapper of SciPy's: the variable that holds the function it stands for."""


def asked_by() -> str:
    """The function of NumPy, SciPy or pandas that the user's code called, '' where none is to be seen."""
    frame: FrameType | None = sys._getframe(1)
    name = ""
    while frame is not None and not is_users_file(frame.f_code.co_filename):
        module = frame.f_globals.get("__name__", "")
        if module.partition(".")[0] not in ("autodiff", "nn", "optim"):
            wrapped = frame.f_locals.get(_WRAPPED.get(frame.f_code.co_name, ""))
            function = getattr(wrapped, "__name__", frame.f_code.co_qualname.removesuffix(".__init__"))
            if not function.startswith(("_", "<")):
                parts = list(takewhile(_is_public, getattr(wrapped, "__module__", module).split(".")))
                name = ".".join([*parts, function.split(".")[0]])
            elif module.startswith("scipy.sparse"):
                name = name or "scipy.sparse"
        frame = frame.f_back
    if name.startswith("pandas."):  # whose operators belong to classes that nobody sees
        return "pandas"
    return name.replace("numpy.", "np.", 1) if name.startswith("numpy.") else name


def _is_public(part: str) -> bool:
    return not part.startswith("_") and part not in ("core", "lib", "matrixlib")


# How the call was written

_COMPUTE = frozenset({"numpy", "scipy", "statistics", "random", "fractions"})
"""Libraries whose ``float(x)`` goes on computing with the number: the user has not written it."""

_written: dict[tuple[CodeType, int], str] = {}
"""By place in the code (the latest few hundred): which of `float`, `int`, "%" the instruction there is, or ''."""


def _instruction(frame: FrameType) -> str | None:
    """What the instruction that runs in this frame is: a call of the name `float` or `int`, the operator % (formatting,
    or it would not have asked for a number), something else (''), or None where the code has no positions."""
    key = code, offset = frame.f_code, frame.f_lasti
    known = _written.get(key)
    if known is not None:
        return known
    if frame.f_globals.get("__name__", "").partition(".")[0] in _COMPUTE:
        _written[key] = ""
        return ""
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
        kind: "array", "float", "int", "complex" or "new tensor": what is asked for.

    Raises:
        TypeError: naming the user's line, who asked, and what to write instead.
    """
    if not is_grad_enabled():
        return
    taken = derivative_is_taken()
    if not taken and kind in ("float", "int"):
        written = _instruction(sys._getframe(2))
        if written == kind or written == "%":
            return
        if written is None:
            warnings.warn(
                f"{kind}() of a tensor that requires a gradient; write t.item(), which says that the derivative ends "
                f"here",
                DetachWarning,
                stacklevel=user_level(),
            )
            return
    raise TypeError(message(tensor, kind, taken))


def message(tensor: Any, kind: str, taken: bool) -> str:
    """The text of the error."""
    name = f" {tensor.name!r}" if tensor.name else ""
    made = f"shape {tensor.shape}" + (f", made by {tensor.op}" if tensor.op else "")
    asker = asked_by()
    plain = kind if kind == "new tensor" else f"plain {kind}"
    by = f"{asker} has no rule for Tensors and asks for a {plain}" if asker else f"a {plain} is asked for"
    where = " where a derivative of it is taken" if taken else ""
    return (
        f"{by} in place of a tensor{name} ({made}) that requires a gradient{where}; the derivative would be lost "
        f"without a word. {_remedy(asker, kind)}{_line()}"
    )


def refuse_option(operation: str, name: str, tensor: Any) -> None:
    """Raise where an operation is given a tensor that requires a gradient as an option, by which it has no derivative.

    Raises:
        TypeError: naming both, and what to write instead.
    """
    if is_grad_enabled():
        raise TypeError(
            f"{operation}: {name}= is an option, by which there is no derivative, and a tensor that requires a "
            f"gradient (shape {tensor.shape}) would lose it there without a word; give a plain number, "
            f"{name}=t.item(){_line()}"
        )


def no_rule(name: str) -> TypeError:
    """The error of a function that NumPy's protocols brought here and that has no rule; where another function of a
    library called it, that one is named first."""
    asker = asked_by()
    hidden = name.rpartition(".")[2].startswith("_")
    who = name if asker in ("", name) else asker if hidden else f"{asker} (which calls {name})"
    instead = INSTEAD.get(asker) or INSTEAD.get(name)
    return TypeError(
        f"{who} has no rule for Tensors. Write {instead or 'operations listed in autodiff'}, declare your own with "
        f"ad.primitive, or pass plain arrays (t.numpy() or t.detach().numpy()) where no gradient is wanted.{_line()}"
    )


def no_attribute(kind: str, name: str, instead: str) -> str:
    """What to say where a tensor lacks an attribute: what to write instead, and which library looked for it."""
    asker, text = asked_by(), f"{kind!r} object has no attribute {name!r}"
    if asker:
        return f"{text}, which {asker} looks for: it has no rule for Tensors. {_remedy(asker, 'array')}"
    return f"{text}; as in NumPy, write {instead}"


def _line() -> str:
    line = user_line()
    return f"\n  {line}" if line else ""


functions: Any = None  # the namespace of operations, handed in by `methods.bind`

_OUT = "Where no gradient is wanted, say so: t.item(), t.numpy(), t.tolist(), t.detach(), or do it inside ad.no_grad()."


def _remedy(asker: str, kind: str) -> str:
    """What to write instead."""
    if kind == "new tensor":
        return f"Use the tensor itself, t + 0 for a copy, or ad.array(t). {_OUT}"
    if asker in INSTEAD:
        return f"Write {INSTEAD[asker]}. {_OUT}"
    if asker.startswith("scipy.sparse") and not asker.startswith("scipy.sparse.linalg"):
        return f"Write ad.sparse_matmul(A, t) for the product of a sparse matrix and a Tensor. {_OUT}"
    if asker.startswith("np.ma"):
        return f"A Tensor has no mask: write t * a.filled(value), or np.where(a.mask, value, t * a.data). {_OUT}"
    if asker.startswith("pandas"):
        return f"Write t * s.to_numpy() for the product of a column or table and a Tensor, which has no index. {_OUT}"
    if asker.startswith("np.") and hasattr(functions, asker[3:]):
        return f"Write ad.{asker[3:]}(...), which takes lists of Tensors, or ad.array([t, u]). {_OUT}"
    if asker.startswith("scipy.stats"):
        return f"Write the formula out, with NumPy's functions and those of ad.special. {_OUT}"
    if kind == "array":
        return (
            "Write ad.array([[t, 0.0], [u, v]]) to build a tensor from Tensors and numbers, "
            "a = ad.array(a).at[i].set(t) in place of a[i] = t, NumPy functions listed in autodiff, or an operation of "
            f"your own with ad.primitive. {_OUT}"
        )
    return (
        "Write np.sin(t) in place of math.sin(t), a = ad.array(a).at[i].set(t) in place of a[i] = t, ad.array([t, u]) "
        f"to build a tensor. {_OUT}"
    )


_LOOP = "ad.stack([f(row) for row in t]), a loop whose results are joined"
_TRAPEZOID = "((y[1:] + y[:-1]) / 2 * np.diff(x)).sum()"
_CUMULATIVE = "np.cumsum((y[1:] + y[:-1]) / 2 * np.diff(x))"
_POLYNOMIAL = "the polynomial by Horner's rule, y = y * x + c for each coefficient c"
_COMPARED = "np.testing.assert_allclose(t.data, expected)"
_SORTED = "np.sort(t) and indexing"
_NANS = "the function without nan of t[~np.isnan(t)]; along an axis, of each row"
_WRITTEN = "a = ad.array(a).at[i].set(t)"
_WHERE = "a = np.where(mask, t, a)"
_SOLVE = "ad.linalg.solve(a, b)"
_QUADRATURE = "(w * f(x)).sum() with x, w the points and weights of np.polynomial.legendre.leggauss(n), moved to [a, b]"
_STEPS = "the steps of a method of your own, k1 = f(t, y) and so on, in a loop"
_ROOT = (
    "x = x - f(x, p) / f_x once more on the root found from plain numbers (x and f_x plain): its derivative by p is "
    "the root's, -f_p / f_x"
)
_OPTIMUM = "the objective of plain numbers, with jac=ad.grad(f), and where the optimum itself is differentiated " + (
    "x - ad.linalg.solve(H, g) once more on it, with the plain Hessian H and the gradient g"
)
INSTEAD = {
    # NumPy: loops over rows and elements
    "np.vectorize": "the function itself with NumPy operations, or ad.stack([f(v) for v in t])",
    "np.frompyfunc": "the function itself with NumPy operations, or ad.stack([f(v) for v in t])",
    "np.apply_along_axis": _LOOP,
    "np.apply_over_axes": "t.sum(axis=(0, 1)); every reduction takes several axes",
    "np.piecewise": "np.where(condition, a, b), or ad.select",
    "np.choose": "np.where(condition, a, b), or ad.select",
    "np.ndenumerate": "for i in np.ndindex(t.shape), with t[i]",
    # NumPy: building and writing
    "np.AxisConcatenator": "ad.concatenate([t, u]) in place of np.r_, ad.column_stack([t, u]) in place of np.c_",
    "np.nd_grid": "ad.linspace(a, b, n), and ad.meshgrid for grids",
    "np.full": "ad.full(shape, t)",
    "np.full_like": "ad.full(a.shape, t)",
    "np.fromiter": "ad.array(list(values))",
    "np.nan_to_num": "np.where(np.isnan(t), value, t)",
    "np.insert": "ad.concatenate([t[:i], u, t[i:]])",
    "np.resize": "ad.tile, and t.reshape",
    "np.trim_zeros": "t[first:last]",
    "np.vander": "ad.stack([t**k for k in range(n)][::-1], axis=-1)",
    "np.fill_diagonal": "a = ad.array(a).at[np.diag_indices(n)].set(t)",
    "np.copyto": "a = ad.array(a).at[...].set(t)",
    "np.put": _WRITTEN,
    "np.place": "a = ad.array(a).at[mask].set(t); as many values as the mask has places",
    "np.putmask": _WHERE,
    "np.put_along_axis": "a = ad.array(a).at[np.arange(len(a)), i].set(t)",
    "np.add.at": "a = ad.array(a).at[i].add(t)",
    "np.multiply.at": "a = ad.array(a).at[i].multiply(t)",
    "np.lib.stride_tricks.sliding_window_view": "t[i + np.arange(n)] with an array i of starts, i[:, None]",
    "np.lib.stride_tricks.as_strided": "t[i] with an array of indices",
    "np.bmat": "ad.block([[a, b], [c, d]])",
    # NumPy: functions
    "the ufunc clip": "np.clip(a, low, high), the function, in place of the array's method",
    "np.interp": "t[i] + (x - p[i]) * (t[i + 1] - t[i]) / (p[i + 1] - p[i]) with x = np.clip(x, p[0], p[-1]) and "
    "i = np.clip(np.searchsorted(p, x, 'right') - 1, 0, len(p) - 2)",
    "np.trapezoid": _TRAPEZOID,
    "np.gradient": "ad.concatenate([t[1:2] - t[:1], (t[2:] - t[:-2]) / 2, t[-1:] - t[-2:-1]]) / h; along one axis, "
    "with even steps h",
    "np.convolve": "(t[i] * v[::-1]).sum(axis=1) with i = np.arange(len(t) - len(v) + 1)[:, None] + np.arange(len(v)); "
    "mode='valid' (for 'full', t = np.pad(t, len(v) - 1) first)",
    "np.correlate": "(t[i] * v).sum(axis=1) with i = np.arange(len(t) - len(v) + 1)[:, None] + np.arange(len(v))",
    "np.polyval": _POLYNOMIAL,
    "np.poly1d": _POLYNOMIAL,
    "np.polynomial.ABCPolyBase": _POLYNOMIAL,
    "np.polyfit": "ad.linalg.lstsq(np.vander(x, n + 1), t)[0]",
    "np.median": _SORTED,
    "np.quantile": _SORTED,
    "np.percentile": _SORTED,
    "np.nanmedian": _SORTED,
    "np.unique": _SORTED,
    "np.nansum": _NANS,
    "np.nanmean": _NANS,
    "np.nanmax": _NANS,
    "np.nanmin": _NANS,
    "np.nanstd": _NANS,
    "np.nanvar": _NANS,
    "np.nanprod": _NANS,
    "np.cov": "d @ d.T / (t.shape[1] - 1) with d = t - t.mean(axis=1, keepdims=True)",
    "np.corrcoef": "d @ d.T with d = t - t.mean(axis=1, keepdims=True) and d = d / np.linalg.norm(d, axis=1, "
    "keepdims=True)",
    "np.histogram": "np.histogram(t.detach().numpy()), which has no derivative, or ad.bincount for weights",
    "np.cumulative_sum": "np.cumsum(t)",
    "np.cumulative_prod": "np.cumprod(t)",
    "np.ldexp": "t * 2.0**k",
    "np.copysign": "np.where(np.signbit(u), -np.abs(t), np.abs(t))",
    "np.real_if_close": "t.real",
    "np.array_equiv": "np.array_equal(t, u)",
    "np.subtract.reduce": "2 * t[0] - t.sum()",
    "np.add.reduceat": "ad.stack([t[i:j].sum() for i, j in bounds])",
    "np.fft.fftshift": "np.roll(t, t.shape[axis] // 2, axis)",
    "np.fft.ifftshift": "np.roll(t, -(t.shape[axis] // 2), axis)",
    "np.linalg.eig": "ad.linalg.eigh(a); a must be symmetric",
    "np.linalg.eigvals": "ad.linalg.eigvalsh(a); a must be symmetric",
    "np.linalg.tensorinv": "ad.linalg.inv of the reshaped matrix",
    "np.linalg.tensorsolve": "ad.linalg.solve of the reshaped matrix",
    "np.testing.assert_allclose": _COMPARED,
    "np.testing.assert_array_equal": _COMPARED,
    "np.testing.assert_almost_equal": _COMPARED,
    # SciPy: what exists here under the same or another name
    "scipy.special.logsumexp": "ad.special.logsumexp(t)",
    "scipy.special.softmax": "ad.special.softmax(t)",
    "scipy.special.log_softmax": "ad.special.log_softmax(t)",
    "scipy.special.polygamma": "ad.special.polygamma(n, t)",
    "scipy.special.factorial": "ad.special.gamma(t + 1)",
    "scipy.special.exp2": "np.exp2(t)",
    "scipy.special.exp10": "10.0**t",
    "scipy.special.cbrt": "np.cbrt(t)",
    "scipy.special.round": "np.round(t)",
    "scipy.special.sinc": "np.sinc(t)",
    "scipy.special.cosdg": "np.cos(np.deg2rad(t))",
    "scipy.special.sindg": "np.sin(np.deg2rad(t))",
    "scipy.special.tandg": "np.tan(np.deg2rad(t))",
    "scipy.special.multigammaln": "ad.special.multigammaln(t, d)",
    "scipy.linalg.solve": _SOLVE,
    "scipy.linalg.cho_solve": _SOLVE,
    "scipy.linalg.lu_solve": _SOLVE,
    "scipy.linalg.solve_banded": _SOLVE,
    "scipy.linalg.solveh_banded": _SOLVE,
    "scipy.linalg.solve_toeplitz": _SOLVE,
    "scipy.linalg.solve_triangular": "ad.linalg.solve_triangular(a, b)",
    "scipy.linalg.inv": "ad.linalg.inv(a)",
    "scipy.linalg.det": "ad.linalg.det(a)",
    "scipy.linalg.cholesky": "ad.linalg.cholesky(a); the lower factor, its transpose is the upper one",
    "scipy.linalg.cho_factor": "ad.linalg.cholesky(a); the lower factor, its transpose is the upper one",
    "scipy.linalg.eigh": "ad.linalg.eigh(a); of a pair (a, b), the values and c.T @ the vectors of c @ a @ c.T with "
    "c = ad.linalg.inv(ad.linalg.cholesky(b))",
    "scipy.linalg.eigvalsh": "ad.linalg.eigvalsh(a); of a pair (a, b), ad.linalg.eigvalsh(c @ a @ c.T) with "
    "c = ad.linalg.inv(ad.linalg.cholesky(b))",
    "scipy.linalg.eig": "ad.linalg.eigh(a); a must be symmetric",
    "scipy.linalg.eigvals": "ad.linalg.eigvalsh(a); a must be symmetric",
    "scipy.linalg.svd": "ad.linalg.svd(a)",
    "scipy.linalg.svdvals": "ad.linalg.svdvals(a)",
    "scipy.linalg.qr": "ad.linalg.qr(a)",
    "scipy.linalg.norm": "ad.linalg.norm(a)",
    "scipy.linalg.pinv": "ad.linalg.pinv(a)",
    "scipy.linalg.lstsq": "ad.linalg.lstsq(a, b)",
    "scipy.linalg.block_diag": "ad.block of the blocks and zeros",
    "scipy.linalg.toeplitz": "np.where(i[:, None] >= i, t[np.abs(i[:, None] - i)], r[np.abs(i[:, None] - i)]) with "
    "i = np.arange(len(t)) and r = t; "
    "r is the first row",
    "scipy.linalg.circulant": "t[(i[:, None] - i) % len(t)] with i = np.arange(len(t))",
    "scipy.linalg.expm": "ad.linalg.funm_sym(a, np.exp); a must be symmetric",
    "scipy.linalg.sqrtm": "ad.linalg.funm_sym(a, np.sqrt); a must be symmetric",
    "scipy.linalg.logm": "ad.linalg.funm_sym(a, np.log); a must be symmetric",
    "scipy.linalg.fractional_matrix_power": "ad.linalg.funm_sym(a, lambda v: v**p); a must be symmetric",
    "scipy.sparse.linalg.spsolve": "ad.linalg.solve(A.toarray(), t)",
    "scipy.sparse.linalg.cg": "ad.linalg.solve(A.toarray(), t)",
    "scipy.sparse.linalg.LinearOperator": "ad.sparse_matmul(A, t), or the product by the matrix itself, A @ t",
    "scipy.optimize.brentq": _ROOT,
    "scipy.optimize.bisect": _ROOT,
    "scipy.optimize.newton": _ROOT,
    "scipy.optimize.root_scalar": _ROOT,
    "scipy.optimize.minimize": _OPTIMUM,
    "scipy.optimize.least_squares": _OPTIMUM,
    "scipy.optimize.curve_fit": _OPTIMUM,
    "scipy.integrate.quad": _QUADRATURE,
    "scipy.integrate.fixed_quad": _QUADRATURE,
    "scipy.integrate.solve_ivp": _STEPS,
    "scipy.integrate.odeint": _STEPS,
    "scipy.integrate.trapezoid": _TRAPEZOID,
    "scipy.integrate.cumulative_trapezoid": _CUMULATIVE,
    "scipy.integrate.simpson": "((y[:-2:2] + 4 * y[1:-1:2] + y[2::2]) * h / 3).sum(); an odd number of points, with "
    "even steps h",
    "scipy.spatial.distance.cdist": "np.linalg.norm(a[:, None] - b, axis=-1); the Euclidean distance (ord=1 for "
    "'cityblock')",
    "scipy.spatial.distance.pdist": "np.linalg.norm(a[i] - a[j], axis=-1) with i, j = np.triu_indices(len(a), 1); "
    "the Euclidean distance",
    "scipy.spatial.distance.euclidean": "np.linalg.norm(a - b)",
    "scipy.spatial.distance.cosine": "1 - a @ b / (np.linalg.norm(a) * np.linalg.norm(b))",
    "scipy.spatial.distance.cityblock": "np.abs(a - b).sum()",
    "scipy.signal.detrend": "t - f @ ad.linalg.lstsq(f, t)[0] with f = np.vander(np.arange(len(t)), 2); for "
    "type='constant', t - t.mean(axis=0)",
    "scipy.stats.zscore": "(t - t.mean(axis=0)) / t.std(axis=0)",
    "scipy.stats.gmean": "np.exp(np.log(t).mean(axis=0))",
    "scipy.stats.hmean": "1 / (1 / t).mean(axis=0)",
    "scipy.stats.entropy": "-(p * np.log(p)).sum(axis=0) with p = t / t.sum(axis=0); relative to q, (p * np.log(p / "
    "q)).sum(axis=0)",
    "scipy.stats.sem": "t.std(axis=0, ddof=1) / np.sqrt(len(t))",
    "scipy.stats.skew": "(d**3).mean(axis=0) / (d**2).mean(axis=0) ** 1.5 with d = t - t.mean(axis=0)",
    "scipy.stats.kurtosis": "(d**4).mean(axis=0) / (d**2).mean(axis=0) ** 2 - 3 with d = t - t.mean(axis=0)",
}  # fmt: skip
"""By function of NumPy or SciPy that has no rule: what to write instead."""
