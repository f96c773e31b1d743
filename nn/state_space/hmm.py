"""The hidden Markov model. What its expectation–maximisation needs are derivatives of its log-likelihood."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import autodiff as ad
from autodiff import Tensor
from autodiff.ops.guards import common
from autodiff.tensor import plain, wrap

from ..arguments import as_tensor, count, floats, positive
from ..module.module import Module
from ..module.parameter import Parameter
from ..random import floating, generator


class HMM(Module):
    """A hidden Markov model: a Markov chain z of K states, each of which draws the observation x_t.

    The states start and move by p(z_1 = k) = softmax(initial)_k and p(z_t = k | z_{t−1} = j) = softmax(transition_j)_k.
    State k draws one of M symbols by softmax(emission_k) or, with ``features=``, D independent normal values of
    mean_k and variance e^log_variance_k.

    Args:
        states: K.
        symbols: M, of a discrete model.
        features: D, of a Gaussian one, in place of `symbols`.
        dtype: of the parameters; `nn.get_default_dtype()` by default.
        rng: generator of the initial values, standard normal (`log_variance` and `initial` are 0); the one that
            `nn.manual_seed` sets by default.

    Shapes: x (T,) or (N, T) of integers 0 … M − 1, or (T, D) or (N, T, D), sequences of a batch having one length;
    `initial` (K,), `transition` (K, K), `emission` (K, M) or `mean` and `log_variance` (K, D). Calling the model gives
    log p(x), shape () or (N,).

    The derivatives of log p(x) by the logarithms of the probabilities are the expected counts that Baum and Welch's
    algorithm needs, and by those of the emissions the posteriors.

    Raises:
        TypeError, ValueError: for options, shapes and symbols that do not fit, and by `posteriors`, `viterbi` and `em`
            for x of probability 0 or with NaN. (log p(x) is −∞ and NaN then, and its derivatives are NaN.)

    Source: Rabiner 1989, "A tutorial on hidden Markov models".

    >>> import numpy as np, nn
    >>> model, x = nn.HMM(2, 3, dtype="float64", rng=np.random.default_rng(0)), np.array([0, 0, 1, 2, 2, 2, 0, 0])
    >>> before = model(x).item()
    >>> likelihoods = model.em(x, 20)
    >>> bool(likelihoods[0] == before), bool(likelihoods[-1] > before + 1)
    (True, True)
    >>> model.viterbi(x).tolist() in ([0, 0, 1, 1, 1, 1, 0, 0], [1, 1, 0, 0, 0, 0, 1, 1])
    True
    """

    def __init__(
        self,
        states: int,
        symbols: int | None = None,
        *,
        features: int | None = None,
        dtype: Any = None,
        rng: np.random.Generator | None = None,
    ) -> None:
        if (symbols is None) == (features is None):
            raise ValueError(f"HMM: takes symbols= or features=, not {'neither' if symbols is None else 'both'}")
        self.states = count("HMM", "states", states, 1)
        self.symbols = None if symbols is None else count("HMM", "symbols", symbols, 1)
        self.features = None if features is None else count("HMM", "features", features, 1)
        dtype = floating(dtype)
        self.initial = Parameter(np.zeros(states, dtype))
        self.transition = Parameter(np.zeros((states, states), dtype))
        if symbols is not None:
            self.emission = Parameter(np.zeros((states, symbols), dtype))
        else:
            self.mean = Parameter(np.zeros((states, features), dtype))
            self.log_variance = Parameter(np.zeros((states, features), dtype))
        self.reset_parameters(rng)

    def reset_parameters(self, rng: np.random.Generator | None = None) -> None:
        """Draw the initial values again."""
        rng = generator(rng)
        for name, p in self.named_parameters():
            p.data = rng.normal(size=p.shape).astype(p.dtype) * (name not in ("initial", "log_variance"))

    def forward(self, x: Any) -> Tensor:
        """log p(x), by the forward recursion in logarithms: α_t = log Σ_j e^(α_{t−1,j} + log p(z_t | j)) + log p(x_t |
        z_t)."""
        value = _log_likelihood(*self._chain(), self._emitted(self._checked(x)))
        impossible = plain(value) == -np.inf
        if not common(~impossible.any()):
            # The logarithm of a probability that is 0 has no derivative; the sum over no paths would have 0.
            with np.errstate(divide="ignore"):
                value = ad.where(impossible, ad.log(0.0 * sum(ad.tanh(p).sum() for p in self.parameters())), value)
        return value

    def posteriors(self, x: Any) -> Tensor:
        """p(z_t = k | x), shape (T, K) or (N, T, K): the derivative of log p(x) by log p(x_t | z_t = k). It is a
        constant."""
        return wrap(self._expected(self._checked(x))[1][2])

    def viterbi(self, x: Any) -> np.ndarray[Any, Any]:
        """The most probable states given x, shape (T,) or (N, T)."""
        with ad.no_grad():
            initial, transition, *_ = (p.numpy() for p in self._chain())
            emitted = self._emitted(self._checked(x)).numpy()
        best, back = initial + emitted[..., 0, :], []
        for t in range(1, emitted.shape[-2]):
            reached = best[..., :, None] + transition
            back.append(reached.argmax(axis=-2))
            best = reached.max(axis=-2) + emitted[..., t, :]
        self._require_possible(best.max(axis=-1))
        path = [best.argmax(axis=-1)]
        for before in reversed(back):
            path.append(np.take_along_axis(before, path[-1][..., None], axis=-1)[..., 0])
        return np.stack(path[::-1], axis=-1)

    def sample(
        self, steps: int, size: int | None = None, rng: np.random.Generator | None = None
    ) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Draw states and observations.

        Args:
            steps: T.
            size: N, or None for a single sequence.
            rng: the generator; the one that `nn.manual_seed` sets by default.

        Returns:
            z of shape (T,) or (N, T), and x as the model takes it.
        """
        steps, rng = count("HMM.sample", "steps", steps, 1), generator(rng)
        n = 1 if size is None else count("HMM.sample", "size", size)
        with ad.no_grad():
            initial, transition = (np.exp(p.numpy().astype(float)) for p in self._chain())

        def drawn(p: Any) -> Any:
            return np.minimum((p.cumsum(axis=-1) < rng.random((*p.shape[:-1], 1))).sum(axis=-1), p.shape[-1] - 1)

        z = np.empty((n, steps), np.intp)
        for t in range(steps):
            z[:, t] = drawn(transition[z[:, t - 1]] if t else np.broadcast_to(initial, (n, self.states)))
        if self.symbols is None:
            mean, scale = self.mean.numpy(), np.exp(self.log_variance.numpy() / 2)
            x = (mean[z] + scale[z] * rng.normal(size=(n, steps, mean.shape[1]))).astype(mean.dtype)
        else:
            with ad.no_grad():
                x = drawn(ad.softmax(self.emission, axis=-1).numpy().astype(float)[z])
        return (z[0], x[0]) if size is None else (z, x)

    def em(self, x: Any, steps: int, *, min_variance: float = 1e-6) -> np.ndarray[Any, Any]:
        """Fit by expectation–maximisation (Baum and Welch's algorithm), which never lowers the likelihood.

        Args:
            x: as the model takes it, or a list of such, of different lengths.
            steps: how often.
            min_variance: what the variances of a Gaussian model do not fall below.

        Returns:
            the log-likelihood of all sequences before each step and after the last, shape (steps + 1,).
        """
        several = isinstance(x, list) and np.ndim(x[0] if x else x) > (self.features is not None)
        sequences = [self._checked(part) for part in (x if several else [x])]
        count("HMM.em", "steps", steps)
        positive("HMM.em", "min_variance", min_variance)
        found = []
        for step in range(steps + 1):
            expected = [self._expected(part) for part in sequences]
            found.append(sum(likelihood for likelihood, _ in expected))
            if step < steps:
                initial, transition = (sum(counts[k] for _, counts in expected) for k in (0, 1))
                rows = np.concatenate([counts[2].reshape(-1, self.states) for _, counts in expected])
                self._fit(initial, transition, rows, sequences, min_variance)
        return np.array(found)

    def _fit(
        self, initial: Any, transition: Any, posteriors: Any, sequences: list[Tensor], min_variance: float
    ) -> None:
        """The parameters that make the expected counts most likely; what was never met keeps its own."""
        tables, total = {"initial": initial, "transition": transition}, posteriors.sum(axis=0)[:, None]
        if self.symbols is not None:
            seen = np.concatenate([part.numpy().reshape(-1) for part in sequences])
            tables["emission"] = posteriors.T @ np.eye(self.symbols)[seen]
        else:
            values = np.concatenate([part.numpy().reshape(-1, part.shape[-1]) for part in sequences])
            met = np.maximum(total, np.finfo(total.dtype).tiny)
            mean = np.where(total > 0, posteriors.T @ values / met, self.mean.numpy())
            squares = np.stack([w @ (values - m) ** 2 for w, m in zip(posteriors.T, mean)]) / met
            old = self.log_variance.numpy()
            self.log_variance.data = np.where(total > 0, np.log(np.maximum(squares, min_variance)), old).astype(
                old.dtype
            )
            self.mean.data = mean.astype(self.mean.dtype)
        for name, counts in tables.items():
            p, whole = getattr(self, name), counts.sum(axis=-1, keepdims=True)
            with np.errstate(divide="ignore", invalid="ignore"):
                p.data = np.where(whole > 0, np.log(counts / whole), p.numpy()).astype(p.dtype)

    def _expected(self, x: Tensor) -> tuple[float, list[np.ndarray[Any, Any]]]:
        """log p(x) of all sequences, and its derivatives by the logarithms of the probabilities: how often each state
        comes first and follows each, and when it is met."""
        with ad.no_grad():
            logarithms = [p.numpy() for p in (*self._chain(), self._emitted(x))]
        value, counts = ad.value_and_grad(lambda *logs: _log_likelihood(*logs).sum(), argnums=(0, 1, 2))(*logarithms)
        self._require_possible(value)
        return float(value), list(counts)

    def _require_possible(self, values: Any) -> None:
        """Raise ValueError for a log-likelihood that is infinite or NaN."""
        if not np.isfinite(values).all():
            value = np.ravel(values)[~np.isfinite(np.ravel(values))][0]
            raise ValueError(f"{self._title()}: log p(x) is {value}, so that no states are probable given x")

    def _chain(self) -> tuple[Tensor, Tensor]:
        return ad.log_softmax(self.initial, axis=-1), ad.log_softmax(self.transition, axis=-1)

    def _emitted(self, x: Tensor) -> Tensor:
        """log p(x_t | z_t = k), shape (..., T, K)."""
        if self.symbols is not None:
            return ad.log_softmax(self.emission, axis=-1).T[plain(x)]
        distance = (x[..., None, :] - self.mean) ** 2 * ad.exp(-self.log_variance)
        return -(distance + self.log_variance + math.log(2 * math.pi)).sum(axis=-1) / 2

    def _checked(self, x: Any) -> Tensor:
        x = as_tensor(x)
        last = () if self.features is None else (self.features,)
        if x.ndim - len(last) not in (1, 2) or x.shape[x.ndim - len(last) :] != last or 0 in x.shape[-1 - len(last) :]:
            shapes = "(T,) or (N, T)" if self.features is None else f"(T, {self.features}) or (N, T, {self.features})"
            raise ValueError(f"{self._title()}: got x of shape {x.shape}, expects {shapes} of 1 step or more")
        if self.symbols is None:
            floats(self._title(), x, self.mean, "x")
        elif x.dtype.kind not in "iu":
            raise TypeError(f"{self._title()}: got x of {x.dtype}, expects integers, the numbers of symbols")
        elif x.size and not common((0 <= plain(x).min()) & (plain(x).max() < self.symbols)):
            raise ValueError(
                f"{self._title()}: symbols are 0 … {self.symbols - 1}, but x has {plain(x).min()} … {plain(x).max()}"
            )
        return x

    def _title(self) -> str:
        return f"HMM({self.extra_repr()})"

    def extra_repr(self) -> str:
        return f"{self.states}, " + (f"{self.symbols}" if self.features is None else f"features={self.features}")


def _log_likelihood(initial: Tensor, transition: Tensor, emitted: Tensor) -> Tensor:
    """log p(x), of logarithms of probabilities."""
    alpha = initial + emitted[..., 0, :]
    for t in range(1, emitted.shape[-2]):
        alpha = ad.logsumexp(alpha[..., None] + transition, axis=-2) + emitted[..., t, :]
    return ad.logsumexp(alpha, axis=-1)
