"""Families of distributions of one variable: from the logarithm of a density and a distribution function in standard
form, all that SciPy's distributions offer, with location and scale, limits outside the support, and derivatives.

Order: arguments, what all families share, continuous families, discrete families.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

import numpy as np

from ..device_arrays import random_numbers
from ..devices import place_of
from ..opaque import opaque
from ..ops.guards import common, raw
from ..ops.linalg import as_real
from ..random import generator
from ..tensor import Tensor

Function = Callable[..., Any]


def bound(
    name: str, needed: Iterable[str], optional: dict[str, Any], args: Any, kwargs: Any, keywords: str = ""
) -> list[Any]:
    """The arguments of a method in the order of its signature; `keywords` are those that it has taken itself.

    Raises:
        TypeError: too many, one twice, an unknown one or a missing one.
    """
    needed = list(needed)
    names = [*needed, *optional]
    found = dict(zip(names, args))
    twice, unknown = sorted(found.keys() & kwargs.keys()), sorted(kwargs.keys() - set(names))
    found |= kwargs
    missing = [n for n in needed if n not in found]
    wrong = (
        f"{len(args)} arguments" if len(args) > len(names) else f"{twice[0]} twice" if twice
        else f"an argument {unknown[0]!r}" if unknown else f"no {missing[0]}" if missing else ""
    )  # fmt: skip
    if wrong:
        raise TypeError(f"{name}: got {wrong}; it takes ({_signature(needed, optional)}{keywords})")
    return [found.get(n, optional.get(n)) for n in names]


def _signature(needed: Iterable[str], optional: dict[str, Any]) -> str:
    return ", ".join([*needed, *(f"{n}={v!r}" for n, v in optional.items())])


def whole(name: str, **numbers: Any) -> None:
    """Refuse derivatives by whole numbers."""
    for what, x in numbers.items():
        if getattr(x, "requires_grad", False):
            raise TypeError(
                f"{name}: has no derivative by {what}, a whole number, which requires a gradient; pass it detached "
                f"(t.detach())"
            )


def nothing(*inputs: Any) -> Any:
    """The logarithm of a density that is 0 all around: −∞, whose derivatives are NaN."""
    total: Any = 0.0
    for x in inputs:
        total = total + np.where(np.isfinite(raw(x)), x, 0)
    with np.errstate(divide="ignore"):
        return np.log(0 * total)


def checked(y: Any, *conditions: Any) -> Any:
    """y, and NaN with all derivatives where the parameters are those of no distribution."""
    fine = functools.reduce(operator.and_, conditions)
    return y if common(fine.all()) else y * np.where(fine, 1, np.nan).astype(y.dtype)


def _drawn(like: Any, rng: np.random.Generator, kind: str, shape: tuple[int, ...]) -> Any:
    return random_numbers(rng, kind, shape, place_of(like))


_numbers = opaque(_drawn, "random_numbers", "a draw", draws=True, written=_drawn)


def source(rng: np.random.Generator | None, shape: tuple[int, ...], *parameters: Any) -> Callable[[str], Tensor]:
    """Draws of that shape from a generator's method of a name; the parameters that they are for show to whom
    (a program, say) the draws belong."""
    found = generator(rng)
    like: Any = functools.reduce(operator.add, [raw(p) for p in parameters])
    return lambda kind: Tensor(_numbers(like, found, kind, shape))


# What all families share

LIMITS = {"pdf": (0.0, 0.0), "logpdf": (-np.inf, -np.inf), "cdf": (0.0, 1.0), "sf": (1.0, 0.0),
          "logcdf": (-np.inf, 0.0), "logsf": (0.0, -np.inf)}  # fmt: skip
"""What each function is below and above the support."""

DENSITIES = ("pdf", "logpdf", "pmf", "logpmf")

DOCS = {
    "pdf": "The density at x, 0 outside the support.",
    "logpdf": "The logarithm of the density at x.",
    "pmf": "The probability of k, 0 where k is no whole number of the support.",
    "logpmf": "The logarithm of the probability of k.",
    "cdf": "The probability of at most that.",
    "logcdf": "The logarithm of `cdf`.",
    "sf": "The probability of more than that, accurate where it is small.",
    "logsf": "The logarithm of `sf`.",
}


def method(which: str) -> Callable[..., Tensor]:
    """A method of a family: arrays or Tensors that broadcast, shapes by position or by name; a Tensor is returned."""

    def of_arguments(self: Any, *args: Any, **kwargs: Any) -> Tensor:
        value: Tensor = self._value(which, args, kwargs)
        return value

    of_arguments.__name__, of_arguments.__doc__ = which, DOCS[which]
    return of_arguments


_DRAWS = ", *, size=None, rng=None"

_ABSENT = {
    "fit": "maximise the likelihood, optim.minimize(lambda p: -{density}.sum(), p0)",
    "nnlf": "write -{density}.sum()",
    "ppf": "where no derivative is wanted, call scipy.stats.{name}.ppf; elsewhere solve cdf(x) = q, "
    "ad.solvers.root(lambda x, q, *p: ad.stats.{name}.cdf(x, *p) - q, x0, args=(q, *p))",
    "isf": "where no derivative is wanted, call scipy.stats.{name}.isf; elsewhere solve sf(x) = q, "
    "ad.solvers.root(lambda x, q, *p: ad.stats.{name}.sf(x, *p) - q, x0, args=(q, *p))",
    "rvs": "draws that move with the parameters are of continuous distributions; constants, scipy.stats.{name}.rvs",
    "log_prob": "write {density}, as SciPy's",
    "sample": "write ad.stats.{name}.rvs(…, size=, rng=), as SciPy's",
    "rsample": "write ad.stats.{name}.rvs(…, size=, rng=), as SciPy's",
    **dict.fromkeys(
        ("mean", "median", "var", "std", "stats", "moment", "entropy", "expect", "interval", "support"),
        "where no derivative is wanted, call scipy.stats.{name}.{wanted}; elsewhere write its formula",
    ),
}
"""What to write in place of what SciPy's and PyTorch's distributions have and these have not."""


class Distribution:
    """What all distributions share: they are no functions, and show what is called on them."""

    name: str

    if not TYPE_CHECKING:  # a type checker takes every name for one that a class with __getattr__ has

        def __getattr__(self, name: str) -> NoReturn:
            """What these distributions have not, with what to write instead."""
            text = f"{type(self).__name__!r} object has no attribute {name!r}"
            if name in _ABSENT:
                density = f"ad.stats.{self.name}.{self._log_density_name()}(x, …)"
                instead = _ABSENT[name].format(name=self.name, wanted=name, density=density)
                text = f"ad.stats.{self.name} has no {name}; {instead}"
            raise AttributeError(text, name=name, obj=self)

    def _log_density_name(self) -> str:
        return "logpdf" if hasattr(self, "logpdf") else "logpmf"

    def __dir__(self) -> list[str]:
        return [n for n in ("name", "shapes", *DOCS, "rvs") if hasattr(self, n)]

    def __call__(self, *args: Any, **kwargs: Any) -> NoReturn:
        """SciPy's frozen form, which is not here.

        Raises:
            TypeError: always, saying how a method is given the parameters.
        """
        given = [f"{v!r}" if isinstance(v, (int, float)) else "…" for v in (*args, *kwargs.values())]
        named = [*given[: len(args)], *(f"{k}={v}" for k, v in zip(kwargs, given[len(args) :]))]
        raise TypeError(
            f"{self.name}({', '.join(named)}): a distribution has no frozen form here; give the parameters to its "
            f"methods, ad.stats.{self.name}.{self._log_density_name()}({', '.join(['x', *named])})"
        )


@dataclass(frozen=True)
class Family(Distribution):
    """What a family declares, in standard form (location 0, scale 1); functions take the variable, then the shapes.

    A function that is not given follows from the others.
    """

    name: str
    log_density: Function
    cdf_of: Function | None
    """None where it has no closed form."""
    shapes: tuple[str, ...] = ()
    valid: Function | None = None
    """Of the values of the shapes: where they are those of a distribution."""
    support: tuple[float, float] = (-np.inf, np.inf)
    density: Function | None = None
    sf_of: Function | None = None
    logcdf_of: Function | None = None
    logsf_of: Function | None = None
    draw: Function | None = None
    """``draw(numbers, *shapes)``: draws in standard form, as a differentiable function of the shapes, made of
    ``numbers(kind)``, draws by a generator's method of that name."""
    open_below: bool = False
    """Whether the density at the lower end of the support is 0."""

    _variable: ClassVar[tuple[str, ...]]
    _optional: ClassVar[dict[str, Any]]

    def __post_init__(self) -> None:
        """Each family's help is its own."""
        object.__setattr__(self, "__doc__", self._help())

    def __repr__(self) -> str:
        return f"ad.stats.{self.name}.{self._log_density_name()}({self._signature()})"

    def _signature(self, variable: bool = True) -> str:
        return _signature((*self._variable * variable, *self.shapes), self._optional)

    def _help(self) -> str:
        closed = self.cdf_of is not None
        methods = [f"{m}: {text}" for m, text in DOCS.items() if hasattr(self, m) and (closed or m in DENSITIES)]
        if self.draw is not None:
            methods.append(f"rvs({self._signature(variable=False)}{_DRAWS}): Draws that move with the parameters.")
        return "\n".join([f"``{self!r}``, as `scipy.stats.{self.name}`.\n", *methods])

    def _arguments(self, which: str, args: Any, kwargs: Any) -> Any:
        """The arguments of a method as Tensors: the variable (not of draws), shapes, the optional ones."""
        name, draws = f"{self.name}.{which}", which == "rvs"
        names = (*self._variable * (not draws), *self.shapes)
        return [as_real(x, name) for x in bound(name, names, self._optional, args, kwargs, _DRAWS if draws else "")]

    def _are_valid(self, shapes: Any) -> Any:
        """Where the shapes are those of a distribution."""
        return np.True_ if self.valid is None else self.valid(*[raw(s) for s in shapes])

    def _standard(self, which: str, y: Any, shapes: Any) -> Any:
        """One of the functions of the standard form, where y is inside the support."""
        given = getattr(self, {"pdf": "density", "logpdf": "log_density"}.get(which, f"{which}_of"))
        if given is not None:
            return given(y, *shapes)
        if which == "pdf":
            return np.exp(self.log_density(y, *shapes))
        if self.cdf_of is None:
            raise TypeError(
                f"{self.name}.{which}: has no closed form and no derivative here; where none is wanted, call "
                f"scipy.stats.{self.name}.{which} of arrays (t.detach().numpy())"
            )
        if which == "sf":
            return 1 - self.cdf_of(y, *shapes)
        small, other = ("cdf", "sf") if which == "logcdf" else ("sf", "cdf")
        probability = self._standard(small, y, shapes)
        near_1 = raw(probability) > 0.5
        if common(~near_1.any()):
            return np.log(probability)
        rest = np.where(near_1, self._standard(other, y, shapes), 0)
        return np.where(near_1, np.log1p(-rest), np.log(np.where(near_1, 1, probability)))

    def _within(self, which: str, y: Any, shapes: Any, below: Any, above: Any, middle: Any) -> Any:
        """One of the functions of the standard form: its limits where y is below or above the support, where `middle`
        stands in for it."""
        outside = below | above
        if common(~outside.any()):
            return self._standard(which, y, shapes)
        z = self._standard(which, np.where(outside, middle, y), shapes)
        for where, end in zip((below, above), LIMITS[which]):
            z = np.where(where, nothing(y, *shapes) if end == -np.inf else end, z)
        return z

    cdf, logcdf, sf, logsf = (method(which) for which in ("cdf", "logcdf", "sf", "logsf"))


