"""Solvers of SciPy's whose results are differentiable by the parameters: ``ad.solvers.root(f, x0, args)``.

Read in this order: implicit (roots, fixed points and minimisers, by the implicit function theorem), integral, ode.
"""

from .implicit import fixed_point, minimize, root
from .integral import quad
from .ode import OdeResult, odeint, solve_ivp

__all__ = ["OdeResult", "fixed_point", "minimize", "odeint", "quad", "root", "solve_ivp"]
