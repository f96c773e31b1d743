"""The operations, one record each, sorted by family.

Reading order: guards, precision and samples (what declarations share), then the families, each file a table of
derivatives: elementwise, indexing, shape, reductions, products, sparse, fused, creation, and the namespaces linalg
(with norms and matrix_functions) and special (with gamma, student, bessel, integrals, powers and exponential_sums, on
ufuncs and quadrature).
"""
