"""Curvature that can be used: Hessian, Gauss–Newton and Fisher products as SciPy operators, spectra, traces, models.

Read in this order: recorded (a graph that is walked again and again), operators, fisher, presentation (results in a
line), eigen, probes, density, quadratic, per_example. Needs SciPy, which is why ``import autodiff`` leaves this package
to its first use.
"""

from .density import SpectralDensity as SpectralDensity
from .density import spectral_density as spectral_density
from .eigen import condition_number as condition_number
from .eigen import curvature_along as curvature_along
from .eigen import eigenpairs as eigenpairs
from .eigen import max_stable_lr as max_stable_lr
from .eigen import sharpness as sharpness
from .fisher import Fisher as Fisher
from .operators import GaussNewton as GaussNewton
from .operators import Hessian as Hessian
from .operators import Jacobian as Jacobian
from .per_example import per_example_gradients as per_example_gradients
from .per_example import per_example_norms as per_example_norms
from .probes import Estimate as Estimate
from .probes import diagonal as diagonal
from .probes import trace as trace
from .quadratic import QuadraticModel as QuadraticModel
from .quadratic import StationaryPoint as StationaryPoint
from .quadratic import classify_stationary_point as classify_stationary_point
from .quadratic import quadratic_model as quadratic_model
