"""Experiments about learning itself: `lr_finder` (a learning rate by trial), `landscape` and `comparison` (paths of
optimisers on one function), `descent` (gradient descent with several rates), `learning_rules` (the perceptron's and
Hebb's). Each but `comparison` can be read by itself.
"""
