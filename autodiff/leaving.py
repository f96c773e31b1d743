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
    return None if frame is None else line_of(frame)


def line_of(frame: FrameType, number: int | None = None) -> str:
    """The line of this number in a frame's code, or the one now running, as 'file:line: source'."""
    filename, number = frame.f_code.co_filename, number or frame.f_lineno
    source = linecache.getline(filename, number, frame.f_globals).strip()
    return f"{place_of(filename, number)}: {source}" if source else place_of(filename, number)


def place_of(filename: str, number: int) -> str:
    """A line as 'file:line', of a cell as IPython counts it: 'In [3], line 2'.

    >>> place_of("model.py", 2)
    'model.py:2'
    """
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    cell = getattr(getattr(shell, "compile", None), "format_code_name", lambda _: None)(filename)
    return f"{filename}:{number}" if cell is None else f"{cell[1].replace('[', ' [')}, line {number}"


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
                name = ".".join([*parts, _owner(frame, function)])
            elif module.startswith("scipy.sparse"):
                name = name or "scipy.sparse"
        frame = frame.f_back
    if name.startswith("pandas."):  # whose operators belong to classes that nobody sees
        return "pandas"
    return name.replace("numpy.", "np.", 1) if name.startswith("numpy.") else name


def _owner(frame: FrameType, function: str) -> str:
    """The function itself, the class of a method, or a distribution of SciPy's with the method: ``norm.cdf``."""
    owner, _, method = function.partition(".")
    if not frame.f_globals.get("__name__", "").startswith("scipy.stats"):
        return owner
    distribution = frame.f_locals.get("self")
    name = getattr(getattr(distribution, "dist", distribution), "name", None)
    found = name if isinstance(name, str) else owner.removesuffix("_gen").removesuffix("_frozen")
    return owner if found == owner else f"{found}.{method}" if method and _is_public(method) else found


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
    instead = INSTEAD.get(asker) or INSTEAD.get(name) or in_place_of(asker)
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


def in_place_of(asker: str) -> str:
    """What to write in place of a function of NumPy's or SciPy's, where that is known: advice, or its name here."""
    if asker in INSTEAD:
        return INSTEAD[asker]
    package, _, name = asker.removeprefix("scipy.").partition(".")
    there = asker.startswith("scipy.") and hasattr(getattr(functions, package, None), name)
    return f"ad.{package}.{name}(...), as SciPy's" if there else ""


functions: Any = None  # the namespace of operations, handed in by `methods.bind`

_OUT = "Where no gradient is wanted, say so: t.item(), t.numpy(), t.tolist(), t.detach(), or do it inside ad.no_grad()."


def _remedy(asker: str, kind: str) -> str:
    """What to write instead."""
    if kind == "new tensor":
        return f"Use the tensor itself, t + 0 for a copy, or ad.array(t). {_OUT}"
    instead = in_place_of(asker)
    if instead:
        return f"Write {instead}. {_OUT}"
    if asker.startswith("scipy.sparse") and not asker.startswith("scipy.sparse.linalg"):
        return f"Write ad.sparse_matmul(A, t) for the product of a sparse matrix and a Tensor. {_OUT}"
    if asker.startswith("np.ma."):
        return f"A Tensor has no mask: write t * a.filled(value), or np.where(a.mask, value, t * a.data). {_OUT}"
    if asker.startswith("pandas"):
        return f"Write t * s.to_numpy() for the product of a column or table and a Tensor, which has no index. {_OUT}"
    if asker.startswith("np.") and hasattr(functions, asker[3:]):
        return f"Write ad.{asker[3:]}(...), which takes lists of Tensors, or ad.array([t, u]). {_OUT}"
    if asker.startswith("scipy.stats"):
        return (
            f"Write ad.{asker[6:]} where ad.stats has it, or the formula out, with NumPy's functions and those of "
            f"ad.special. {_OUT}"
        )
    if kind == "array":
        return (
            "Write ad.array([[t, 0.0], [u, v]]) to build a tensor from Tensors and numbers, "
            "a = ad.array(a).at[i].set(t) in place of a[i] = t, ad.stats.norm.rvs(t, s) in place of rng.normal(t, s), "
            f"NumPy functions listed in autodiff, or an operation of your own with ad.primitive. {_OUT}"
        )
    return (
        "Write np.sin(t) in place of math.sin(t), a = ad.array(a).at[i].set(t) in place of a[i] = t, ad.array([t, u]) "
        f"to build a tensor. {_OUT}"
    )


