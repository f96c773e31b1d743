"""The whole spectrum of a symmetric operator as a density, by stochastic Lanczos quadrature."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import eigh_tridiagonal
from scipy.sparse.linalg import LinearOperator

from ..figures import LARGEST, axes_for, dotted, drawable, line_style, note
from ..ranks import checksums, divided, same_generator
from ..tensor import Array
from .eigen import deflated, require_same_operator, symmetric

ROOM = 1 << 25
"""So many numbers of the vectors of several probes are kept at once."""


@dataclass(frozen=True)
class SpectralDensity:
    """How the eigenvalues are distributed; the density integrates to 1.

    Attributes:
        grid: abscissae, shape (m,): eigenvalues, or of a logarithmic density log₁₀ |eigenvalue|.
        density: the density there, shape (m,).
        error: its standard error over the probes, shape (m,); infinite from one probe.
        nodes, weights: the quadrature it is made from: probe p says that a fraction ``weights[p, i]`` of the
            eigenvalues lies at ``nodes[p, i]``; shapes (probes, steps + known eigenpairs).
        log: whether it is the density of log₁₀ |eigenvalue|.
    """

    grid: Array
    density: Array
    error: Array
    nodes: Array
    weights: Array
    log: bool = False

    def fraction(self, low: float = -np.inf, high: float = np.inf) -> float:
        """Which fraction of the eigenvalues lies between two values, about."""
        inside = (self.nodes >= low) & (self.nodes <= high)
        return float((self.weights * inside).sum() / len(self.nodes))

    def __repr__(self) -> str:
        probes, each = self.nodes.shape
        low, high = float(self.nodes.min()), float(self.nodes.max())
        return (
            f"SpectralDensity(eigenvalues from {low:.6g} to {high:.6g}, {probes} probe{'s' * (probes != 1)} of {each} "
            f"node{'s' * (each != 1)}, {len(self.grid)} grid points)"
        )

    def plot(self, ax: Any = None, log: bool = True, **options: Any) -> Any:
        """Draw the density.

        Args:
            ax: matplotlib axes to draw into; new ones by default.
            log: whether the axis of the density (not that of the eigenvalues) is logarithmic; it then reaches down to
                the foot of the lowest peak, of those above 10⁻⁷ of the highest.
            options: of the line, as `Axes.plot` takes them.

        Returns:
            the axes.

        Raises:
            ImportError: without matplotlib.
        """
        ax = axes_for("SpectralDensity.plot", ax, (7, 4))
        height = drawable(self.density)
        style = {"color": line_style(0)["color"], "marker": "." if dotted(height) or len(height) == 1 else None}
        ax.plot(self.grid, height, **(style | options))
        height = np.nan_to_num(height)
        if not (height > 1 / LARGEST).any():
            note(ax, "the density is 0 all over" if np.isfinite(self.density).all() else "the density is not finite")
        elif log:
            sides = np.pad(height, 1)
            peaks = height[(height > sides[:-2]) & (height >= sides[2:]) & (height > 1e-7 * height.max())]
            bottom = max(float(peaks.min(initial=height.max())) / 30, 1 / LARGEST)
            if ax.get_yscale() == "log":  # of a density drawn before
                bottom = min(bottom, ax.get_ylim()[0])
            ax.set_yscale("log")
            ax.set_ylim(bottom, max(2 * ax.dataLim.ymax, 2 * bottom))
        ax.set(xlabel="log₁₀ |eigenvalue|" if self.log else "eigenvalue", ylabel="density")
        return ax


def spectral_density(
    op: Any, num_probes: int = 10, steps: int = 80, rng: np.random.Generator | int | None = None, *,
    grid: int | Array = 1024, width: float | None = None, log: bool = False, deflate: Any = None, comm: Any = None,
) -> SpectralDensity:  # fmt: skip
    """The density of the eigenvalues, smoothed by a Gaussian, by stochastic Lanczos quadrature.

    For a random unit vector z, `steps` of Lanczos give a tridiagonal matrix whose eigenvalues θᵢ and squared first
    components τᵢ² of its eigenvectors are the nodes and weights of a Gauss quadrature of the spectrum as z sees it:

        φ(t) = mean over z of Σᵢ τᵢ² N(t; θᵢ, width²)

    Args:
        op: a symmetric operator or matrix of size n.
        num_probes: random vectors.
        steps: products for each, at most; the resolution is best at the ends of the spectrum. The vectors of a probe
            (steps × n) are kept, so that rounding does not repeat eigenvalues; where there is room for those of
            several (256 MB), these go on together, with one product for all of them in each step.
        rng: a `numpy.random.Generator`, a seed or None.
        grid: abscissae, or how many to spread over the spectrum.
        width: of the Gaussian; a hundredth of the spectrum's extent by default.
        log: give the density of log₁₀ |eigenvalue|, in which `grid` and `width` are then; eigenvalues that are 0 within
            rounding, below ε of the dtype times the largest, are put there.
        deflate: eigenpairs that are known, (values, vectors) as `eigenpairs` gives them: each counts exactly, and only
            what is left is probed. Two more products test them.
        comm: as for `trace`; the probes are divided among the ranks.

    Returns:
        a `SpectralDensity` with `.grid .density .error .plot()`.

    Raises:
        ValueError: counts below 1, a width that is not positive, op is not square, or `deflate` holds no eigenpairs.
        numpy.linalg.LinAlgError: the curvature is not finite.

    Source: Ghorbani, Krishnan and Xiao, "An investigation into neural net optimization via Hessian eigenvalue
    density", 2019; Lin, Saad and Yang, "Approximating spectral densities of large matrices", 2016.

    >>> density = spectral_density(np.diag([0.0, 0.0, 0.0, 4.0]), rng=0)
    >>> round(density.fraction(3.9, 4.1), 2)
    0.25
    """
    operator = symmetric("spectral_density", op)
    for what, count in (("num_probes", num_probes), ("steps", steps)):
        if isinstance(count, bool) or not isinstance(count, (int, np.integer)) or count < 1:
            raise ValueError(f"spectral_density: {what} must be a whole number from 1, not {count!r}")
    if width is not None and not width > 0:
        raise ValueError(f"spectral_density: width must be positive, not {width!r}")
    if comm is not None:
        same = {"num_probes": num_probes, "steps": steps, "deflate": checksums(deflate)}
        require_same_operator("spectral_density", op, comm, **same)
    rng = same_generator(rng, comm)
    n = operator.shape[0]
    operator, known, V = deflated("spectral_density", operator, deflate)
    left = n - len(known)
    steps = min(int(steps), left)
    nodes, weights = np.zeros((num_probes, steps)), np.zeros((num_probes, steps))
    tridiagonal: list[tuple[Array, Array]] = []
    while steps and len(tridiagonal) < num_probes:
        room = max(1, ROOM // (steps * n)) * (1 if comm is None else comm.size)
        Z = rng.choice([-1.0, 1.0], (min(num_probes - len(tridiagonal), room), n)).T
        Z = Z - V @ (V.T @ Z)
        if comm is None:
            tridiagonal += lanczos(operator, Z, steps)
            continue

        def found(own: slice, Z: Array = Z) -> list[tuple[Array, Array]]:
            return lanczos(operator, Z[:, own], steps)

        tridiagonal += itertools.chain.from_iterable(divided(found, Z.shape[1], comm))
    for p, (diagonal, off) in enumerate(tridiagonal):
        values, vectors = eigh_tridiagonal(diagonal, off)
        nodes[p, : len(values)], weights[p, : len(values)] = values, vectors[0] ** 2 * (left / n)
        nodes[p, len(values) :] = values[-1]  # of weight 0
    nodes = np.hstack([nodes, np.tile(known, (num_probes, 1))])
    weights = np.hstack([weights, np.full((num_probes, len(known)), 1 / n)])
    places = _magnitudes(nodes, operator.dtype) if log else nodes
    low, high = places.min(), places.max()
    if width is None:
        width = float(high - low) / 100 or max(abs(high), 1.0) / 100
    if isinstance(grid, (int, np.integer)):
        if grid < 2:
            raise ValueError(f"spectral_density: grid must have 2 points at least, not {grid}")
        grid = np.linspace(low - 5 * width, high + 5 * width, int(grid))
    t = np.asarray(grid, float)
    each = np.stack([_smoothed(t, place, weight, width) for place, weight in zip(places, weights)])
    error = each.std(axis=0, ddof=1) / np.sqrt(num_probes) if num_probes > 1 else np.full(t.shape, np.inf)
    return SpectralDensity(t, each.mean(axis=0), error, nodes, weights, log)


def _magnitudes(nodes: Array, dtype: Any) -> Array:
    """log₁₀ |θ|, no less than where rounding hides it."""
    size = np.abs(nodes)
    return np.log10(np.maximum(size, max(size.max() * np.finfo(dtype).eps, np.finfo(float).tiny)))


def _smoothed(t: Array, nodes: Array, weights: Array, width: float) -> Array:
    x = (t[:, None] - nodes) / width
    return (np.exp(-0.5 * x * x) @ weights) / (width * np.sqrt(2 * np.pi))


def lanczos(operator: LinearOperator, Z: Array, steps: int) -> list[tuple[Array, Array]]:
    """For each column z of Z the diagonal and off-diagonal of the tridiagonal matrix QᵀHQ, with Q an orthonormal basis
    of z, Hz, H²z, …; fewer than `steps` rows where these vectors span less. All columns go on together, a product with
    all of them in each step.

    >>> lanczos(symmetric("lanczos", np.diag([1.0, 3.0])), np.ones((2, 1)), 2)
    [(array([2., 2.]), array([1.]))]
    """
    dtype = operator.dtype
    bases = np.empty((Z.shape[1], steps, len(Z)), dtype)
    bases[:, 0] = (Z / np.linalg.norm(Z, axis=0)).T
    found: list[tuple[list[float], list[float]]] = [([], []) for _ in bases]
    scales = [0.0] * len(bases)
    losses = [_Loss(dtype) for _ in bases]
    going = list(range(len(bases)))
    for i in range(steps):
        products = operator.matmat(bases[going, i].T).T
        for p, w in zip(list(going), products):
            Q, (diagonal, off) = bases[p, : i + 1], found[p]
            scales[p] = max(scales[p], float(np.linalg.norm(w)))
            diagonal.append(float(Q[i] @ w))
            w = w - dtype.type(diagonal[i]) * Q[i]
            if i:
                w -= dtype.type(off[i - 1]) * Q[i - 1]
            beta = float(np.linalg.norm(w))
            for _ in range(2 if losses[p].grown(diagonal, off, beta, scales[p]) else 0):
                before = beta  # against all: again, where so much was taken away that a remainder of rounding is left
                w -= (Q @ w) @ Q
                beta = float(np.linalg.norm(w))
                if 2 * beta > before:
                    break
            if i + 1 == steps or beta <= 100 * np.finfo(dtype).eps * scales[p]:
                going.remove(p)
                continue
            off.append(beta)
            np.divide(w, beta, out=bases[p, i + 1])
        if not going:
            break
    return [(np.array(diagonal), np.array(off)) for diagonal, off in found]


class _Loss:
    """How far from orthogonal the vectors of Lanczos's method are at most, ωₖ = |qₖ · qᵢ₊₁|, by the recurrence that
    rounding obeys. Up to √ε it changes the tridiagonal matrix by rounding alone; from there on two vectors in a row are
    orthogonalised against all.

    Source: Simon, "The Lanczos algorithm with partial reorthogonalization", 1984.
    """

    def __init__(self, dtype: Any) -> None:
        self.eps = float(np.finfo(dtype).eps)
        self.before, self.now = np.zeros(0), np.ones(1)
        self.again = False

    def grown(self, diagonal: list[float], off: list[float], beta: float, scale: float) -> bool:
        """Whether the next vector has to be orthogonalised, given its length before that."""
        i = len(off)
        a, b, now = np.array(diagonal), np.array(off), self.now
        new = (a[:i] - a[i]) * now[:i] + b * now[1:] - (b[-1] * self.before if i else 0.0)
        new[1:] += b[: i - 1] * now[: i - 1] if i else 0.0
        close = beta <= self.eps**0.5 * scale
        if not close:
            new = (new + np.copysign(2 * self.eps * scale, new)) / beta
        grown = close or bool(np.abs(new).max(initial=0) > self.eps**0.5)
        do = grown or self.again
        self.again = grown and not self.again
        if do:
            new = np.full(i, self.eps)
        self.before, self.now = now, np.concatenate([new, [self.eps, 1.0]])
        return do
