"""Optimisers that use curvature: read `base` and `newton` first, then `conjugate_gradient`, which `newton_cg`,
`hessian_free` and `natural_gradient` solve with; `kfac` has its curvature in factors, `lbfgs` guesses it of gradients;
`minimization` and `least_squares` hand derivatives to SciPy's solvers, which see nested arrays as `flattened` and
`constraints` have them.
"""
