"""A recurrent layer step by step, with its cells, so that every hidden state is a Tensor with a gradient of its own."""

from __future__ import annotations

from typing import Any

import numpy as np

import autodiff as ad
from autodiff import Tensor

from ..arguments import as_tensor
from ..dropout import dropout
from .cells import GRUCell, LSTMCell, RNNCell
from .layers import GRU, LSTM, RNN

Layers = RNN | LSTM | GRU


def unrolled(layer: Layers, input: Any, hx: Any = None) -> tuple[Any, dict[str, list[Tensor]]]:
    """What ``layer(input, hx)`` returns, and the hidden states h_t that the fused layer keeps to itself.

    Args:
        layer: its parameters are used, not copied.
        input, hx: as the layer takes them.

    Returns:
        The layer's result, and by the suffix of its weights ("l0", "l0_reverse", "l1", …) the h_t in the order of time,
        each of shape (N, hidden_size).

    >>> import nn
    >>> layer = nn.LSTM(3, 2, num_layers=2)
    >>> (output, _), states = unrolled(layer, np.ones((7, 5, 3), "float32"))
    >>> output.shape, sorted(states), len(states["l0"]), states["l0"][0].shape
    ((7, 5, 2), ['l0', 'l1'], 7, (5, 2))
    """
    x = as_tensor(input)
    single, pair = x.ndim == 2, isinstance(layer, LSTM)
    steps = list(x[:, None] if single else x.swapaxes(0, 1) if layer.batch_first else x)
    given = _initial(layer, hx, steps[0], single)
    directions = ("", "_reverse")[: 1 + layer.bidirectional]
    hidden: dict[str, list[Tensor]] = {}
    ends: list[list[Tensor]] = [[] for _ in given]
    for k in range(layer.num_layers):
        if k and layer.dropout and layer.training:
            steps = list(dropout(ad.stack(steps), layer.dropout, rng=layer.rng))
        outputs = []
        for direction in directions:
            cell = _cell(layer, f"_l{k}{direction}", steps[0].shape[-1])
            states = tuple(state[len(ends[0])] for state in given)
            seen = []
            for step in reversed(steps) if direction else steps:
                states = cell(step, states) if pair else (cell(step, states[0]),)
                seen.append(states[0])
            for own, end in zip(ends, states):
                own.append(end)
            hidden[f"l{k}{direction}"] = outputs_in_time = seen[::-1] if direction else seen
            outputs.append(outputs_in_time)
        steps = [ad.concatenate(parts, axis=-1) if len(parts) > 1 else parts[0] for parts in zip(*outputs)]
    y, final = ad.stack(steps), [ad.stack(own) for own in ends]
    if single:
        y, final = y[:, 0], [end[:, 0] for end in final]
    elif layer.batch_first:
        y = y.swapaxes(0, 1)
    return (y, tuple(final) if pair else final[0]), hidden


def _initial(layer: Layers, hx: Any, first: Tensor, single: bool) -> list[Tensor]:
    """The initial states, each (layers · directions, N, hidden_size)."""
    names = ("h_0", "c_0") if isinstance(layer, LSTM) else ("h_0",)
    if hx is not None:
        states = [as_tensor(state) for state in (hx if len(names) > 1 else [hx])]
        return [state[:, None] for state in states] if single else states
    shape = (layer.num_layers * (1 + layer.bidirectional), len(first), layer.hidden_size)
    if layer.learn_initial_state:
        return [ad.broadcast_to(getattr(layer, name), shape) for name in names]
    return [Tensor(np.zeros(shape, first.dtype)) for _ in names]


def _cell(layer: Layers, suffix: str, inputs: int) -> Any:
    sizes = inputs, layer.hidden_size, layer.bias
    rng = np.random.default_rng(0)  # the values it draws are replaced; the user's generator must not notice
    if isinstance(layer, RNN):
        cell: Any = RNNCell(*sizes, layer.nonlinearity, rng=rng)
    elif isinstance(layer, LSTM):
        cell = LSTMCell(*sizes, rng=rng)
    else:
        cell = GRUCell(*sizes, layer.update, layer.reset_after, rng=rng)
    for name, _ in list(cell.named_parameters()):
        setattr(cell, name, getattr(layer, name + suffix))
    return cell
