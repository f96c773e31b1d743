"""Sequences continued by a model that predicts what comes next, and how the next entry is chosen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import autodiff as ad
from autodiff.devices import as_numpy, place_of, put
from autodiff.tensor import plain

from .arguments import as_tensor, count, held, number, positive
from .module.module import Module
from .random import generator

Array = np.ndarray[Any, Any]


def greedy(logits: Array) -> Array:
    """The entry with the greatest logit (the first of several), shape (N,) of logits (N, M)."""
    found: Array = _ranked(logits).argmax(axis=-1)
    return found


def _ranked(logits: Array) -> Array:
    """The logits, unless none of a row is the greatest."""
    if not np.isfinite(logits.max(axis=-1)).all():
        raise ValueError(f"generate: the greatest logits are {logits.max(axis=-1)}, so that no entry can be chosen")
    return logits


def sampling(
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    rng: np.random.Generator | None = None,
) -> Callable[[Array], Array]:
    """Entries drawn by softmax(logits / temperature), for `generate`.

    Args:
        temperature: more than 0: less makes probable entries more probable.
        top_k: draw from the k most probable ones only; those that tie with the k-th are kept.
        top_p: draw from the fewest most probable ones whose probabilities (of those that top_k leaves) sum to this or
            more, within [0, 1].
        rng: the generator; the one that `nn.manual_seed` sets by default.

    Returns:
        a function from logits (N, M) to integers (N,).

    Raises:
        TypeError, ValueError: for options out of range.

    Source: Fan et al. 2018 (top-k), Holtzman et al. 2020 (top-p, nucleus sampling).

    >>> import numpy as np, nn
    >>> nn.sampling(top_k=1)(np.array([[0.0, 2.0, 1.0]]))
    array([1])
    """
    positive("sampling", "temperature", temperature)
    if top_k is not None:
        count("sampling", "top_k", top_k, 1)
    if top_p is not None:
        number("sampling", "top_p", top_p, 0, 1)

    def choose(logits: Array) -> Array:
        z = _ranked(logits).astype(float) / temperature
        if top_k is not None and top_k < z.shape[-1]:
            z = np.where(z < np.partition(z, -top_k, axis=-1)[:, -top_k, None], -np.inf, z)
        p = ad.softmax(z, axis=-1).numpy()
        if top_p is not None:
            order = np.argsort(-p, axis=-1, kind="stable")
            falling = np.take_along_axis(p, order, axis=-1)
            before = falling.cumsum(axis=-1) - falling
            falling = np.where((before < top_p) | (np.arange(p.shape[-1]) == 0), falling, 0)
            np.put_along_axis(p, order, falling / falling.sum(axis=-1, keepdims=True), axis=-1)
        return np.array([generator(rng).choice(p.shape[-1], p=row) for row in p])

    return choose


def generate(
    model: Callable[..., Any],
    start: Any,
    steps: int,
    choose: Callable[[Array], Array] = greedy,
    *,
    context: int | None = None,
) -> Array:
    """Continue sequences: predict the next entry, choose it, append it, and again.

    Args:
        model: gives of sequences (N, T) the logits of what follows, (N, T, M), of which the last ones count, or (N, M).
            A model with a memory gives a pair (logits, state); it is then called as ``model(newest, state)``. Its
            training mode is off meanwhile.
        start: (T,) or (N, T), of 1 entry or more.
        steps: how many entries to append.
        choose: `greedy`, ``sampling(temperature, top_k, top_p)``, or a function of your own from logits (N, M) to the
            next entries (N,). (For sequences of numbers, (N, T, D), a function from the model's predictions (N, M) to
            (N, D), such as ``lambda y: y``.)
        context: how many of the last entries a model without memory sees, all by default.

    Returns:
        start and what was appended, an array of shape (T + steps,) or (N, T + steps).

    Raises:
        TypeError, ValueError: for shapes and options that do not fit, entries that the dtype of `start` does not hold,
            and by `greedy` and `sampling` for logits of which none is the greatest (NaN).

    >>> import numpy as np, nn
    >>> after = nn.Embedding(3, 3, dtype="float64")
    >>> after.weight.data = np.roll(np.eye(3), 1, axis=1)  # 0 → 1 → 2 → 0
    >>> nn.generate(after, [0, 1], 4)
    array([0, 1, 2, 0, 1, 2])
    """
    steps, context = (
        count("generate", "steps", steps),
        None if context is None else count("generate", "context", context, 1),
    )
    for name, function in (("model", model), ("choose", choose)):
        if not callable(function):
            raise TypeError(f"generate: {name} is a function, not {function!r:.80}")
    sequence = as_numpy(as_tensor(start))
    single = sequence.ndim == 1
    sequence = sequence[None] if single else sequence
    if sequence.ndim < 2 or sequence.shape[1] == 0:
        raise ValueError(f"generate: start has shape (T,) or (N, T) of 1 entry or more, not {np.shape(start)}")
    first = next(model.parameters(), None) if isinstance(model, Module) else None
    place = None if first is None else place_of(plain(first))
    training = [m for m in model.modules() if m.training] if isinstance(model, Module) else []
    for module in training:
        module.training = False
    try:
        with ad.no_grad():
            seen: Array = sequence
            state: tuple[Any, ...] = ()
            for _ in range(steps):
                found = model(put(seen if context is None or state else seen[:, -context:], place), *state)
                state = (found[1],) if isinstance(found, tuple) else ()
                logits = as_numpy(as_tensor(found[0] if state else found))
                if logits.ndim not in (2, 3) or len(logits) != len(sequence):
                    raise ValueError(
                        f"generate: of sequences of shape {seen.shape} the model gave {logits.shape}, expects "
                        f"(N, T, M) or (N, M)"
                    )
                following = np.asarray(choose(logits[:, -1] if logits.ndim == 3 else logits))
                if following.shape != (len(sequence), *sequence.shape[2:]):
                    raise ValueError(
                        f"generate: choose gave {following.shape}, expects {(len(sequence), *sequence.shape[2:])}"
                    )
                newest = held("generate", "what choose gives", following[:, None], sequence.dtype, "start")
                sequence = np.concatenate([sequence, newest], axis=1)
                seen = newest if state else sequence
    finally:
        for module in training:
            module.training = True
    return sequence[0] if single else sequence
