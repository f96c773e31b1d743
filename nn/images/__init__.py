"""Layers over places in a signal or picture: `pooling`, `resampling` (whose derivative may be a pooling), `padding`
`conv` (convolution and its transpose), `folding` (windows as columns). Read in that order.
"""
