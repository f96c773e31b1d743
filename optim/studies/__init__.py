"""Experiments about learning itself: `lr_finder` (a learning rate by trial), `comparison` (paths of optimisers on one
function), `learning_rules` (the perceptron's and Hebb's). Each can be read by itself.
"""
