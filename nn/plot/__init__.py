"""Figures of networks, one call each; every one returns matplotlib axes (or an array of them), and takes `ax=`.

| figure | of | its numbers |
| --- | --- | --- |
| `activation` | an activation, its first and second derivative | `activation_curves` |
| `decision_boundary` | a model of two features over the plane | `decision_map` |
| `filters` | the kernels of a convolution | the weight |
| `attention` | who attends to whom, head by head | the weights |
| `layer_report`, `time_steps` | signals and gradients by layer, and by time step | `nn.layer_report` |
"""

from .boundary import DecisionMap, decision_boundary, decision_map
from .curves import ActivationCurves, activation, activation_curves
from .heatmaps import attention, filters
from .layers import layer_report, time_steps

__all__ = [
    "ActivationCurves", "DecisionMap", "activation", "activation_curves", "attention", "decision_boundary",
    "decision_map", "filters", "layer_report", "time_steps",
]  # fmt: skip
