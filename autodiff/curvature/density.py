"""The whole spectrum of a symmetric operator as a density, by stochastic Lanczos quadrature."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import eigh_tridiagonal
from scipy.sparse.linalg import LinearOperator

from ..figures import LARGEST, axes_for, dotted, drawable, line_style, note
from ..tensor import Array
from .eigen import symmetric


@dataclass(frozen=True)
class SpectralDensity:
    """How the eigenvalues are distributed; the density integrates to 1.

    Attributes:
        grid: abscissae, shape (m,).
        density: the density there, shape (m,).
        error: its standard error over the probes, shape (m,); infinite from one probe.
        nodes, weights: the quadrature it is made from: probe p says that a fraction ``weights[p, i]`` of the
            eigenvalues lies at ``nodes[p, i]``; shapes (probes, steps).
    """

    grid: Array
    density: Array
    error: Array
    nodes: Array
    weights: Array

    def fraction(self, low: float = -np.inf, high: float = np.inf) -> float:
        """Which fraction of the eigenvalues lies between two values, about."""
        inside = (self.nodes >= low) & (self.nodes <= high)
        return float((self.weights * inside).sum() / len(self.nodes))

    def __repr__(self) -> str:
        probes, steps = self.nodes.shape
        low, high = float(self.nodes.min()), float(self.nodes.max())
        return (
            f"SpectralDensity(eigenvalues from {low:.6g} to {high:.6g}, {probes} probe{'s' * (probes != 1)} of {steps} "
            f"step{'s' * (steps != 1)}, {len(self.grid)} grid points)"
        )

    def plot(self, ax: Any = None, log: bool = True, **options: Any) -> Any:
        """Draw the density.

        Args:
            ax: matplotlib axes to draw into; new ones by default.
            log: whether the axis of the density is logarithmic; it then reaches down to the foot of the lowest peak, of
                those above 10⁻⁷ of the highest.
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
        ax.set(xlabel="eigenvalue", ylabel="density")
        return ax


def spectral_density(
    op: Any, num_probes: int = 10, steps: int = 80, rng: np.random.Generator | int | None = None, *,
    grid: int | Array = 1024, width: float | None = None,
) -> SpectralDensity:  # fmt: skip
    """The density of the eigenvalues, smoothed by a Gaussian, by stochastic Lanczos quadrature.

    For a random unit vector z, `steps` of Lanczos give a tridiagonal matrix whose eigenvalues θᵢ and squared first
    components τᵢ² of its eigenvectors are the nodes and weights of a Gauss quadrature of the spectrum as z sees it:

        φ(t) = mean over z of Σᵢ τᵢ² N(t; θᵢ, width²)

    Args:
        op: a symmetric operator or matrix of size n.
        num_probes: random vectors.
        steps: products for each, at most; the resolution is best at the ends of the spectrum. The vectors of one
            probe (steps × n) are kept, so that rounding does not repeat eigenvalues.
        rng: a `numpy.random.Generator`, a seed or None.
        grid: abscissae, or how many to spread over the spectrum.
        width: of the Gaussian; a hundredth of the spectrum's extent by default.

    Returns:
        a `SpectralDensity` with `.grid .density .error .plot()`.

    Raises:
        ValueError: counts below 1, a width that is not positive, or op is not square.
        numpy.linalg.LinAlgError: the curvature is not finite.

    Source: Ghorbani, Krishnan and Xiao, "An investigation into neural net optimization via Hessian eigenvalue
    density", 2019; Lin, Saad and Yang, "Approximating spectral densities of large matrices", 2016.

    >>> density = spectral_density(np.diag([0.0, 0.0, 0.0, 4.0]), rng=0)
    >>> round(density.fraction(3.9, 4.1), 2)
    0.25
    """
    operator, rng = symmetric("spectral_density", op), np.random.default_rng(rng)
    for what, count in (("num_probes", num_probes), ("steps", steps)):
        if isinstance(count, bool) or not isinstance(count, (int, np.integer)) or count < 1:
            raise ValueError(f"spectral_density: {what} must be a whole number from 1, not {count!r}")
    if width is not None and not width > 0:
        raise ValueError(f"spectral_density: width must be positive, not {width!r}")
    n = operator.shape[0]
    steps = min(int(steps), n)
    nodes, weights = np.zeros((num_probes, steps)), np.zeros((num_probes, steps))
    for p in range(num_probes):
        z = rng.choice([-1.0, 1.0], n)
        diagonal, off = lanczos(operator, z, steps)
        values, vectors = eigh_tridiagonal(diagonal, off)
        nodes[p, : len(values)], weights[p, : len(values)] = values, vectors[0] ** 2
        nodes[p, len(values) :] = values[-1]  # of weight 0
    low, high = nodes.min(), nodes.max()
    if width is None:
        width = float(high - low) / 100 or max(abs(high), 1.0) / 100
    if isinstance(grid, (int, np.integer)):
        if grid < 2:
            raise ValueError(f"spectral_density: grid must have 2 points at least, not {grid}")
        grid = np.linspace(low - 5 * width, high + 5 * width, int(grid))
    t = np.asarray(grid, float)
    each = np.stack([_smoothed(t, values, weight, width) for values, weight in zip(nodes, weights)])
    error = each.std(axis=0, ddof=1) / np.sqrt(num_probes) if num_probes > 1 else np.full(t.shape, np.inf)
    return SpectralDensity(t, each.mean(axis=0), error, nodes, weights)


def _smoothed(t: Array, nodes: Array, weights: Array, width: float) -> Array:
    x = (t[:, None] - nodes) / width
    return (np.exp(-0.5 * x * x) @ weights) / (width * np.sqrt(2 * np.pi))


def lanczos(operator: LinearOperator, z: Array, steps: int) -> tuple[Array, Array]:
    """Diagonal and off-diagonal of the tridiagonal matrix QᵀHQ, with Q an orthonormal basis of z, Hz, H²z, …; fewer
    than `steps` rows where these vectors span less.

    >>> lanczos(symmetric("lanczos", np.diag([1.0, 3.0])), np.ones(2), 2)
    (array([2., 2.]), array([1.]))
    """
    dtype = operator.dtype
    Q = np.empty((steps, len(z)), dtype)
    Q[0] = z / np.linalg.norm(z)
    diagonal: list[float] = []
    off: list[float] = []
    scale = 0.0
    for i in range(steps):
        w = operator.matvec(Q[i])
        scale = max(scale, float(np.linalg.norm(w)))
        diagonal.append(float(Q[i] @ w))
        for _ in range(2):  # orthogonalised twice against all: once leaves a remainder of rounding
            w = w - (Q[: i + 1] @ w) @ Q[: i + 1]
        beta = float(np.linalg.norm(w))
        if i + 1 == steps or beta <= 100 * np.finfo(dtype).eps * scale:
            break
        off.append(beta)
        Q[i + 1] = w / beta
    return np.array(diagonal), np.array(off)
