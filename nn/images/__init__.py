"""Layers over places in a signal or picture: `conv` (convolution and its transpose), `pooling`, `resampling` (padding,
upsampling). Each can be read by itself.
"""
