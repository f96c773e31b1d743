"""Figures of a model at work: how signals and gradients fare from layer to layer, and from time step to time step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import report
from ..module.module import Module


def layer_report(
    model: Module, batch: Any, loss: Callable[..., Any] | None = None, target: Any = None, *, ax: Any = None
) -> Any:
    """By layer: the outputs' standard deviation, the mean |∂L/∂output|, the norm of ∂L/∂θ, and which parts of an
    activation's units are dead or saturated.

    Args:
        model, batch, loss, target: as for `nn.layer_report`.
        ax: an array of 4 matplotlib axes (2 without a loss); new ones by default.

    Returns:
        an array of axes. The numbers are those of `nn.layer_report`.

    Raises:
        TypeError: as `nn.layer_report`.
        ImportError: without matplotlib.

    >>> import matplotlib.pyplot as plt, nn
    >>> model = nn.MLP([2, 8, 8, 1], activation=nn.Tanh)
    >>> axes = nn.plot.layer_report(model, np.ones((5, 2), "float32"), nn.MSELoss(), np.zeros((5, 1), "float32"))
    >>> axes.shape
    (4,)
    >>> plt.close(axes[0].figure)
    """
    return report.layer_report(model, batch, loss, target).plot(ax=ax)


def time_steps(
    model: Module, batch: Any, loss: Callable[..., Any] | None = None, target: Any = None, *, ax: Any = None
) -> Any:
    """By time step, for each recurrent layer: the hidden states' standard deviation, and the mean |∂L/∂h_t|, which
    shows whether gradients vanish or explode on their way back.

    Args:
        model, batch, loss, target: as for `nn.layer_report`.
        ax: an array of 2 matplotlib axes (1 without a loss); new ones by default.

    Returns:
        an array of axes. The numbers are `nn.layer_report(…).steps`.

    Raises:
        TypeError: as `nn.layer_report`.
        ValueError: if the model has no time steps.
        ImportError: without matplotlib.

    >>> import matplotlib.pyplot as plt, nn
    >>> axes = nn.plot.time_steps(nn.RNN(3, 8), np.ones((20, 5, 3), "float32"), lambda output: output[0][-1].sum())
    >>> axes.shape
    (2,)
    >>> plt.close(axes[0].figure)
    """
    return report.layer_report(model, batch, loss, target).plot_steps(ax=ax)
