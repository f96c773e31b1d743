"""Layers over places in a signal or picture: `pooling`, `resampling` (whose derivative may be a pooling), `padding`
and `conv` (convolution and its transpose). Read in that order.
"""
