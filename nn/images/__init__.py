"""Layers over places in a signal or picture: `pooling`, `resampling` (padding, upsampling, whose derivative is a
pooling) and `conv` (convolution and its transpose). Read in that order.
"""