class Continuous(Family):
    """A continuous family: ``family.pdf(x, *shapes, loc=0, scale=1)`` and so on, as SciPy's.

    Arguments are arrays or Tensors that broadcast; the result is a Tensor, float32 where all are. Parameters that
    belong to no distribution give NaN. At an end of the support the derivative is that from inside, or NaN where the
    logarithm is infinite; outside, a density of 0 has the derivative 0, and its logarithm, −∞, NaN.

    >>> norm = Continuous("norm", lambda y: -(y * y + np.log(2 * np.pi)) / 2, ad.special.ndtr)
    >>> norm.logpdf(1.0, loc=1.0, scale=2.0)
    Tensor(-1.61208571)
    """

    _variable, _optional = ("x",), {"loc": 0.0, "scale": 1.0}
    pdf, logpdf = method("pdf"), method("logpdf")

    def _value(self, which: str, args: Any, kwargs: Any) -> Any:
        """One of the functions at its arguments."""
        x, *shapes, loc, scale = self._arguments(which, args, kwargs)
        y = (x - loc) / scale
        low, high = self.support
        v = raw(y)
        closed = which in ("pdf", "logpdf")
        below = v < low if closed and not self.open_below else v <= low
        above = v > high if closed else v >= high
        middle = 0.0 if low == -np.inf else low + 1 if high == np.inf else (low + high) / 2
        z = self._within(which, y, shapes, below, above, middle)
        z = z / scale if which == "pdf" else z - np.log(scale) if which == "logpdf" else z
        return checked(z, self._are_valid(shapes), raw(scale) > 0)

    def rvs(self, *args: Any, size: Any = None, rng: np.random.Generator | None = None, **kwargs: Any) -> Tensor:
        """Draws that are a differentiable function of the parameters (reparameterised).

        Args:
            args, kwargs: the shapes, loc and scale, as for `pdf`.
            size: the shape of the result, to which the parameters broadcast; by default theirs.
            rng: the generator to draw from; by default the one that `ad.random.manual_seed` sets.

        Raises:
            ValueError: parameters of no distribution, or that do not broadcast to `size`.
            TypeError: a family whose draws have no such form.
        """
        if self.draw is None:
            raise TypeError(f"{self.name}.rvs: has no draws that move with its parameters; scipy.stats draws constants")
        *shapes, loc, scale = self._arguments("rvs", args, kwargs)
        if not common((self._are_valid(shapes) & (raw(scale) > 0)).all()):
            met = ", ".join(f"{n}={raw(v)!s}" for n, v in zip((*self.shapes, "scale"), (*shapes, scale)))
            raise ValueError(f"{self.name}.rvs: there is no such distribution, {met}")
        parameters = [v.shape for v in (*shapes, loc, scale)]
        try:
            shape = np.broadcast_shapes(*parameters) if size is None else tuple(np.atleast_1d(size).tolist())
            fits = np.broadcast_shapes(shape, *parameters) == shape
        except ValueError:
            fits = False
        if not fits:
            shown = ", ".join(map(str, parameters))
            raise ValueError(f"{self.name}.rvs: parameters of shapes {shown} do not broadcast to size {size}")
        return self.draw(source(rng, shape, *shapes, loc, scale), *shapes) * scale + loc


