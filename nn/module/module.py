"""The Module: a tree of layers that knows its parameters, and loads and saves them.

Parameters, buffers and children are ordinary attributes (read at full speed); `_roles` remembers which attribute is
what, in the order in which they were made.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

import numpy as np

from autodiff import Tensor
from autodiff.accepting import accepting
from autodiff.devices import destination, place_of, put
from autodiff.flags import flags
from autodiff.tensor import HookHandle, clock, is_foreign, plain, shared, writable

from ..arguments import bound
from ..random import floating
from . import hooks
from .parameter import Parameter
from .promotion import DOUBLE, is_single, notice

Self = TypeVar("Self", bound="Module")

PARAMETER, BUFFER, TRANSIENT, MODULE = "parameter", "buffer", "buffer (not saved)", "module"
_TAKES = {PARAMETER: "a Parameter", BUFFER: "a Tensor", TRANSIENT: "a Tensor", MODULE: "a Module"}

_INSTEAD = " (write nn.Parameter(value), or for one call with other values nn.functional_call(model, values, x))"


def _brought(where: str, device: Any) -> Callable[[Module], Any] | None:
    """What brings a module to a device when it is made."""
    if device is None:
        return None
    destination(where, None, device)  # said before there are weights
    return lambda module: module.to(device=device)


class Incompatible(NamedTuple):
    """What `Module.load_state_dict` passed over with ``strict=False``."""

    missing_keys: list[str]
    unexpected_keys: list[str]


class Module:
    """Base of all layers and models: assign parameters and submodules to attributes, and define `forward`.

    The layers that take a dtype also take PyTorch's device, "cpu" or "cuda", to which `to` brings them when made.

    >>> import nn
    >>> class Net(nn.Module):
    ...     def __init__(self):
    ...         self.hidden = nn.Linear(4, 8)
    ...         self.scale = nn.Parameter([1.0])
    ...     def forward(self, x):
    ...         return self.scale * self.hidden(x)
    >>> [name for name, p in Net().named_parameters()]
    ['scale', 'hidden.weight', 'hidden.bias']
    >>> Net()
    Net(
      (scale): Parameter(1,)
      (hidden): Linear(in_features=4, out_features=8, bias=True) · 40 parameters
    ) · 41 parameters
    """

    _roles: dict[str, str]
    _calls: deque[tuple[int, int]]
    _hooks: dict[Any, hooks.Hook] | None
    _single: bool  # whether a parameter here may be float32
    training: bool

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        code = getattr(cls.__dict__.get("__init__"), "__code__", None)
        if code is not None and cls.__module__.startswith("nn.") and "dtype" in code.co_varnames:
            cls.__init__ = accepting(cls.__init__, {"device": _brought})  # type: ignore[method-assign]

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        # Made here and not in __init__, so that a subclass need not call super().__init__().
        bound(cls, args, kwargs)
        flags(cls, args, kwargs)
        module = super().__new__(cls)
        module.__dict__.update(_roles={}, training=True, _calls=deque(maxlen=256), _hooks=None, _single=True)
        return module

    # Calling

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the module computes; every subclass defines it, users call the module itself."""
        raise NotImplementedError(f"{type(self).__name__}: define forward(self, ...)")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        # Tensors are numbered as they are made: from these two numbers a picture knows what was made in this call.
        start = clock()
        result = hooks.call(self, self._hooks, args, kwargs) if self._hooks else self.forward(*args, **kwargs)
        self._calls.append((start, clock()))
        kind = type(result)
        if kind is Tensor:
            if result.dtype is DOUBLE and (self._single or is_single(args)):
                self.__dict__["_single"] = notice(self, self._own(PARAMETER), args)
        elif kind is tuple and result and getattr(result[0], "dtype", None) is DOUBLE:
            notice(self, self._own(PARAMETER), args)
        return result

    # Attributes

    def __setattr__(self, name: str, value: Any) -> None:
        role = self._roles.get(name)
        kind = PARAMETER if isinstance(value, Parameter) else MODULE if isinstance(value, Module) else None
        if role is None:
            if kind is not None:
                self._register(name, value, kind)
                return
        elif value is not None and kind != role and (kind or role not in (BUFFER, TRANSIENT) or not _is_tensor(value)):
            raise TypeError(
                f"{type(self).__name__}.{name} is a {role}: it takes {_TAKES[role]} or None, not "
                f"{type(value).__name__}" + (_INSTEAD if role == PARAMETER else "")
                + f"; `del module.{name}` first to use the name for something else"
            )  # fmt: skip
        super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        super().__delattr__(name)
        self._roles.pop(name, None)

    def _register(self, name: str, value: Any, role: str) -> None:
        where = f"{type(self).__name__}: {role} name"
        if not isinstance(name, str):
            raise TypeError(f"{where} must be a string, not {name!r}")
        if not name or "." in name:
            raise KeyError(f"{where} must not be empty nor contain a dot, which separates levels: {name!r}")
        if role != self._roles.get(name):
            if hasattr(type(self), name) or name in self._roles:
                raise KeyError(f"{where} {name!r} is taken: the module has such an attribute")
            self.__dict__.pop(name, None)
        self._roles[name] = role
        self.__dict__[name] = value
        self.__dict__["_single"] = True

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Add a parameter, or (None) the place for one, as ``self.name = param`` does.

        Raises:
            TypeError: for anything but a `Parameter` or None.
            KeyError: for a name that is empty, contains a dot or is taken.
        """
        if param is not None and not isinstance(param, Parameter):
            raise TypeError(f"register_parameter({name!r}): takes a Parameter or None, not {type(param).__name__}")
        self._register(name, param, PARAMETER)

    def register_buffer(self, name: str, tensor: Any, persistent: bool = True) -> None:
        """Add a tensor that is state but no parameter (a running mean), or (None) the place for one.

        Args:
            name: the attribute.
            tensor: a Tensor or an array, which becomes one.
            persistent: whether `state_dict` has it.

        Raises:
            TypeError: if it requires a gradient.
            KeyError: for a name that is empty, contains a dot or is taken.
        """
        if tensor is not None:
            tensor = tensor if isinstance(tensor, Tensor) else Tensor(tensor)
            if tensor.requires_grad:
                raise TypeError(f"register_buffer({name!r}): a buffer is constant; pass tensor.detach()")
        self._register(name, tensor, BUFFER if persistent else TRANSIENT)

    def add_module(self, name: str, module: Module | None) -> None:
        """Add a child, as ``self.name = module`` does, under any name without a dot.

        Raises:
            TypeError: for anything but a `Module` or None.
            KeyError: for a name that is empty, contains a dot or is taken.
        """
        if module is not None and not isinstance(module, Module):
            raise TypeError(f"add_module({name!r}): takes a Module or None, not {module!r:.80}")
        self._register(name, module, MODULE)

    register_module = add_module

    def _own(self, *roles: str) -> Iterator[tuple[str, Any]]:
        values = self.__dict__
        named = ((name, values[name]) for name, role in self._roles.items() if role in roles)
        return ((name, value) for name, value in named if value is not None)

    # Walking the tree

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The modules directly inside, each once, with their names."""
        seen: set[int] = set()
        for name, child in self._own(MODULE):
            if id(child) not in seen:
                seen.add(id(child))
                yield name, child

    def children(self) -> Iterator[Module]:
        """The modules directly inside, each once."""
        return (child for _, child in self.named_children())

    def named_modules(
        self, memo: set[Any] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """This module and all inside, parents first, with their dotted names; a shared one once by default."""
        memo = set() if memo is None else memo
        stack: list[tuple[str, Module]] = [(prefix, self)]
        while stack:
            path, module = stack.pop()
            if remove_duplicate:
                if module in memo:
                    continue
                memo.add(module)
            yield path, module
            inside = [(f"{path}.{name}" if path else name, child) for name, child in module._own(MODULE)]
            stack.extend(reversed(inside))

    def modules(self) -> Iterator[Module]:
        """This module and all inside, parents first, each once."""
        return (module for _, module in self.named_modules())

    def _named(self, prefix: str, recurse: bool, remove_duplicate: bool, *roles: str) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        levels = self.named_modules(None, prefix, remove_duplicate) if recurse else [(prefix, self)]
        for path, module in levels:
            for name, tensor in module._own(*roles):
                if remove_duplicate:
                    if id(tensor) in seen:
                        continue
                    seen.add(id(tensor))
                yield f"{path}.{name}" if path else name, tensor

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """The parameters with their dotted names; a shared one once by default."""
        return self._named(prefix, recurse, remove_duplicate, PARAMETER)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """The parameters, each once."""
        return (p for _, p in self.named_parameters(recurse=recurse))

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """The buffers with their dotted names."""
        return self._named(prefix, recurse, remove_duplicate, BUFFER, TRANSIENT)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """The buffers, each once."""
        return (b for _, b in self.named_buffers(recurse=recurse))

    def apply(self: Self, fn: Callable[[Module], Any]) -> Self:
        """Call `fn` with every module inside, children first, and with this one."""
        stack: list[tuple[Module, Iterator[Module]]] = [(self, self.children())]
        while stack:
            module, coming = stack[-1]
            child = next(coming, None)
            if child is not None:
                stack.append((child, child.children()))
            else:
                fn(module)
                stack.pop()
        return self

    def get_submodule(self, target: str) -> Module:
        """The module of a dotted name (the empty one is this module's own).

        Raises:
            AttributeError: if there is none.

        >>> import nn
        >>> nn.Sequential(nn.Tanh(), nn.Sequential(nn.Linear(2, 1))).get_submodule("1.0")
        Linear(in_features=2, out_features=1, bias=True) · 3 parameters
        """
        found: Module = self
        for name in target.split(".") if target else ():
            found = found._get(name, target, MODULE)
        return found

    def get_parameter(self, target: str) -> Parameter:
        """The parameter of a dotted name.

        Raises:
            AttributeError: if there is none.
        """
        path, _, name = target.rpartition(".")
        found: Parameter = self.get_submodule(path)._get(name, target, PARAMETER)
        return found

    def get_buffer(self, target: str) -> Tensor:
        """The buffer of a dotted name.

        Raises:
            AttributeError: if there is none.
        """
        path, _, name = target.rpartition(".")
        found: Tensor = self.get_submodule(path)._get(name, target, BUFFER, TRANSIENT)
        return found

    def _get(self, name: str, target: str, *roles: str) -> Any:
        if self._roles.get(name) not in roles or self.__dict__[name] is None:
            there = ", ".join(n for n, _ in self._own(*roles)) or "none"
            raise AttributeError(
                f"{type(self).__name__} has no {roles[0]} {name!r} (asked for {target!r}); it has: {there}"
            )
        return self.__dict__[name]

    def __dir__(self) -> list[str]:
        return [name for name in super().__dir__() if name.isidentifier()]  # "0" can be no attribute

    # States

    def train(self: Self, mode: bool = True) -> Self:
        """Training mode, here and in all modules inside (dropout drops, batch norm uses the batch)."""
        if not isinstance(mode, (bool, np.bool_)):
            raise TypeError(f"{type(self).__name__}.train: mode is True or False, not {mode!r}")
        for module in self.modules():
            module.training = bool(mode)
        return self

    def eval(self: Self) -> Self:
        """Evaluation mode: ``train(False)``."""
        return self.train(False)

    def requires_grad_(self: Self, requires_grad: bool = True) -> Self:
        """Freeze (False) or release all parameters."""
        for p in self.parameters():
            p.requires_grad = requires_grad
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters: ``.grad`` becomes None (or zeros, with ``set_to_none=False``)."""
        for p in self.parameters():
            p.grad = None if set_to_none or p.grad is None else np.zeros_like(p.data)

    def astype(self: Self, dtype: Any) -> Self:
        """Convert floating-point parameters, their gradients and buffers, in place; returns the module.

        Raises:
            TypeError: for a dtype that is not floating-point.
        """
        target = floating(dtype)
        for module in self.modules():
            module.__dict__["_single"] = True
        for tensor in [*self.parameters(), *self.buffers()]:
            if tensor.dtype.kind == "f" and tensor.dtype != target:
                gradient, tensor.grad = tensor.grad, None
                tensor.data = tensor.data.astype(target)
                if gradient is not None:
                    tensor.grad = gradient.detach().astype(target)
        return self

    def float(self: Self) -> Self:
        """``astype("float32")``."""
        return self.astype(np.float32)

    def double(self: Self) -> Self:
        """``astype("float64")``."""
        return self.astype(np.float64)

    def half(self: Self) -> Self:
        """``astype("float16")``."""
        return self.astype(np.float16)

    def cpu(self: Self) -> Self:
        """Its parameters and buffers in the processor's memory."""
        return self.to("cpu")

    def cuda(self: Self) -> Self:
        """``to("cuda")``."""
        return self.to("cuda")

    def to(
        self: Self, target: Any = None, dtype: Any = None, non_blocking: bool = False, *, device: Any = None
    ) -> Self:
        """PyTorch's: parameters and buffers on another device, "cpu" or "cuda" (a GPU, where CuPy is installed), and
        `astype` for a floating-point dtype; or both as a tensor's. Parameters stay the same objects: make the optimiser
        before or after, but take no step before, whose state would stay where it is.

        Raises:
            TypeError: for what is no device and no floating-point dtype.
            RuntimeError: for a device that is not there.
        """
        beside, found = destination(f"{type(self).__name__}.to", target, device, dtype)
        if found is not None:
            self.astype(found)
        for tensor in [*self.parameters(), *self.buffers()] if beside else ():
            array = put(plain(tensor), beside[0])
            if array is not plain(tensor):
                gradient, tensor.grad = tensor.grad, None
                tensor.data = array
                tensor.grad = None if gradient is None else Tensor(put(plain(gradient), beside[0]))
        return self

    # Hooks

    def _register_hook(self, kind: str, hook: Any, prepend: bool, with_kwargs: bool = False) -> HookHandle:
        if self._hooks is None:
            self._hooks = {}
        return hooks.register(self._hooks, kind, hook, prepend, with_kwargs)

    def register_forward_pre_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> HookHandle:
        """Call ``hook(module, args)`` before `forward`; what it returns (if not None) replaces the arguments.

        Args:
            hook: the function; a result that is no tuple stands for one argument.
            prepend: call it before the hooks that are there.
            with_kwargs: call ``hook(module, args, kwargs)``, which returns None or (args, kwargs).

        Returns:
            An object whose ``remove()`` takes the hook away.
        """
        return self._register_hook(hooks.FORWARD_PRE, hook, prepend, with_kwargs)

    def register_forward_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> HookHandle:
        """Call ``hook(module, args, output)`` after `forward`; what it returns (if not None) replaces the output.

        Args:
            hook: the function.
            prepend: call it before the hooks that are there.
            with_kwargs: call ``hook(module, args, kwargs, output)``.

        Returns:
            An object whose ``remove()`` takes the hook away.

        >>> import nn
        >>> layer = nn.Linear(3, 2)
        >>> handle = layer.register_forward_hook(lambda module, args, output: print(args[0].shape, "→", output.shape))
        >>> y = layer(np.ones((5, 3), "float32"))
        (5, 3) → (5, 2)
        >>> handle.remove()
        """
        return self._register_hook(hooks.FORWARD, hook, prepend, with_kwargs)

    def register_full_backward_pre_hook(self, hook: Callable[..., Any], prepend: bool = False) -> HookHandle:
        """Call ``hook(module, grad_output)`` in a backward pass, when the gradients by the module's outputs are known;
        what it returns (if not None) replaces them.

        Args:
            hook: the function. `grad_output` is a tuple with a Tensor for each output (None for one that has no
                gradient); so is what it returns, or one Tensor for one output.
            prepend: call it before the hooks that are there.

        Returns:
            An object whose ``remove()`` takes the hook away; from calls that follow.
        """
        return self._register_hook(hooks.BACKWARD_PRE, hook, prepend)

    def register_full_backward_hook(self, hook: Callable[..., Any], prepend: bool = False) -> HookHandle:
        """Call ``hook(module, grad_input, grad_output)`` in a backward pass, when the gradients by the module's inputs
        are known; what it returns (if not None) replaces `grad_input`.

        Args:
            hook: the function. `grad_input` is a tuple with an entry for each positional argument: the gradient that
                came through this call, or None for what needs none. `grad_output` has an entry for each output.
            prepend: call it before the hooks that are there.

        Returns:
            An object whose ``remove()`` takes the hook away; from calls that follow.

        >>> import nn
        >>> layer = nn.Tanh()
        >>> handle = layer.register_full_backward_hook(lambda module, grad_input, grad_output: print(grad_input))
        >>> layer(ad.Tensor([0.0], requires_grad=True)).sum().backward()
        (Tensor([1.]),)
        """
        return self._register_hook(hooks.BACKWARD, hook, prepend)

    # Saving and loading

    def state_dict(self, *, prefix: str = "") -> dict[str, Tensor]:
        """Parameters and persistent buffers by dotted name, PyTorch's keys; constants that share the module's memory
        (``copy.deepcopy`` keeps a snapshot)."""
        state = {}
        for path, module in self.named_modules(None, "", remove_duplicate=False):
            for role in (PARAMETER, BUFFER):
                for name, tensor in module._own(role):
                    state[prefix + (f"{path}.{name}" if path else name)] = shared(plain(tensor), tensor)
        return state

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True) -> Incompatible:
        """Write Tensors or arrays into the parameters and buffers of these names, in place.

        Floating-point values (half types too) are cast to the parameter's dtype, integers if it holds them exactly. Of
        a parameter with several names, one is enough.

        Args:
            state_dict: arrays or Tensors by name, as `state_dict` of this module or of PyTorch's.
            strict: with False, names that only one side has are passed over and returned.

        Raises:
            TypeError: if that is no mapping.
            RuntimeError: for missing and unexpected names (if `strict`), other shapes, and values of another kind
                (booleans or complex numbers for floats): all of them at once, and then nothing is written.
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(f"load_state_dict: takes a dict of arrays by name, not {type(state_dict).__name__}")
        own = self.state_dict()
        owners = {id(_memory(plain(tensor))) for tensor in own.values()}
        named = dict(self._named("", True, False, PARAMETER, BUFFER))
        given = {id(tensor) for name, tensor in named.items() if name in state_dict}
        missing = [name for name in own if name not in state_dict and id(named.get(name)) not in given]
        unexpected = [str(name) for name in state_dict if name not in own]
        found, wrong = {}, []
        for name, target in own.items():
            if name in state_dict:
                value, complaint = _fitting(state_dict[name], target)
                if value is not None and value is not plain(target) and id(_memory(value)) in owners:
                    value = value.copy()  # the module's own memory under another name: it may be written first
                found[name] = value
                if complaint:
                    wrong.append(f"{name}: {complaint}")
        if strict:
            wrong[:0] = [f"{name}: missing" for name in missing] + [f"{name}: unexpected" for name in unexpected]
        if wrong:
            raise RuntimeError(
                f"{type(self).__name__}.load_state_dict: {len(wrong)} difference{'s' * (len(wrong) > 1)}, nothing was "
                f"loaded:\n" + "\n".join(f"  {line}" for line in wrong)
            )
        for path, module in self.named_modules(None, "", remove_duplicate=False):
            for name, tensor in module._own(PARAMETER, BUFFER):
                key = f"{path}.{name}" if path else name
                if key in found:
                    data = writable(tensor)
                    data[...] = found[key]
                    tensor.data = data  # tells the engine that a graph recorded before no longer fits
        return Incompatible(missing, unexpected)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_calls"}

    # Reading

    def extra_repr(self) -> str:
        """What the representation shows between the parentheses: the options the layer was made with."""
        return ""

    def multiply_adds(self, input_shapes: tuple[Any, ...], output_shape: Any) -> int:
        """The multiplications, each with its addition, of one call: what `nn.summary` shows. A layer that multiplies
        defines it; modules inside count their own.

        Args:
            input_shapes: the shape of each argument of `forward` in its order, None for what is no array.
            output_shape: the shape of the output; of several, a tuple of their shapes.
        """
        return 0

    def __repr__(self) -> str:
        counts = _parameter_counts(self)
        lines: list[str] = []
        opened: set[int] = set()
        stack: list[tuple[str, str, Any]] = [("", "", self)]  # indentation, what stands before, a module or its end
        while stack:
            indent, name, item = stack.pop()
            if not isinstance(item, Module):
                lines.append(indent + name)
                opened.discard(item)
                continue
            if id(item) in opened:
                lines.append(f"{indent}{name}{type(item).__name__}(...)")  # a module that is inside itself
                continue
            if item is not self and type(item).__repr__ is not Module.__repr__:
                lines += [indent + line for line in f"{name}{item!r}".split("\n")]
                continue
            count = counts[id(item)]
            end = ")" + (f" · {count:,} parameter{'s' * (count != 1)}" if count else "")
            options = item.extra_repr()
            inside: list[tuple[str, str, Any]] = []
            if not options:
                inside = [(indent + "  ", f"({n}): Parameter{p.shape}", None) for n, p in item._own(PARAMETER)]
            inside += [(indent + "  ", f"({n}): ", child) for n, child in item._own(MODULE)]
            start = f"{name}{type(item).__name__}({options}" + ("" if inside else end)
            lines += [indent + line for line in start.split("\n")]
            if inside:
                opened.add(id(item))
                stack += [(indent, end, id(item)), *reversed(inside)]
        return "\n".join(lines)


def registered(module: Module) -> Mapping[str, str]:
    """Which of a module's attributes are PARAMETER, BUFFER, TRANSIENT or MODULE, those that are None too."""
    return module._roles


