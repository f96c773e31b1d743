"""Solvers of SciPy's whose results are differentiable by the parameters: ``ad.solvers.root(f, x0, args)``.

Read in this order: implicit (roots, fixed points and minimisers, by the implicit function theorem), integral, ode.
"""

from .implicit import fixed_point as fixed_point
from .implicit import minimize as minimize
from .implicit import root as root
from .integral import quad as quad
from .ode import OdeResult as OdeResult
from .ode import odeint as odeint
from .ode import solve_ivp as solve_ivp
