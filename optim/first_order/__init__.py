"""Optimisers that use gradients alone, from the simplest on: `sgd`, `adaptive` (Adagrad, Adadelta, RMSprop), `adam` and
`adam_family`, `signs` (Rprop, Lion), `layerwise` (LARS, LAMB).
"""