def _parameter_counts(root: Module) -> dict[int, int]:
    """The number of parameters in each module of a tree, by its id; one that is shared inside a module counts once."""
    found: dict[int, dict[int, int]] = {}
    stack = [(root, False)]
    while stack:
        module, ready = stack.pop()
        if ready:
            sizes = found[id(module)]
            for child in module.children():
                sizes.update(found[id(child)])
        elif id(module) not in found:
            found[id(module)] = {id(p): p.size for _, p in module._own(PARAMETER)}
            stack.append((module, True))
            stack += [(child, False) for child in module.children()]
    return {key: sum(sizes.values()) for key, sizes in found.items()}


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Tensor) and not isinstance(value, Parameter)


def _memory(array: Any) -> Any:
    """The array that owns the memory of a view."""
    while isinstance(getattr(array, "base", None), np.ndarray):
        array = array.base
    return array


def _fitting(value: Any, target: Tensor) -> tuple[Any, str | None]:
    """The value as an array of the target's dtype, where the target is, and what is wrong with it, if anything."""
    if isinstance(value, Tensor):
        array: Any = put(plain(value), place_of(plain(target)))
    else:
        try:
            array = put(value if is_foreign(value) else np.asarray(value), place_of(plain(target)))
        except Exception as error:
            return None, f"is no array ({error})"
    if array.shape != target.shape:
        return None, f"shape {array.shape}, the module has {target.shape}"
    if array.dtype == target.dtype:
        return array, None
    real = array.dtype.kind == "f" or array.dtype.name == "bfloat16"
    if (target.dtype.kind == "f" and real) or (target.dtype.kind == "c" and (real or array.dtype.kind == "c")):
        with np.errstate(over="ignore"):
            return array.astype(target.dtype), None
    if array.dtype.kind in "iu" and target.dtype.kind in "iuf":
        with np.errstate(over="ignore"):
            cast = array.astype(target.dtype)
        if _is_exact(array, cast):
            return cast, None
    return None, f"dtype {array.dtype} does not fit the module's {target.dtype}"


def _is_exact(integers: Any, cast: Any) -> bool:
    """Whether integers are the same numbers after a cast. (A comparison of the arrays would cast once more.)"""
    if cast.dtype.kind != "f":
        return bool((cast == integers).all())
    limit = 2 ** (np.finfo(cast.dtype).nmant + 1)  # up to here every integer is held
    far = (integers > limit) | (integers < -limit)
    return all(math.isfinite(b) and int(a) == int(b) for a, b in zip(integers[far], cast[far]))
