"""Curvature that can be used: Hessian, Gauss–Newton and Fisher products as SciPy operators, spectra, traces, models.

Read in this order: recorded (a graph that is walked again and again), operators, fisher, layers, kronecker, kfac,
presentation (results in a line), eigen, probes, density, inverse, quadratic, per_example; then what curvature is used
for: objective (a model's loss over data), noise, influence, laplace, landscape, track. Needs SciPy, which is why
``import autodiff`` leaves this package to its first use.
"""

from .density import SpectralDensity, spectral_density
from .eigen import condition_number, curvature_along, eigenpairs, max_stable_lr, sharpness
from .fisher import Fisher
from .influence import Influence, influence
from .inverse import Inverse
from .kfac import EKFAC, KFAC
from .landscape import LossLandscape, landscape
from .laplace import GaussianPrediction, Laplace, laplace
from .noise import GradientNoise, gradient_noise
from .operators import GaussNewton, Hessian, Jacobian
from .per_example import per_example_gradients, per_example_norms
from .probes import Estimate, diagonal, norm, trace, xdiag, xtrace
from .quadratic import QuadraticModel, StationaryPoint, classify_stationary_point, quadratic_model
from .track import Track, track

__all__ = [
    "EKFAC", "KFAC", "Estimate", "Fisher", "GaussNewton", "GaussianPrediction", "GradientNoise", "Hessian",
    "Influence", "Inverse", "Jacobian", "Laplace", "LossLandscape", "QuadraticModel", "SpectralDensity",
    "StationaryPoint", "Track", "classify_stationary_point", "condition_number", "curvature_along", "diagonal",
    "eigenpairs", "gradient_noise", "influence", "landscape", "laplace", "max_stable_lr", "norm",
    "per_example_gradients", "per_example_norms", "quadratic_model", "sharpness", "spectral_density", "trace", "track",
    "xdiag", "xtrace",
]  # fmt: skip