_CUMULATIVE = "np.cumsum((y[1:] + y[:-1]) / 2 * np.diff(x))"
_COMPARED = "np.testing.assert_allclose(t.data, expected)"
_WRITTEN = "a = ad.array(a).at[i].set(t)"
_WHERE = "a = np.where(mask, t, a)"
_SOLVE = "ad.linalg.solve(a, b)"
_BINOMIAL = "1 / ((n + 1) * ad.special.beta(n - t + 1, t + 1))"
_FRAMES = "np.lib.stride_tricks.sliding_window_view(t, n)[::step] * window, and np.fft.rfft of these frames"
_FILTER = "ad.signal.convolve(np.pad(t, r, mode='symmetric'), kernel, 'valid'), for a kernel of 2 * r + 1 places a side"
_SPLINE = (
    "scipy.interpolate.CubicSpline(xp, np.eye(len(xp)))(x) @ t; it is linear in t, the values that it goes through; "
    "np.interp(x, xp, t) goes straight, and has derivatives by x too"
)
_QUADRATURE = "ad.solvers.quad(f, a, b, args=(t,))"
_STEPS = "ad.solvers.solve_ivp(f, t_span, y0, t_eval=times)"
_ROOT = "ad.solvers.root(f, x0, args=(t,)), where f(x, t) is 0"
_OPTIMUM = (
    "ad.solvers.minimize(f, x0, args=(t,)) where the optimum is differentiated by t; else give plain numbers, with "
    "jac=ad.grad(f)"
)
INSTEAD = {
    # NumPy: loops over rows and elements
    "np.vectorize": "the function itself with NumPy operations, or ad.stack([f(v) for v in t])",
    "np.frompyfunc": "the function itself with NumPy operations, or ad.stack([f(v) for v in t])",
    "np.ndenumerate": "for i in np.ndindex(t.shape), with t[i]",
    # NumPy: building and writing
    "np.AxisConcatenator": "ad.r_[t, u] in place of np.r_[t, u], and ad.c_ in place of np.c_",
    "np.nd_grid": "ad.linspace(a, b, n), and ad.meshgrid for grids",
    "np.full": "ad.full(shape, t)",
    "np.full_like": "ad.full(a.shape, t)",
    "np.fromiter": "ad.array(list(values))",
    "np.fill_diagonal": "a = ad.array(a).at[np.diag_indices(n)].set(t)",
    "np.copyto": "a = ad.array(a).at[...].set(t)",
    "np.put": _WRITTEN,
    "np.place": "a = ad.array(a).at[mask].set(t); as many values as the mask has places",
    "np.putmask": _WHERE,
    "np.put_along_axis": "a = ad.array(a).at[np.arange(len(a)), i].set(t)",
    "np.add.at": "a = ad.array(a).at[i].add(t)",
    "np.multiply.at": "a = ad.array(a).at[i].multiply(t)",
    "np.lib.stride_tricks.as_strided": "t[i] with an array of indices",
    "np.bmat": "ad.block([[a, b], [c, d]])",
    # NumPy: functions
    "the ufunc clip": "np.clip(a, low, high), the function, in place of the array's method",
    "np.polynomial.ABCPolyBase": "ad.polynomial.polyval(x, c), ad.polynomial.chebval(x, c) and so on",
    "np.polynomial.polynomial.polyval": "ad.polynomial.polyval(x, c)",
    "np.polynomial.chebyshev.chebval": "ad.polynomial.chebval(x, c)",
    "np.polynomial.legendre.legval": "ad.polynomial.legval(x, c)",
    "np.polynomial.hermite.hermval": "ad.polynomial.hermval(x, c)",
    "np.polynomial.hermite_e.hermeval": "ad.polynomial.hermeval(x, c)",
    "np.polynomial.laguerre.lagval": "ad.polynomial.lagval(x, c)",
    "np.histogram2d": "np.histogram2d of t.detach().numpy(), which has no derivative",
    "np.histogramdd": "np.histogramdd of t.detach().numpy(), which has no derivative",
    "np.union1d": "np.unique(ad.concatenate([ad.ravel(t), ad.ravel(u)]))",
    "np.intersect1d": "np.unique(t[np.isin(t, u)])",
    "np.setdiff1d": "np.unique(t[~np.isin(t, u)])",
    "np.setxor1d": "np.unique(ad.concatenate([t[~np.isin(t, u)], u[~np.isin(u, t)]]))",
    "np.spacing": "np.spacing(t.detach().numpy()), which has no derivative",
    "np.nextafter": "np.nextafter of t.detach().numpy(), which has no derivative",
    "np.savetxt": "np.savetxt(file, t.detach().numpy())",
    "np.save": "ad.save({'t': t}, file)",
    "np.savez": "ad.save({'t': t}, file)",
    "np.savez_compressed": "ad.save({'t': t}, file)",
    "np.divide.reduce": "t[0] / t[1:].prod()",
    "np.logaddexp.reduceat": "ad.stack([ad.logsumexp(t[i:j]) for i, j in bounds])",
    "np.frexp": "t / 2.0**k with k = np.frexp(t.detach().numpy())[1]",
    "np.sort_complex": "np.sort(t)",
    "np.subtract.accumulate": "2 * t[0] - np.cumsum(t)",
    "np.subtract.reduce": "2 * t[0] - t.sum()",
    "np.testing.assert_allclose": _COMPARED,
    "np.testing.assert_array_equal": _COMPARED,
    "np.testing.assert_almost_equal": _COMPARED,
    "np.einsum_path": "np.einsum_path of t.detach().numpy(), which has no derivative",
    # SciPy: what has another name here, or none
    "scipy.special.poch": "ad.special.gamma(t + m) * ad.special.rgamma(t)",
    "scipy.special.binom": _BINOMIAL,
    "scipy.special.comb": _BINOMIAL,
    "scipy.special.kn": "ad.special.kv(n, t)",
    "scipy.special.gammainccinv": "ad.special.gammaincinv(a, 1 - t)",
    "scipy.special.chdtr": "ad.special.gammainc(v / 2, t / 2)",
    "scipy.special.chdtrc": "ad.special.gammaincc(v / 2, t / 2)",
    "scipy.special.powm1": "ad.expm1(ad.special.xlogy(p, t))",
    "scipy.special.inv_boxcox1p": "ad.special.inv_boxcox(t, p) - 1",
    "scipy.special.ellipk": "np.pi / 2 * ad.special.hyp2f1(0.5, 0.5, 1.0, t)",
    "scipy.special.ellipe": "np.pi / 2 * ad.special.hyp2f1(-0.5, 0.5, 1.0, t)",
    "scipy.special.spherical_jn": "np.sqrt(np.pi / 2 / t) * ad.special.jv(n + 0.5, t)",
    "scipy.special.eval_legendre": "ad.polynomial.legval(t, np.eye(n + 1)[n])",
    "scipy.special.eval_chebyt": "ad.polynomial.chebval(t, np.eye(n + 1)[n])",
    "scipy.special.eval_hermite": "ad.polynomial.hermval(t, np.eye(n + 1)[n])",
    "scipy.special.eval_hermitenorm": "ad.polynomial.hermeval(t, np.eye(n + 1)[n])",
    "scipy.special.eval_laguerre": "ad.polynomial.lagval(t, np.eye(n + 1)[n])",
    "scipy.special.factorial": "ad.special.gamma(t + 1)",
    "scipy.special.exp2": "np.exp2(t)",
    "scipy.special.exp10": "10.0**t",
    "scipy.special.cbrt": "np.cbrt(t)",
    "scipy.special.round": "np.round(t)",
    "scipy.special.sinc": "np.sinc(t)",
    "scipy.special.cosdg": "np.cos(np.deg2rad(t))",
    "scipy.special.sindg": "np.sin(np.deg2rad(t))",
    "scipy.special.tandg": "np.tan(np.deg2rad(t))",
    "scipy.linalg.lu_solve": _SOLVE,
    "scipy.linalg.solveh_banded": _SOLVE,
    "scipy.linalg.solve_toeplitz": _SOLVE,
    "scipy.linalg.cholesky": "ad.linalg.cholesky(a); the lower factor, its transpose is the upper one",
    "scipy.linalg.eigh": "ad.linalg.eigh(a); of a pair (a, b), the values and c.T @ the vectors of c @ a @ c.T with "
    "c = ad.linalg.inv(ad.linalg.cholesky(b))",
    "scipy.linalg.eigvalsh": "ad.linalg.eigvalsh(a); of a pair (a, b), ad.linalg.eigvalsh(c @ a @ c.T) with "
    "c = ad.linalg.inv(ad.linalg.cholesky(b))",
    "scipy.linalg.lu_factor": "ad.linalg.lu(a), or ad.linalg.solve(a, b) for both steps",
    "scipy.linalg.polar": "(a @ ad.linalg.inv(p), p) with p = ad.linalg.funm_sym(a.T @ a, np.sqrt)",
    "scipy.linalg.expm_frechet": "ad.jvp(ad.linalg.expm, a, e)",
    "scipy.linalg.cosm": "ad.linalg.expm(np.block([[0 * a, -a], [a, 0 * a]]))[:n, :n] with n = len(a)",
    "scipy.linalg.sinm": "ad.linalg.expm(np.block([[0 * a, -a], [a, 0 * a]]))[n:, :n] with n = len(a)",
    "scipy.linalg.funm": "ad.linalg.funm_sym(a, f); a must be symmetric",
    "scipy.linalg.solve_continuous_lyapunov": "ad.linalg.solve_sylvester(a, a.T, q)",
    "scipy.linalg.solve_discrete_lyapunov": "ad.linalg.solve(np.eye(n * n) - np.kron(a, a), q.ravel()).reshape(n, n) "
    "with n = len(a)",
    "scipy.linalg.eigh_tridiagonal": "ad.linalg.eigh(np.diag(t) + np.diag(e, 1) + np.diag(e, -1))",
    "scipy.linalg.khatri_rao": "np.einsum('ij,kj->ikj', a, b).reshape(-1, a.shape[1])",
    "scipy.linalg.companion": "ad.concatenate([-t[1:][None] / t[0], np.eye(n - 2, n - 1)]) with n = len(t)",
    "scipy.linalg.hankel": "ad.concatenate([t, 0 * t[1:]])[i[:, None] + i] with i = np.arange(len(t))",
    "scipy.linalg.circulant": "t[(i[:, None] - i) % len(t)] with i = np.arange(len(t))",
    "scipy.linalg.fractional_matrix_power": "ad.linalg.funm_sym(a, lambda v: v**p); a must be symmetric",
    "scipy.sparse.linalg.spsolve": "ad.linalg.solve(A.toarray(), t)",
    "scipy.sparse.linalg.cg": "ad.linalg.solve(A.toarray(), t)",
    "scipy.sparse.linalg.LinearOperator": "ad.sparse_matmul(A, t) for a sparse matrix, or each product of a sum of "
    "operators by itself, 2 * (G @ t) + H @ t, and J.rmatvec(t) for J.T @ t",
    "scipy.optimize.brentq": _ROOT,
    "scipy.optimize.bisect": _ROOT,
    "scipy.optimize.newton": _ROOT,
    "scipy.optimize.root_scalar": _ROOT,
    "scipy.optimize.fixed_point": "ad.solvers.fixed_point(f, x0, args=(t,))",
    "scipy.optimize.minimize": _OPTIMUM,
    "scipy.optimize.least_squares": _OPTIMUM,
    "scipy.optimize.curve_fit": _OPTIMUM,
    "scipy.integrate.quad": _QUADRATURE,
    "scipy.integrate.fixed_quad": _QUADRATURE,
    "scipy.integrate.solve_ivp": _STEPS,
    "scipy.integrate.odeint": "ad.solvers.odeint(f, y0, times, args=(t,))",
    "scipy.integrate.trapezoid": "np.trapezoid(y, x)",
    "scipy.integrate.cumulative_trapezoid": _CUMULATIVE,
    "scipy.integrate.simpson": "((y[:-2:2] + 4 * y[1:-1:2] + y[2::2]) * h / 3).sum(); an odd number of points, with "
    "even steps h",
    "scipy.spatial.distance.cdist": "ad.linalg.cdist(a, b)",
    "scipy.spatial.distance.pdist": "np.linalg.norm(a[i] - a[j], axis=-1) with i, j = np.triu_indices(len(a), 1); "
    "the Euclidean distance",
    "scipy.spatial.distance.euclidean": "np.linalg.norm(a - b)",
    "scipy.spatial.distance.cosine": "1 - a @ b / (np.linalg.norm(a) * np.linalg.norm(b))",
    "scipy.spatial.distance.cityblock": "np.abs(a - b).sum()",
    "scipy.ndimage.map_coordinates": "ad.ndimage.map_coordinates(t, coordinates, order=1)",
    "scipy.signal.detrend": "t - f @ ad.linalg.lstsq(f, t)[0] with f = np.vander(np.arange(len(t)), 2); for "
    "type='constant', t - t.mean(axis=0)",
    "scipy.signal.stft": _FRAMES,
    "scipy.signal.spectrogram": _FRAMES,
    "scipy.signal.welch": _FRAMES,
    "scipy.signal.csd": _FRAMES,
    "scipy.signal.periodogram": "abs(np.fft.rfft(t - t.mean())) ** 2, up to a scale",
    "scipy.signal.sosfilt": "t = ad.signal.lfilter(s[:3], s[3:], t) for each section s",
    "scipy.ndimage.convolve": _FILTER,
    "scipy.ndimage.correlate": _FILTER,
    "scipy.ndimage.convolve1d": _FILTER,
    "scipy.ndimage.correlate1d": _FILTER,
    "scipy.ndimage.gaussian_filter": _FILTER,
    "scipy.ndimage.uniform_filter": _FILTER,
    "scipy.signal.savgol_filter": "ad.signal.convolve(np.pad(t, r, mode='edge'), "
    "scipy.signal.savgol_coeffs(2 * r + 1, order), 'valid'); that of mode='nearest'",
    "scipy.signal.freqz": "np.exp(-1j * np.outer(w, np.arange(len(t)))) @ t; over that of the denominator",
    "scipy.interpolate.CubicSpline": _SPLINE,
    "scipy.interpolate.PPoly": _SPLINE,
    "scipy.interpolate.make_interp_spline": _SPLINE,
    "scipy.interpolate.interp1d": "np.interp(x, xp, t)",
    "scipy.interpolate.RegularGridInterpolator": "ad.ndimage.map_coordinates(t, coordinates, order=1)",
    "scipy.spatial.distance.sqeuclidean": "((a - b) ** 2).sum()",
    "scipy.stats.pearsonr": "np.corrcoef(t, u)[0, 1]",
    "scipy.stats.truncnorm.logpdf": "ad.stats.norm.logpdf(t) - np.log(ad.special.ndtr(b) - ad.special.ndtr(a)); "
    "between a and b",
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
