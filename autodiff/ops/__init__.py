"""The operations, one record each, sorted by family.

Reading order: guards, precision and samples (what declarations share), then the families, each file a table of
derivatives: elementwise, indexing, shape, reductions, products, sparse, fused, creation; what is put together from
these: statistics, sampled, polynomials, mapping; and the namespaces linalg (with norms and matrix_functions),
polynomial (series) and special (with gamma, student, bessel, integrals, powers and exponential_sums, on ufuncs and quadrature).
"""
