"""Models of sequences with hidden states, whose log-likelihood is computed exactly: discrete states in `hmm`, Gaussian
ones in `linear_gaussian`.
"""
