"""What all optimisers share: parameter groups, checks of hyper-parameters, the step over all parameters, and state.

An optimiser is its update rule. A subclass names the arrays it keeps (`buffers`), says once a step how its numbers go
on (`advance`) and changes a piece of a parameter in place (`update`); which pieces is decided in bucket.py.
"""

from __future__ import annotations

import inspect
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.lib.array_utils import byte_bounds

from autodiff import Tensor, enable_grad
from autodiff.accepting import accepting
from autodiff.batching.batch import BatchError
from autodiff.device_arrays import ARRAYS
from autodiff.devices import as_numpy, place_of, put
from autodiff.flags import flags
from autodiff.tensor import HookHandle, is_foreign, plain

from .array import Array
from .bucket import Bucket, buckets
from .hyperparameters import Limits, require
from .step_hooks import POST, PRE, hooked, register


class Optimizer:
    """Base of the optimisers.

    Args:
        params: Tensors (``model.parameters()``), pairs of a name and a Tensor (``model.named_parameters()``), or dicts:
            one group of either under "params", with hyper-parameters of its own. Those that do not require a gradient
            are left as they are, until they do. Complex ones move as two real parameters would, their real and
            imaginary parts, as PyTorch's do; those of `Newton` and its like must be real.
        defaults: the hyper-parameters of groups that do not say otherwise.

    Constructors also take PyTorch's foreach, fused, capturable and differentiable, as False or None: there is one way
    to compute a step.

    Raises:
        TypeError: for anything but leaf Tensors, and for a set of them, which has no order.
        ValueError: for no parameters, none that requires a gradient, one given twice, two that share memory, or
            hyper-parameters out of range.
    """

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if cls.__module__.startswith("optim.") and "__init__" in cls.__dict__:
            theirs = dict.fromkeys(("foreach", "fused", "capturable", "differentiable"), _require_off)
            cls.__init__ = accepting(cls.__init__, theirs)  # type: ignore[method-assign]
        if "step" in cls.__dict__:
            cls.step = hooked(cls.step)  # type: ignore[method-assign]

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]) -> None:
        name = type(self).__name__
        if isinstance(params, (Tensor, Mapping, str)) or not hasattr(params, "__iter__"):
            raise TypeError(
                f"{name}: params takes a list of Tensors or of groups (dicts), such as model.parameters(), "
                f"not one {type(params).__name__}"
            )
        self.defaults = defaults
        self.param_groups: list[dict[str, Any]] = []
        self.state: dict[Tensor, dict[str, Any]] = defaultdict(dict)
        self.stepped = False
        """Whether `step` has been called, which a schedule asks."""
        self._buckets: list[list[Bucket]] = []
        self._scratch: dict[tuple[Any, ...], Array] = {}
        _require_order(name, params)
        items = list(params)
        if not items:
            raise ValueError(f"{name}: got an empty parameter list")
        groups = items if isinstance(items[0], Mapping) else [{"params": items}]
        for group in groups:
            self.add_param_group(group)
        if not any(p.requires_grad for p in self._all()):
            raise ValueError(
                f"{name}: no parameter requires a gradient, so there is nothing to train; say requires_grad=True when "
                f"you make the Tensors, or model.requires_grad_()"
            )

    # What a subclass defines

    elementwise = True
    """Whether `update` may be given any piece of the parameters; with False it gets them one by one, and whole."""

    takes_complex = True
    """Whether parameters may be complex: `update` then gets their real and imaginary parts, which move as two real
    parameters would."""

    beyond: tuple[str, ...] = ()
    """Hyper-parameters that PyTorch lacks: a snapshot without them is accepted, they stay as they are."""

    limits: ClassVar[Limits] = {}
    """What hyper-parameters may be, said with hyperparameters.py: ``at_least(0, "lr") | within(0, 1, "rho")``."""

    def check(self, options: dict[str, Any]) -> None:
        """Raise TypeError or ValueError for hyper-parameters out of range."""
        flags(type(self), (), options)
        require(type(self).__name__, options, self.limits)

    def buffers(self, options: dict[str, Any]) -> tuple[str, ...]:
        """Names of the arrays kept for each parameter; they start with zeros, or what `initial` says."""
        return ()

    def initial(self, name: str, options: dict[str, Any]) -> float:
        """What a buffer starts with."""
        return 0.0

    def advance(self, numbers: dict[str, Any], options: dict[str, Any]) -> Any:
        """Called once a step: bring the state's numbers (step counts) forward, and return the coefficients that
        `update` needs."""
        raise NotImplementedError(f"{type(self).__name__}: define advance(self, numbers, options)")

    def update(self, w: Array, g: Array, state: dict[str, Array], coefficients: Any) -> None:
        """Change `w` in place, given the gradient `g` (not to be written) and the buffers, all of one shape."""
        raise NotImplementedError(f"{type(self).__name__}: define update(self, w, g, state, coefficients)")

    step_hooks: dict[Any, tuple[str, Callable[..., Any]]] | None = None
    """What is called before and after a step."""

    # What users call

    def add_param_group(self, group: Mapping[str, Any]) -> None:
        """Add parameters with hyper-parameters of their own; those not given are the defaults.

        Raises:
            TypeError, ValueError: as the constructor; the optimiser is then unchanged.
        """
        name = type(self).__name__
        if not isinstance(group, Mapping) or "params" not in group:
            raise TypeError(f"{name}: a parameter group is a dict with 'params', not {type(group).__name__}")
        params = group["params"]
        _require_order(name, params)
        params = [params] if isinstance(params, Tensor) else list(params)
        if not params:
            raise ValueError(f"{name}: got a parameter group with an empty parameter list")
        named = [isinstance(p, tuple) and len(p) == 2 and isinstance(p[0], str) for p in params]
        names: list[str] = [p[0] for p in params] if all(named) else []
        if names:
            params = [p for _, p in params]
        elif any(named):
            raise TypeError(
                f"{name}: all parameters must have a name, or none (parameter {named.index(False)} has none)"
            )
        known = {id(p) for other in self.param_groups for p in other["params"]}
        for i, p in enumerate(params):
            called = names[i] if names else getattr(p, "name", None)
            label = f"parameter {i}" + (f" ({called!r})" if called else "")
            if not isinstance(p, Tensor):
                raise TypeError(f"{name}: {label} must be a Tensor, not {type(p).__name__}")
            if not p.is_leaf:
                raise ValueError(f"{name}: {label} is the result of {p.op}, not a leaf; there is nothing to update")
            if p.dtype.kind not in ("fc" if self.takes_complex else "f"):
                raise ValueError(
                    f"{name}: {label} (shape {p.shape}) has dtype {p.dtype}; only floats can be trained"
                    + (" here (of complex numbers, two parameters: z = x + 1j * y)" if p.dtype.kind == "c" else "")
                )
            if id(p) in known:
                raise ValueError(f"{name}: {label} (shape {p.shape}) is given twice")
            known.add(id(p))
        options = {**self.defaults, **group, "params": params}
        for key in self.defaults:
            options[key] = _number(f"{name}: {key}", options[key])
        if names:
            options["param_names"] = names
        for key in group:
            if key not in self.defaults and key not in ("params", "param_names", "name", "initial_lr"):
                raise ValueError(f"{name}: has no hyper-parameter {key!r}; it has {', '.join(self.defaults)}")
        self.check(options)
        self.param_groups.append(options)
        try:
            self._require_apart()
        except ValueError:
            self.param_groups.pop()
            raise

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters: ``.grad`` becomes None, or with ``set_to_none=False`` zeros."""
        for p in self._all():
            if set_to_none or p.grad is None:
                p.zero_grad()
            else:
                p.grad = Tensor(np.zeros(p.shape, p.dtype))

    @hooked
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient, in place.

        Args:
            closure: evaluates the model anew, calls backward and returns the loss; called first, with recording on.

        Returns:
            What `closure` returned, or None.
        """
        self.stepped = True
        loss = None
        if closure is not None:
            loss = self._evaluated(closure)
        if len(self._buckets) != len(self.param_groups):
            self._buckets = [[] for _ in self.param_groups]
        for i, group in enumerate(self.param_groups):
            params = [p for p in group["params"] if p.grad is not None]
            names = self.buffers(group)
            found = self._buckets[i]
            if len(params) != sum(len(b.params) for b in found) or not all(b.fits(self.state, names) for b in found):
                self._require_apart()
                found = self._buckets[i] = buckets(self, params, group)
            try:
                for bucket in found:
                    bucket.step(self, group)
            except BatchError:
                raise BatchError(
                    f"{type(self).__name__}.step: inside ad.vmap the gradients differ between examples that share the "
                    f"parameters; make parameters of its own for each in the mapped function, "
                    f"ad.Tensor(w, requires_grad=True) of a mapped w, or step outside with the mean of the gradients"
                ) from None
        return loss

    def register_step_pre_hook(self, hook: Callable[..., Any]) -> HookHandle:
        """Call ``hook(optimizer, args, kwargs)`` before each `step`, with its arguments (the first is the optimiser);
        a tuple (args, kwargs) that it returns replaces them. Copies and pickles of the optimiser have no hooks.

        Returns:
            An object whose ``remove()`` takes the hook away.

        >>> import autodiff as ad, optim
        >>> w = ad.Tensor(1.0, requires_grad=True)
        >>> optimizer = optim.SGD([w], lr=0.5)
        >>> handle = optimizer.register_step_pre_hook(lambda optimizer, args, kwargs: print("gradient:", w.grad.item()))
        >>> (w**2).backward()
        >>> optimizer.step()
        gradient: 2.0
        """
        return self._register(PRE, hook)

    def register_step_post_hook(self, hook: Callable[..., Any]) -> HookHandle:
        """Call ``hook(optimizer, args, kwargs)`` after each `step` (to keep weights within bounds, say).

        Returns:
            An object whose ``remove()`` takes the hook away.
        """
        return self._register(POST, hook)

    def _register(self, kind: str, hook: Any) -> HookHandle:
        if self.step_hooks is None:
            self.step_hooks = {}
        return register(self.step_hooks, kind, hook)

    def _evaluated(self, closure: Callable[[], Any]) -> Any:
        """What a closure returns that calls backward."""
        with enable_grad():
            loss = closure()
        if all(p.grad is None for p in self._all()):
            raise RuntimeError(
                f"{type(self).__name__}.step: after the closure no parameter has a gradient; it must call "
                f"loss.backward() before it returns the loss"
            )
        return loss

    def state_dict(self) -> dict[str, Any]:
        """A snapshot: the hyper-parameters of the groups, and the state of each parameter by its position."""
        position = {id(p): i for i, p in enumerate(self._all())}
        return {
            "state": {
                position[id(p)]: {key: _copied(value) for key, value in state.items()}
                for p, state in self.state.items()
            },
            "param_groups": [
                {**group, "params": [position[id(p)] for p in group["params"]]} for group in self.param_groups
            ],
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue from a snapshot that `state_dict` took for parameters of the same number and shapes.

        Raises:
            TypeError: if that is no such dict.
            ValueError: for other groups, other counts or shapes; the optimiser is then unchanged.
        """
        name = f"{type(self).__name__}.load_state_dict"
        if not isinstance(state_dict, Mapping) or not {"state", "param_groups"} <= set(state_dict):
            raise TypeError(f"{name}: takes what state_dict() returned, a dict with 'state' and 'param_groups'")
        groups = state_dict["param_groups"]
        mine, theirs = ([len(g["params"]) for g in gs] for gs in (self.param_groups, groups))
        if mine != theirs:
            raise ValueError(f"{name}: the snapshot has groups of {theirs} parameters, the optimiser of {mine}")
        for group in groups:
            missing = [key for key in self.defaults if key not in group and key not in self.beyond]
            if missing:
                raise ValueError(f"{name}: the snapshot lacks {', '.join(missing)}; was it taken of another optimiser?")
            self.check({**self.defaults, **group})
        numbers = [n for group in groups for n in group["params"]]
        by_number = {str(number): p for number, p in zip(numbers, self._all())}  # JSON turns integer keys into text
        arrays = {
            id(p): self.buffers({**self.defaults, **saved})
            for group, saved in zip(self.param_groups, groups)
            for p in group["params"]
        }
        state: dict[Tensor, dict[str, Any]] = defaultdict(dict)
        for number, values in state_dict["state"].items():
            p = by_number.get(str(number))
            if p is None:
                raise ValueError(f"{name}: state for parameter {number!r}, but the groups name {numbers}")
            what = f"{name}: state of parameter {number}"
            for key, value in values.items():
                state[p][key] = _restored(value, p, key in arrays[id(p)], f"{what}: {key}")
        for group, saved in zip(self.param_groups, groups):
            group.update({key: value for key, value in saved.items() if key not in ("params", "param_names")})
        self.state = state

    def _require_apart(self) -> None:
        """Refuse parameters that are views of the same memory: each would be written back as it was read, and of two
        updates one be lost."""
        spans = []
        for i, p in enumerate(self._all()):
            array = plain(p)
            if isinstance(array, np.ndarray) and array.size and array.flags.writeable:  # others are copied first
                spans.append((*byte_bounds(array), i, p, array))
        spans.sort(key=lambda span: span[:2])
        open_: list[Any] = []
        for span in spans:
            open_ = [other for other in open_ if other[1] > span[0]]
            for other in open_:
                if np.shares_memory(other[4], span[4]):
                    one, two = (
                        f"parameter {i}" + (f" ({p.name!r}, shape {p.shape})" if p.name else f" (shape {p.shape})")
                        for _, _, i, p, _ in sorted((other, span), key=lambda found: found[2])
                    )
                    raise ValueError(
                        f"{type(self).__name__}: {one} and {two} share memory, so that of two updates one would be "
                        f"lost; give the array as one parameter and take its parts in the model (w[:3], w.reshape(…)), "
                        f"or a copy to each"
                    )
            open_.append(span)

    def _all(self) -> list[Tensor]:
        return [p for group in self.param_groups for p in group["params"]]

    def scratch(self, like: Array, purpose: str = "") -> Array:
        """An array of this shape and dtype to compute in, the same memory every time."""
        if is_foreign(like):
            return np.empty_like(like)
        key = (purpose, like.dtype)
        found = self._scratch.get(key)
        if found is None or found.size < like.size:
            found = self._scratch[key] = np.empty(like.size, like.dtype)
        return found[: like.size].reshape(like.shape)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_scratch": {}, "_buckets": [], "step_hooks": None}

    def __repr__(self) -> str:
        usual = inspect.signature(type(self)).parameters
        lines = []
        for i, group in enumerate(self.param_groups):
            shown = []
            for key in self.defaults:
                value = group[key]
                if not isinstance(value, bool) or key not in usual or value != usual[key].default:
                    shown.append(f"{key}={_shown(value)}")
            count, name = len(group["params"]), f" {group['name']!r}" if "name" in group else ""
            lines.append(f"  group {i}{name}: {count} parameter{'s' * (count != 1)}, {', '.join(shown)}\n")
        return f"{type(self).__name__}(\n{''.join(lines)})"


def _require_off(what: str, value: Any) -> None:
    if value is not None and (not isinstance(value, (bool, np.bool_)) or value):
        raise ValueError(f"{what} is False or None here, where there is one way to compute a step; not {value!r}")


def _require_order(name: str, params: Any) -> None:
    """Refuse a set: by position a snapshot tells whose state is whose, and hashes would decide about that."""
    if isinstance(params, (set, frozenset)):
        raise TypeError(f"{name}: params has an order, in which a snapshot keeps the state; give a list, not a set")


def _number(what: str, value: Any) -> Any:
    """A hyper-parameter that is a Tensor as the number it holds."""
    if isinstance(value, tuple):
        return tuple(_number(what, part) for part in value)
    if isinstance(value, Tensor) and value.ndim == 0:
        if value.requires_grad:
            raise TypeError(
                f"{what} is a Tensor that requires a gradient, but no derivative goes through a step; give its value, "
                f"t.item()"
            )
        return value.item()
    return value


def decayed(optimizer: Optimizer, w: Array, g: Array, decay: float) -> Array:
    """g + λ w, the gradient with weight decay as a penalty ½ λ w² has it."""
    if not decay:
        return g
    sum = np.multiply(w, decay, out=optimizer.scratch(w, "decayed"))
    sum += g
    return sum


def _shown(value: Any) -> str:
    """A hyper-parameter as text, numbers to six digits."""
    if isinstance(value, (tuple, list)):
        return f"({', '.join(map(_shown, value))})"
    return f"{float(value):g}" if isinstance(value, (float, np.floating)) else f"{value!r}"


def _copied(value: Any) -> Any:
    return value.copy() if isinstance(value, ARRAYS) else value


def _restored(value: Any, p: Tensor, is_buffer: bool, what: str) -> Any:
    """A saved value as state: numbers as they are, arrays (Tensors too) as copies of the parameter's dtype."""
    if value is None or (not is_buffer and isinstance(value, (bool, int, float, str))):
        return value
    array = as_numpy(value).copy()
    if array.ndim == 0 and not is_buffer:
        return array.item()
    if array.size == 0 == p.size:  # JSON turns all empty arrays into []
        array = array.reshape(p.shape)
    if array.shape != p.shape:
        raise ValueError(f"{what} has shape {array.shape}, the parameter {p.shape}")
    return put(array.astype(p.dtype, copy=False), place_of(plain(p)))
