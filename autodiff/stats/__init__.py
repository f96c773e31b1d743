"""Probability distributions with SciPy's names and arguments, by value and parameters: ``ad.stats.norm.logpdf(x)``.

``pdf`` and ``logpdf``, of whole numbers ``pmf`` and ``logpmf``; of one variable ``cdf``, ``logcdf``, ``sf`` and
``logsf``; of continuous ones ``rvs(size=, rng=)``. Quantiles, fits and frozen distributions are not here. Arguments are
arrays or Tensors that broadcast; parameters that belong to no distribution give NaN. ``help(ad.stats.gamma)`` names the
arguments of one family.

>>> import numpy as np, autodiff as ad, optim
>>> data = np.array([0.5, 1.0, 1.5, 4.0])
>>> def minus_log_likelihood(p):
...     return -ad.stats.gamma.logpdf(data, p["a"], scale=p["scale"]).sum()
>>> fit = optim.minimize(minus_log_likelihood, {"a": 1.0, "scale": 1.0})
>>> {name: round(value, 3) for name, value in fit.x.items()}  # maximum likelihood
{'a': 1.904, 'scale': 0.919}

Read in this order: family (what all of one variable share), continuous and discrete (tables of families), multivariate.
"""

from .continuous import beta as beta
from .continuous import cauchy as cauchy
from .continuous import chi2 as chi2
from .continuous import expon as expon
from .continuous import gamma as gamma
from .continuous import gennorm as gennorm
from .continuous import gumbel_l as gumbel_l
from .continuous import gumbel_r as gumbel_r
from .continuous import halfnorm as halfnorm
from .continuous import invgamma as invgamma
from .continuous import laplace as laplace
from .continuous import logistic as logistic
from .continuous import lognorm as lognorm
from .continuous import norm as norm
from .continuous import pareto as pareto
from .continuous import t as t
from .continuous import uniform as uniform
from .continuous import vonmises as vonmises
from .continuous import weibull_min as weibull_min
from .continuous import wrapcauchy as wrapcauchy
from .discrete import bernoulli as bernoulli
from .discrete import betabinom as betabinom
from .discrete import binom as binom
from .discrete import geom as geom
from .discrete import nbinom as nbinom
from .discrete import poisson as poisson
from .multivariate import dirichlet as dirichlet
from .multivariate import multinomial as multinomial
from .multivariate import multivariate_normal as multivariate_normal