class Discrete(Family):
    """A family on the whole numbers: ``family.pmf(k, *shapes, loc=0)`` and so on, as SciPy's, differentiable by the
    shapes. Whole numbers (k, loc, a number of trials) have no derivative, and say so."""

    _variable, _optional = ("k",), {"loc": 0.0}
    pmf, logpmf = method("pmf"), method("logpmf")

    def _value(self, which: str, args: Any, kwargs: Any) -> Any:
        """One of the functions at its arguments."""
        k, *shapes, loc = self._arguments(which, args, kwargs)
        whole(f"{self.name}.{which}", k=k, loc=loc)
        y = k - loc
        v = raw(y)
        low, high = self.support[0], self._last(which, shapes)
        if which in ("pmf", "logpmf"):
            which = which.replace("pmf", "pdf")
            below, above = (v < low) | (v != np.floor(v)), v > high
        else:
            below, above, y = v < low, v >= high, np.floor(y)
        return checked(self._within(which, y, shapes, below, above, low), self._are_valid(shapes), ~np.isnan(v))

    def _last(self, which: str, shapes: Any) -> Any:
        """The last number of the support."""
        return self.support[1]


class Trials(Discrete):
    """A discrete family whose first shape n, a whole number, is the last number of the support."""

    def _last(self, which: str, shapes: Any) -> Any:
        whole(f"{self.name}.{which}", n=shapes[0])
        return raw(shapes[0])
