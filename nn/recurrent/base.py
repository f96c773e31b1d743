"""What cells and layers share: options, weights and checks."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from autodiff import Tensor

from ..arguments import as_tensor, choice, count, floats
from ..module.module import Module
from ..module.parameter import Parameter
from ..random import generator


class Recurrent(Module):
    """Sizes, weights, and checks of inputs and states."""

    _gates = 1
    _states: tuple[str, ...] = ("h",)
    _first = ""
    """What the names of the first weights end in."""

    input_size: int
    hidden_size: int
    bias: bool

    def __init__(self, input_size: int, hidden_size: int, bias: bool) -> None:
        name = type(self).__name__
        self.input_size = count(name, "input_size", input_size)
        self.hidden_size = count(name, "hidden_size", hidden_size, 1)
        self.bias = bool(bias)

    def _add_weights(self, suffix: str, inputs: int, dtype: np.dtype[Any]) -> None:
        rows, width = self._gates * self.hidden_size, self._widths()[0]
        shapes: dict[str, tuple[int, ...]] = {"weight_ih": (rows, inputs), "weight_hh": (rows, width)}
        if self.bias:
            shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)}
        if width != self.hidden_size:
            shapes["weight_hr"] = (width, self.hidden_size)
        for name, shape in shapes.items():
            setattr(self, name + suffix, Parameter(np.empty(shape, dtype)))

    def _widths(self) -> tuple[int, ...]:
        """The lengths of the states."""
        return (self.hidden_size,) * len(self._states)

    def _weights(self, suffix: str) -> list[Tensor]:
        names = ("weight_ih", "weight_hh") + (("bias_ih", "bias_hh") if self.bias else ())
        return [getattr(self, name + suffix) for name in names]

    def reset_parameters(self, rng: np.random.Generator | None = None) -> None:
        """Draw the initial weights and biases again, uniform within ±1/√hidden_size; learned initial states start
        at 0."""
        rng = generator(rng)
        bound = 1 / math.sqrt(self.hidden_size)
        for name, p in self.named_parameters():
            learned = name in ("h_0", "c_0")
            p.data = np.zeros(p.shape, p.dtype) if learned else rng.uniform(-bound, bound, p.shape).astype(p.dtype)

    def _given(self, states: Any) -> list[Tensor]:
        """The initial states a user passed, as a list of Tensors."""
        wanted = self._states
        if len(wanted) == 1:
            states = (states,)
        elif not isinstance(states, (tuple, list)) or len(states) != len(wanted):
            raise TypeError(
                f"{type(self).__name__}: the initial states are a tuple ({', '.join(wanted)}), not "
                + (f"a {type(states).__name__}" + (f" of {len(states)}" if isinstance(states, (tuple, list)) else ""))
            )
        found = [as_tensor(state) for state in states]
        for state in found:
            floats(f"{type(self).__name__}, initial state", state)
        return found

    def _check_input(self, input: Tensor, shapes: dict[int, str]) -> None:
        if input.ndim not in shapes or input.shape[-1] != self.input_size:
            raise ValueError(
                f"{self._title()}: got input of shape {input.shape}, expects {' or '.join(shapes.values())}"
            )
        floats(self._title(), input, self._weights(self._first)[0])

    def _check_state(self, name: str, state: Tensor, shape: tuple[int, ...], meaning: str, input: Tensor) -> None:
        if state.shape != shape:
            raise ValueError(
                f"{self._title()}: got {name} of shape {state.shape}, expects {meaning} = {shape} "
                f"for input of shape {input.shape}"
            )

    def _title(self) -> str:
        return f"{type(self).__name__}(input_size={self.input_size}, hidden_size={self.hidden_size})"

    def _options(self) -> dict[str, Any]:
        """Options that differ from their defaults."""
        return {} if self.bias else {"bias": False}

    def multiply_adds(self, input_shapes: tuple[Any, ...], output_shape: Any) -> int:
        """All weights, once for each step of each sequence."""
        rows = math.prod(input_shapes[0][:-1])
        return int(rows * sum(p.size for name, p in self.named_parameters() if name.startswith("weight")))

    def extra_repr(self) -> str:
        options = "".join(f", {name}={value!r}" for name, value in self._options().items())
        return f"{self.input_size}, {self.hidden_size}{options}"


class Simple(Recurrent):
    """What RNN and RNNCell share: the choice of φ."""

    nonlinearity: str

    def _set(self, nonlinearity: str) -> None:
        self.nonlinearity = choice(type(self).__name__, "nonlinearity", nonlinearity, ("tanh", "relu"))

    def _options(self) -> dict[str, Any]:
        return super()._options() | ({} if self.nonlinearity == "tanh" else {"nonlinearity": self.nonlinearity})


class Gated(Recurrent):
    """What GRU and GRUCell share: two conventions and their options."""

    _gates = 3

    update: str
    reset_after: bool

    def _set(self, update: str, reset_after: bool) -> None:
        self.update = choice(type(self).__name__, "update", update, ("old", "new"))
        self.reset_after = bool(reset_after)

    def _options(self) -> dict[str, Any]:
        options = super()._options()
        if self.update != "old":
            options["update"] = self.update
        return options if self.reset_after else options | {"reset_after": False}
