"""The operations, one record each, sorted by family.

Reading order: guards, precision and samples (what declarations share), then the families, each file a table of
derivatives: elementwise, transfer, indexing, shape, reductions, products, sparse, fused, creation; what is put together
from these: statistics, sampled, polynomials, mapping; the namespaces linalg (with norms, matrix_functions,
primary_functions, matrix_equations and structured), polynomial (series) and special (with gamma, student, bessel,
integrals, powers and exponential_sums, on ufuncs and quadrature); and signals.
"""
