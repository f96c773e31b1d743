"""Recurrent layers over whole sequences, with PyTorch's arguments, weight names and results.

The mathematics of a layer is one fused operation, in recurrence.py; only the GRU whose reset gate comes first and the
LSTM with a projection go step by step. Sequences of different lengths are run padded: what comes after a sequence's end
has no influence on what came before, and nobody reads it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, cast

import numpy as np

import autodiff as ad
from autodiff import Tensor
from autodiff.leaving import user_level
from autodiff.tensor import plain, wrap

from ..arguments import as_tensor, count, number
from ..dropout import dropout
from ..linear import linear
from ..module.parameter import Parameter
from ..random import floating, generator
from ..utils.rnn import PackedSequence, pad_packed_sequence
from .base import Gated, Recurrent, Simple
from .recurrence import scan
from .steps import Projected, ResetFirst, Step, Stepper, stepper, unroll


def _steps(x: Tensor) -> list[Tensor]:
    """The steps of a sequence; cut in halves, because the gradient of a piece has the size of what it is cut from."""
    if len(x) == 1:
        return [x[0]]
    half = len(x) // 2
    return _steps(x[:half]) + _steps(x[half:])


Run = Callable[[Tensor, list[Tensor], str], "Tensor | list[Tensor]"]
"""All steps of one layer in one direction: of the inputs (T, N, ·), the initial states and the suffix of the weights,
the states (states, T, N, H), or a list of them."""


def _of(states: Tensor | list[Tensor], k: int, *index: Any) -> Tensor:
    """Steps of the k-th state."""
    return states[k][index] if isinstance(states, list) else states[(k, *index)]


class _Layers(Recurrent):
    """A stack of recurrent layers, in one direction or both."""

    _first = "_l0"

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        learn_initial_state: bool = False,
        dtype: Any = None,
        rng: np.random.Generator | None = None,
    ) -> None:
        name = type(self).__name__
        super().__init__(input_size, hidden_size, bias)
        self.num_layers = count(name, "num_layers", num_layers, 1)
        self.batch_first = bool(batch_first)
        self.dropout = number(name, "dropout", dropout, 0, 1)
        self.bidirectional = bool(bidirectional)
        self.learn_initial_state = bool(learn_initial_state)
        self.rng = None if rng is None else generator(rng)
        if self.dropout and self.num_layers == 1:
            warnings.warn(
                f"{name}: dropout={dropout} is applied between layers, and there is only one; set num_layers, or "
                f"apply nn.Dropout to the output",
                stacklevel=user_level(),
            )
        dtype = floating(dtype)
        self._suffixes = [
            [f"_l{k}{end}" for end in ("", "_reverse")[: 1 + self.bidirectional]] for k in range(self.num_layers)
        ]
        for k, suffixes in enumerate(self._suffixes):
            for suffix in suffixes:
                self._add_weights(suffix, self._widths()[0] * len(suffixes) if k else self.input_size, dtype)
        if self.learn_initial_state:
            for state, width in zip(self._states, self._widths()):
                shape = (self.num_layers * (1 + self.bidirectional), 1, width)
                setattr(self, f"{state}_0", Parameter(np.empty(shape, dtype)))
        self.reset_parameters(rng)

    def unrolled(self, input: Any, hx: Any = None) -> tuple[Any, list[list[Step]]]:
        """What the layer returns, and the states and gates at every time step, computed step by step in plain
        operations: the same mathematics, recorded for all to see.

        Args:
            input, hx: as for the layer.

        Returns:
            The layer's result, made of these steps, so that it has a gradient by each of them; and a list for each
            layer and direction (in the order of the rows of h_n), of one dict for each time step, in the order of the
            input: Tensors (N, hidden_size) by the letters of the cell's formulas, "h", and for an LSTM "c", "i", "f",
            "g", "o", for a GRU "r", "z", "n". N is 1 for a single sequence.

        Raises:
            TypeError, ValueError: as the layer.

        >>> import numpy as np, nn
        >>> layer, x = nn.LSTM(3, 2), np.ones((7, 5, 3), "float32")
        >>> (output, _), (steps,) = layer.unrolled(x)
        >>> len(steps), sorted(steps[0]), steps[0]["f"].shape
        (7, ['c', 'f', 'g', 'h', 'i', 'o'], (5, 2))
        >>> np.allclose(output.data, layer(x)[0].data)
        True
        >>> ad.gradients(output[-1].sum(), steps[2]["f"])[0].shape  # of the last output by the forget gate at t = 2
        (5, 2)
        """
        found: list[list[Step]] = []
        if isinstance(input, PackedSequence):
            raise TypeError(f"{self._title()}: unrolled takes sequences of one length; unroll each by itself")

        def run(x: Tensor, states: list[Tensor], suffix: str) -> list[Tensor]:
            steps = self._unrolled(x, states, suffix)
            found.append(steps[::-1] if suffix.endswith("_reverse") else steps)
            return self._joined(steps)

        return self._result(input, hx, run), found

    def _result(self, input: Any, hx: Any, run: Run | None = None) -> Any:
        output, ends = self._forward(input, hx, run)
        return output, ends[0] if len(ends) == 1 else tuple(ends)

    def _joined(self, steps: list[Step]) -> list[Tensor]:
        return [ad.stack([step[letter] for step in steps]) for letter in self._states]

    def _unrolled(self, x: Tensor, states: list[Tensor], suffix: str) -> list[Step]:
        """The steps of one layer in one direction."""
        w_ih, w_hh, *biases = self._weights(suffix)
        b_ih, b_hh = biases or (None, None)
        return list(unroll(self._stepper(w_hh, b_hh, suffix), _steps(linear(x, w_ih, b_ih)), states))

    def _stepper(self, w_hh: Tensor, b_hh: Tensor | None, suffix: str) -> Stepper:
        return stepper(self._kind(), w_hh, b_hh)

    def _forward(self, input: Any, hx: Any, run: Run | None = None) -> tuple[Any, list[Tensor]]:
        """The outputs of the last layer and the final states; `run` in place of `_run`."""
        run = run or self._run
        packed = input if isinstance(input, PackedSequence) else None
        input = as_tensor(input) if packed is None else pad_packed_sequence(packed, self.batch_first)[0]
        n = self.input_size
        batched = f"(N, T, {n})" if self.batch_first else f"(T, N, {n})"
        self._check_input(input, {2: f"(T, {n})", 3: batched})
        single = input.ndim == 2
        x = input[:, None] if single else input.swapaxes(0, 1) if self.batch_first else input
        if x.shape[0] == 0:
            raise ValueError(f"{self._title()}: got input of shape {input.shape}, expects a sequence of 1 step or more")
        last: tuple[Any, ...] = (-1,)
        backwards: tuple[Any, ...] = (slice(None, None, -1),)
        if packed is not None:
            # The last step of each sequence, and its steps from there on backwards, its padding left where it is
            lengths, own, t = packed.lengths, np.arange(x.shape[1]), np.arange(len(x))[:, None]
            last, backwards = (lengths - 1, own), (np.where(t < lengths, lengths - 1 - t, t), own)
        states = self._initial(hx, x, single, input)
        final: list[list[Tensor]] = [[] for _ in self._states]
        row = 0
        for k, suffixes in enumerate(self._suffixes):
            if k and self.dropout and self.training:
                x = dropout(x, self.dropout, rng=self.rng)
            outputs = []
            for reverse, suffix in enumerate(suffixes):
                y = run(x[backwards] if reverse else x, [state[row] for state in states], suffix)
                outputs.append(_of(y, 0, *backwards) if reverse else _of(y, 0))
                for i, own_states in enumerate(final):
                    own_states.append(_of(y, i, *last))
                row += 1
            x = outputs[0] if len(outputs) == 1 else ad.concatenate(outputs, axis=-1)
        # One state that is recorded, and so never written, is a view of the outputs: where it comes back in detached,
        # pictures know it by its memory.
        ends = [own[0][None] if len(own) == 1 and own[0].requires_grad else ad.stack(own) for own in final]
        if packed is not None:
            return packed._replace(data=x[packed.places()]), ends
        if single:
            return x[:, 0], [end[:, 0] for end in ends]
        return (x.swapaxes(0, 1) if self.batch_first else x), ends

    def _run(self, x: Tensor, states: list[Tensor], suffix: str) -> Tensor | list[Tensor]:
        """The states (states, T, N, H) after each step."""
        return scan(self._kind(), x, states, self._weights(suffix))

    def _kind(self) -> str:
        """The cell's name in recurrence.py."""
        raise NotImplementedError

    def _initial(self, hx: Any, x: Tensor, single: bool, input: Tensor) -> list[Tensor]:
        """The initial states, each (layers · directions, N, H)."""
        rows, batch = self.num_layers * (1 + self.bidirectional), x.shape[1]
        shapes = {name: (rows, batch, width) for name, width in zip(self._states, self._widths())}
        if hx is not None:
            states = self._given(hx)
            for (name, shape), state in zip(shapes.items(), states):
                length = "hidden_size" if shape[-1] == self.hidden_size else "proj_size"
                meaning = f"(layers · directions, {length})" if single else f"(layers · directions, N, {length})"
                self._check_state(f"{name}_0", state, (rows, shape[-1]) if single else shape, meaning, input)
            return [state[:, None] for state in states] if single else states
        if self.learn_initial_state:
            return [ad.broadcast_to(getattr(self, f"{name}_0"), shape) for name, shape in shapes.items()]
        return [wrap(np.zeros(shape, x.dtype, like=plain(x))) for shape in shapes.values()]

    def _options(self) -> dict[str, Any]:
        defaults = {"num_layers": 1, "batch_first": False, "dropout": 0.0, "bidirectional": False,
                    "learn_initial_state": False}  # fmt: skip
        own = {name: getattr(self, name) for name in defaults}
        return super()._options() | {name: value for name, value in own.items() if value != defaults[name]}


