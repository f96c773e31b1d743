"""The linear dynamical system with Gaussian noise: Kalman's filter, the smoother and their uses."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

import autodiff as ad
from autodiff import Tensor
from autodiff.devices import brought
from autodiff.tensor import plain

from ..arguments import as_tensor, choice, count, floats, number
from ..module.module import Module
from ..module.parameter import Parameter
from ..random import floating, generator


class _Step(NamedTuple):
    """A step of the filter: before and after its observation, and what the smoother needs of it."""

    mean: Tensor
    covariance: Tensor
    filtered_mean: Tensor
    filtered_covariance: Tensor
    kept: Tensor  # I − K C
    surprise: Tensor  # Cᵀ S⁻¹ (x − C m)
    information: Tensor  # Cᵀ S⁻¹ C
    likelihood: Tensor


def _product(a: Any, b: Any) -> Any:
    """A matrix times a vector, over leading axes of either."""
    return (a @ b[..., None])[..., 0]


class LinearGaussianSSM(Module):
    """A linear dynamical system z of K numbers, seen through D noisy ones:

        z_1 ~ N(m, P),  z_t = A z_{t−1} + w_t,  x_t = C z_t + v_t,  w_t ~ N(0, Q),  v_t ~ N(0, R).

    Args:
        states: K.
        features: D.
        dtype: of the parameters; `nn.get_default_dtype()` by default (float64 is worth its time here).
        rng: generator of C at the start, normal of variance 1/K; the one that `nn.manual_seed` sets by default.

    Shapes: x (T, D) or (N, T, D), NaN where an observation is missing; `transition` A (K, K), `emission` C (D, K),
    `initial_mean` m (K,), and the covariances as factors, of which the lower triangle counts, P = L Lᵀ:
    `initial_factor` and `transition_factor` (K, K), `emission_factor` (D, D). A starts as 0.9 · I, the factors as I.
    Calling the model gives log p(x), shape () or (N,).

    Raises:
        TypeError, ValueError: for options and shapes that do not fit.

    Source: Kalman 1960; Rauch, Tung and Striebel 1965 and Bierman 1973 (smoother); Shumway and Stoffer 1982 (EM).

    >>> import numpy as np, nn
    >>> model = nn.LinearGaussianSSM(1, 1, dtype="float64", rng=np.random.default_rng(0))
    >>> x = np.array([[1.0], [np.nan], [2.0], [2.5]])
    >>> mean, covariance = model.smooth(x)
    >>> mean.shape, covariance.shape
    ((4, 1), (4, 1, 1))
    >>> likelihoods = model.em(x, 10)
    >>> bool((np.diff(likelihoods) > 0).all())
    True
    """

    def __init__(
        self, states: int, features: int, *, dtype: Any = None, rng: np.random.Generator | None = None
    ) -> None:
        k, d = count("LinearGaussianSSM", "states", states, 1), count("LinearGaussianSSM", "features", features, 1)
        dtype = floating(dtype)
        self.transition = Parameter(0.9 * np.eye(k, dtype=dtype))
        self.emission = Parameter(np.empty((d, k), dtype))
        self.initial_mean = Parameter(np.zeros(k, dtype))
        for name, size in (("initial", k), ("transition", k), ("emission", d)):
            setattr(self, f"{name}_factor", Parameter(np.eye(size, dtype=dtype)))
        self.reset_parameters(rng)

    def reset_parameters(self, rng: np.random.Generator | None = None) -> None:
        """Draw C again and start all others anew."""
        d, k = self.emission.shape
        self.emission.data = (generator(rng).normal(size=(d, k)) / math.sqrt(k)).astype(self.emission.dtype)
        for name, p in self.named_parameters():
            if name != "emission":
                p.data = np.zeros_like(p.numpy()) if p.ndim == 1 else np.eye(len(p), dtype=p.dtype)
        self.transition.data = self.transition.numpy() * self.transition.dtype.type(0.9)

    def covariance(self, name: str) -> Tensor:
        """P, Q or R by the name "initial", "transition" or "emission"."""
        choice("LinearGaussianSSM.covariance", "name", name, ("initial", "transition", "emission"))
        factor = ad.tril(getattr(self, f"{name}_factor"))
        return factor @ factor.T

    def forward(self, x: Any) -> Tensor:
        """log p(x) of what was observed, by the filter: Σ log N(x_t; C m_t, C P_t Cᵀ + R), given what came before."""
        return ad.stack([step.likelihood for step in self._steps(self._checked(x))]).sum(axis=0)

    def filter(self, x: Any) -> tuple[Tensor, Tensor]:
        """Means (..., T, K) and covariances (..., T, K, K) of the states, each given the observations until then."""
        steps = self._steps(self._checked(x))
        return _stacked([s.filtered_mean for s in steps], [s.filtered_covariance for s in steps])

    def smooth(self, x: Any) -> tuple[Tensor, Tensor]:
        """Means (..., T, K) and covariances (..., T, K, K) of the states, each given all observations."""
        means, covariances, _ = self._smoothed(self._steps(self._checked(x)))
        return _stacked(means, covariances)

    def forecast(self, x: Any, steps: int) -> tuple[Tensor, Tensor]:
        """Means (..., steps, D) and covariances (..., steps, D, D) of the observations after x."""
        last = self._steps(self._checked(x))[-1]
        a, c, q, r = self.transition, self.emission, self.covariance("transition"), self.covariance("emission")
        mean, covariance, means, covariances = last.filtered_mean, last.filtered_covariance, [], []
        for _ in range(count("LinearGaussianSSM.forecast", "steps", steps, 1)):
            mean, covariance = _product(a, mean), a @ covariance @ a.T + q
            means.append(_product(c, mean))
            covariances.append(c @ covariance @ c.T + r)
        return _stacked(means, covariances)

    def sample(
        self, steps: int, size: int | None = None, rng: np.random.Generator | None = None
    ) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Draw states and observations.

        Args:
            steps: T.
            size: N, or None for a single sequence.
            rng: the generator; the one that `nn.manual_seed` sets by default.

        Returns:
            z of shape (T, K) or (N, T, K), and x of shape (T, D) or (N, T, D).
        """
        steps, rng = count("LinearGaussianSSM.sample", "steps", steps, 1), generator(rng)
        n, (d, k) = 1 if size is None else count("LinearGaussianSSM.sample", "size", size), self.emission.shape
        a, c, m = self.transition.numpy(), self.emission.numpy(), self.initial_mean.numpy()
        p, q, r = (np.tril(getattr(self, f"{name}_factor").numpy()) for name in ("initial", "transition", "emission"))
        z = np.empty((n, steps, k), a.dtype)
        for t in range(steps):
            noise = rng.normal(size=(n, k))
            z[:, t] = z[:, t - 1] @ a.T + noise @ q.T if t else m + noise @ p.T
        x = (z @ c.T + rng.normal(size=(n, steps, d)) @ r.T).astype(a.dtype)
        return (z[0], x[0]) if size is None else (z, x)

    def em(self, x: Any, steps: int, *, min_variance: float = 0.0) -> np.ndarray[Any, Any]:
        """Fit all parameters by expectation–maximisation, which never lowers the likelihood.

        Args:
            x: as the model takes it, NaN where an observation is missing.
            steps: how often.
            min_variance: what the variances P, Q and R do not fall below in any direction.

        Returns:
            the log-likelihood of all sequences before each step and after the last, shape (steps + 1,).

        Raises:
            ValueError: for no sequences, and where the likelihood has no maximum, since a covariance becomes singular
                (few observations, or such that are a linear map of the state), unless `min_variance` keeps it from it.
        """
        x = self._checked(x)
        x = x[None] if x.ndim == 2 else x
        count("LinearGaussianSSM.em", "steps", steps)
        number("LinearGaussianSSM.em", "min_variance", min_variance, 0)
        if not len(x):
            raise ValueError(f"LinearGaussianSSM.em: got x of shape {x.shape}, expects 1 sequence or more")
        found: list[float] = []
        rounding = math.sqrt(np.finfo(x.dtype).eps)
        with ad.no_grad():
            for step in range(steps + 1):
                try:
                    filtered = self._steps(x)
                    found.append(float(sum(s.likelihood.numpy().sum() for s in filtered)))
                    fell = step and not found[-1] >= found[-2] - rounding * max(1, abs(found[-2]))
                    if step < steps and not fell:
                        self._fit(x, min_variance, *self._smoothed(filtered))
                except np.linalg.LinAlgError:
                    fell = True
                if fell or not math.isfinite(found[-1]):
                    raise ValueError(
                        f"LinearGaussianSSM.em: log p(x) was {', '.join(f'{value:g}' for value in found[-2:])} after "
                        f"{step} steps, where a covariance is singular (there is no maximum then) or x infinite; write "
                        f"em(x, steps, min_variance=1e-6), a number in squares of x's unit"
                    )
        return np.array(found)

    def _fit(
        self, x: Tensor, least: float, means: list[Tensor], covariances: list[Tensor], across: list[Tensor]
    ) -> None:
        """The parameters that make the expected products of states and observations most likely."""
        m, v = (np.stack([a.numpy() for a in part], axis=1) for part in (means, covariances))
        z = m[..., None]  # the vectors as columns
        zz = v + z @ z.mT
        if x.shape[1] > 1:
            later = np.stack([a.numpy() for a in across], axis=1) + z[:, 1:] @ z[:, :-1].mT
            self._regress("transition", later, zz[:, :-1], zz[:, 1:], least)
        # A missing observation is C z + v with v given those that were made at its time.
        seen = ~np.isnan(x.numpy())
        r = self.covariance("emission").numpy()
        both, eye = seen[..., :, None] & seen[..., None, :], np.eye(len(r), dtype=r.dtype)
        gain = (r * seen[..., None, :]) @ np.linalg.inv(np.where(both, r, eye))
        known, of_state = gain @ np.where(seen, x.numpy(), 0)[..., None], (eye - gain) @ self.emission.numpy()
        xz = known @ z.mT + of_state @ zz
        cross = known @ (of_state @ z).mT
        xx = known @ known.mT + cross + cross.mT + of_state @ zz @ of_state.mT + r - gain @ (r * seen[..., None, :]).mT
        self._regress("emission", xz, zz, xx, least)
        first = m[:, 0]
        self.initial_mean.data = first.mean(axis=0)
        away = (first - first.mean(axis=0))[..., None]
        self._set_covariance("initial", (v[:, 0] + away @ away.mT).mean(axis=0), least)

    def _regress(self, name: str, yz: Any, zz: Any, yy: Any, least: float) -> None:
        """Least squares of y = W z + noise, of the expected products at all times."""
        times = math.prod(yz.shape[:2])
        yz, zz, yy = (a.sum(axis=(0, 1)) for a in (yz, zz, yy))
        w = np.linalg.solve(zz, yz.T).T
        getattr(self, name).data = w
        self._set_covariance(name, (yy - w @ yz.T) / times, least)

    def _set_covariance(self, name: str, covariance: Any, least: float) -> None:
        values, vectors = np.linalg.eigh((covariance + covariance.T) / 2)
        upper: Any = np.linalg.qr((vectors * np.sqrt(np.maximum(values, least))).T, mode="r")
        lower = upper.T
        getattr(self, f"{name}_factor").data = lower * np.where(np.diag(lower) < 0, -1, 1).astype(lower.dtype)

    def _checked(self, x: Any) -> Tensor:
        x, (d, k) = as_tensor(x), self.emission.shape
        if x.ndim not in (2, 3) or x.shape[-1] != d or x.shape[-2] == 0:
            raise ValueError(
                f"LinearGaussianSSM({k}, {d}): got x of shape {x.shape}, expects (T, {d}) or (N, T, {d}) of 1 step or "
                f"more"
            )
        floats("LinearGaussianSSM", x, self.emission, "x")
        return x

    def _steps(self, x: Tensor) -> list[_Step]:
        """Kalman's filter."""
        a, c, q, r = self.transition, self.emission, self.covariance("transition"), self.covariance("emission")
        eye, one = (brought(np.eye(len(m), dtype=m.dtype), plain(m)) for m in (a, r))
        seen = ~np.isnan(plain(x))
        given = ad.where(seen, x, 0)
        mean, covariance = self.initial_mean, self.covariance("initial")
        found: list[_Step] = []
        for t in range(x.shape[-2]):
            if t:
                mean = _product(a, found[-1].filtered_mean)
                covariance = a @ found[-1].filtered_covariance @ a.T + q
            # A missing observation is one of noise alone: 0 that was expected to be 0, of variance 1.
            here = seen[..., t, :]
            both = here[..., :, None] & here[..., None, :]
            ct, rt = ad.where(here[..., None], c, 0), ad.where(both, r, one)
            error = given[..., t, :] - _product(ct, mean)
            s = ct @ covariance @ ct.mT + rt
            weighted = ad.linalg.solve(s, ad.concatenate([ct, error[..., None]], axis=-1)).mT  # [C, error]ᵀ S⁻¹
            by_c = weighted[..., :-1, :]  # Cᵀ S⁻¹
            gain = covariance @ by_c
            kept = eye - gain @ ct
            density = (weighted[..., -1, :] * error).sum(axis=-1) + ad.linalg.slogdet(s)[1]
            found.append(_Step(
                mean, covariance, mean + _product(gain, error), kept @ covariance @ kept.mT + gain @ rt @ gain.mT,
                kept, _product(by_c, error), by_c @ ct,
                -(density + (here.sum(axis=-1) * math.log(2 * math.pi)).astype(a.dtype)) / 2,
            ))  # fmt: skip
        return found

    def _smoothed(self, steps: list[_Step]) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """Means, covariances, and the covariances of each state but the first with the one before; Bierman's form,
        which inverts no covariance of states. `gradient` and `curvature` are the first and the negative second
        derivative, by the mean after t, of the log-likelihood of what is observed later."""
        a = self.transition
        gradient = curvature = None
        means: list[Tensor] = []
        covariances: list[Tensor] = []
        across: list[Tensor] = []
        for s in reversed(steps):
            g, h = s.surprise, s.information
            if gradient is not None and curvature is not None:
                g, h = g + _product(s.kept.mT, gradient), h + s.kept.mT @ curvature @ s.kept
            means.append(s.mean + _product(s.covariance, g))
            covariances.append(s.covariance - s.covariance @ h @ s.covariance)
            across.append(a - s.covariance @ h @ a)
            gradient, curvature = _product(a.T, g), a.T @ h @ a
        across = [w @ s.filtered_covariance for w, s in zip(across[-2::-1], steps)]
        return means[::-1], covariances[::-1], across

    def extra_repr(self) -> str:
        return "{1}, {0}".format(*self.emission.shape)


def _stacked(means: list[Tensor], covariances: list[Tensor]) -> tuple[Tensor, Tensor]:
    return ad.stack(means, axis=-2), ad.stack(covariances, axis=-3)