class RNN(Simple, _Layers):
    """Layers of simple recurrent units over a sequence: h_t = φ(W_ih x_t + b_ih + W_hh h_{t−1} + b_hh).

    Args:
        input_size: length of x_t.
        hidden_size: length of h_t.
        num_layers: how many layers, each reading the outputs of the one before.
        nonlinearity: φ: "tanh" or "relu".
        bias: whether there are b_ih and b_hh.
        batch_first: whether input and output are (N, T, …) and not (T, N, …); the states are not affected.
        dropout: the probability with which, in training, an output of every layer but the last is dropped.
        bidirectional: whether a second set of weights (``…_reverse``) reads the sequence backwards; the outputs of
            both are joined.
        learn_initial_state: whether the initial state is a parameter, `h_0` of shape (layers · directions, 1,
            hidden_size), 0 at the start.
        dtype: of the parameters; `nn.get_default_dtype()` by default.
        rng: generator of the initial values, which are uniform within ±1/√hidden_size (PyTorch's default), and of
            dropout; the one that `nn.manual_seed` sets by default.

    Shapes: input (T, N, input_size), output (T, N, directions · hidden_size), h_0 and h_n (layers · directions, N,
    hidden_size); all without N for a single sequence. A `nn.utils.rnn.PackedSequence` gives a packed output, and states
    at the end of each sequence. Weights of layer k: `weight_ih_l{k}` (hidden_size, inputs),
    `weight_hh_l{k}` (hidden_size, hidden_size), `bias_ih_l{k}`, `bias_hh_l{k}` (hidden_size,).

    Raises:
        TypeError, ValueError: for options and shapes that do not fit, and for a sequence of length 0.

    >>> import numpy as np, nn
    >>> output, h_n = nn.RNN(3, 2, num_layers=2)(np.ones((7, 5, 3), "float32"))
    >>> output.shape, h_n.shape
    ((7, 5, 2), (2, 5, 2))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        learn_initial_state: bool = False,
        dtype: Any = None,
        rng: np.random.Generator | None = None,
    ) -> None:
        self._set(nonlinearity)
        super().__init__(
            input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional,
            learn_initial_state=learn_initial_state, dtype=dtype, rng=rng,
        )  # fmt: skip

    def _kind(self) -> str:
        return self.nonlinearity

    def forward(self, input: Any, hx: Any = None) -> tuple[Any, Tensor]:
        """The outputs of the last layer at all steps, and the final states h_n; `hx` is h_0."""
        return cast(tuple[Any, Tensor], self._result(input, hx))


class LSTM(_Layers):
    """Layers of long short-term memory over a sequence, each step as in `LSTMCell`.

    Args:
        input_size: length of x_t.
        hidden_size: length of h_t and c_t.
        num_layers, bias, batch_first, dropout, bidirectional, dtype, rng: as for `RNN`.
        proj_size: with a length other than 0, less than hidden_size, h_t is W_hr (o ⊙ tanh(c_t)) of that length.
        learn_initial_state: whether the initial states are parameters, `h_0` and `c_0` of shape (layers · directions,
            1, hidden_size), 0 at the start.

    Shapes: input (T, N, input_size), output (T, N, directions · hidden_size), each of h_0, c_0, h_n and c_n (layers ·
    directions, N, hidden_size); all without N for a single sequence, and with proj_size in place of hidden_size for h,
    the outputs and the columns of `weight_hh`. A `nn.utils.rnn.PackedSequence` gives a packed output, and states at the
    end of each sequence. Weights of layer k, the gates' rows in the order i, f, g, o: `weight_ih_l{k}`
    (4 · hidden_size, inputs), `weight_hh_l{k}` (4 · hidden_size, hidden_size), `bias_ih_l{k}`, `bias_hh_l{k}`
    (4 · hidden_size,), and with proj_size `weight_hr_l{k}` (proj_size, hidden_size).

    Raises:
        TypeError, ValueError: for options and shapes that do not fit, and for a sequence of length 0.

    >>> import numpy as np, nn
    >>> output, (h_n, c_n) = nn.LSTM(3, 2, bidirectional=True)(np.ones((7, 5, 3), "float32"))
    >>> output.shape, h_n.shape, c_n.shape
    ((7, 5, 4), (2, 5, 2), (2, 5, 2))
    """

    _gates = 4
    _states = ("h", "c")

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        *,
        learn_initial_state: bool = False,
        dtype: Any = None,
        rng: np.random.Generator | None = None,
    ) -> None:
        self.proj_size = count("LSTM", "proj_size", proj_size)
        if self.proj_size >= count("LSTM", "hidden_size", hidden_size, 1):
            raise ValueError(f"LSTM: proj_size is less than hidden_size={hidden_size}, not {proj_size}")
        super().__init__(
            input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional,
            learn_initial_state=learn_initial_state, dtype=dtype, rng=rng,
        )  # fmt: skip

    def _kind(self) -> str:
        return "lstm"

    def _widths(self) -> tuple[int, ...]:
        return self.proj_size or self.hidden_size, self.hidden_size

    def _options(self) -> dict[str, Any]:
        return super()._options() | ({"proj_size": self.proj_size} if self.proj_size else {})

    def _run(self, x: Tensor, states: list[Tensor], suffix: str) -> Tensor | list[Tensor]:
        return self._joined(self._unrolled(x, states, suffix)) if self.proj_size else super()._run(x, states, suffix)

    def _stepper(self, w_hh: Tensor, b_hh: Tensor | None, suffix: str) -> Stepper:
        if self.proj_size:
            return Projected(w_hh, b_hh, getattr(self, f"weight_hr{suffix}"))
        return super()._stepper(w_hh, b_hh, suffix)

    def forward(self, input: Any, hx: Any = None) -> tuple[Any, tuple[Tensor, Tensor]]:
        """The outputs of the last layer at all steps, and the final states (h_n, c_n); `hx` is (h_0, c_0)."""
        return cast(tuple[Any, tuple[Tensor, Tensor]], self._result(input, hx))


class GRU(Gated, _Layers):
    """Layers of gated recurrent units over a sequence, each step as in `GRUCell`.

    Args:
        input_size: length of x_t.
        hidden_size: length of h_t.
        update, reset_after: the conventions, as for `GRUCell`; PyTorch's by default.
        num_layers, bias, batch_first, dropout, bidirectional, learn_initial_state, dtype, rng: as for `RNN`.

    Shapes: input (T, N, input_size), output (T, N, directions · hidden_size), h_0 and h_n (layers · directions, N,
    hidden_size); all without N for a single sequence. A `nn.utils.rnn.PackedSequence` gives a packed output, and states
    at the end of each sequence. Weights of layer k, the gates' rows in the order r, z, n:
    `weight_ih_l{k}` (3 · hidden_size, inputs), `weight_hh_l{k}` (3 · hidden_size, hidden_size), `bias_ih_l{k}`,
    `bias_hh_l{k}` (3 · hidden_size,).

    Raises:
        TypeError, ValueError: for options and shapes that do not fit, and for a sequence of length 0.

    >>> import numpy as np, nn
    >>> nn.GRU(3, 2, num_layers=2, batch_first=True)
    GRU(3, 2, num_layers=2, batch_first=True) · 78 parameters
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        update: str = "old",
        reset_after: bool = True,
        learn_initial_state: bool = False,
        dtype: Any = None,
        rng: np.random.Generator | None = None,
    ) -> None:
        self._set(update, reset_after)
        super().__init__(
            input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional,
            learn_initial_state=learn_initial_state, dtype=dtype, rng=rng,
        )  # fmt: skip

    def _kind(self) -> str:
        return "gru" if self.update == "old" else "gru_new"

    def _run(self, x: Tensor, states: list[Tensor], suffix: str) -> Tensor | list[Tensor]:
        if self.reset_after:
            return super()._run(x, states, suffix)
        return self._joined(self._unrolled(x, states, suffix))

    def _stepper(self, w_hh: Tensor, b_hh: Tensor | None, suffix: str) -> Stepper:
        if self.reset_after:
            return super()._stepper(w_hh, b_hh, suffix)
        return ResetFirst(w_hh, b_hh, self.update == "new")

    def forward(self, input: Any, hx: Any = None) -> tuple[Any, Tensor]:
        """The outputs of the last layer at all steps, and the final states h_n; `hx` is h_0."""
        return cast(tuple[Any, Tensor], self._result(input, hx))
