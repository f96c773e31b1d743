"""The Module: a tree of layers that knows its parameters, and loads and saves them.

Parameters, buffers and children are ordinary attributes (read at full speed); `_roles` remembers which attribute is
what, in the order in which they were made.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

import numpy as np

from autodiff import Tensor
from autodiff.tensor import clock, wrap

from .parameter import Parameter
from .random import floating

Self = TypeVar("Self", bound="Module")

PARAMETER, BUFFER, TRANSIENT, MODULE = "parameter", "buffer", "buffer (not saved)", "module"
_TAKES = {PARAMETER: "a Parameter", BUFFER: "a Tensor", TRANSIENT: "a Tensor", MODULE: "a Module"}


class Incompatible(NamedTuple):
    """What `Module.load_state_dict` passed over with ``strict=False``."""

    missing_keys: list[str]
    unexpected_keys: list[str]


class Module:
    """Base of all layers and models: assign parameters and submodules to attributes, and define `forward`.

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
    training: bool

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        # Made here and not in __init__, so that a subclass need not call super().__init__().
        module = super().__new__(cls)
        module.__dict__.update(_roles={}, training=True, _calls=deque(maxlen=256))
        return module

    # Calling

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the module computes; every subclass defines it, users call the module itself."""
        raise NotImplementedError(f"{type(self).__name__}: define forward(self, ...)")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        # Tensors are numbered as they are made: from these two numbers a picture knows what was made in this call.
        start = clock()
        result = self.forward(*args, **kwargs)
        self._calls.append((start, clock()))
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
                f"{type(value).__name__}" + (" (write nn.Parameter(value))" if role == PARAMETER else "")
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
            raise TypeError(f"add_module({name!r}): takes a Module or None, not {module!r}")
        self._register(name, module, MODULE)

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
        for child in self.children():
            child.apply(fn)
        fn(self)
        return self

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

    def zero_grad(self) -> None:
        """Forget the gradients of all parameters (``.grad`` becomes None)."""
        for p in self.parameters():
            p.zero_grad()

    def astype(self: Self, dtype: Any) -> Self:
        """Convert floating-point parameters, their gradients and buffers, in place; returns the module.

        Raises:
            TypeError: for a dtype that is not floating-point.
        """
        target = floating(dtype)
        for tensor in [*self.parameters(), *self.buffers()]:
            if tensor.dtype.kind == "f" and tensor.dtype != target:
                gradient, tensor.grad = tensor.grad, None
                tensor.data = tensor.data.astype(target)
                if gradient is not None:
                    tensor.grad = gradient.detach().astype(target)
        return self

    # Saving and loading

    def state_dict(self, *, prefix: str = "") -> dict[str, Tensor]:
        """Parameters and persistent buffers by dotted name, PyTorch's keys; constants that share the module's memory
        (``copy.deepcopy`` keeps a snapshot)."""
        state = {}
        for path, module in self.named_modules(None, "", remove_duplicate=False):
            for role in (PARAMETER, BUFFER):
                for name, tensor in module._own(role):
                    state[prefix + (f"{path}.{name}" if path else name)] = wrap(tensor.data)
        return state

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True) -> Incompatible:
        """Write Tensors or arrays into the parameters and buffers of these names, in place.

        Floating-point values (half types too) are cast to the parameter's dtype.

        Args:
            state_dict: arrays or Tensors by name, as `state_dict` of this module or of PyTorch's.
            strict: with False, names that only one side has are passed over and returned.

        Raises:
            TypeError: if that is no mapping.
            RuntimeError: for missing and unexpected names (if `strict`), other shapes, and values of another kind
                (integers for floats): all of them at once, and then nothing is written.
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(f"load_state_dict: takes a dict of arrays by name, not {type(state_dict).__name__}")
        own = self.state_dict()
        missing = [name for name in own if name not in state_dict]
        unexpected = [str(name) for name in state_dict if name not in own]
        found, wrong = {}, []
        for name, target in own.items():
            if name in state_dict:
                found[name], complaint = _fitting(state_dict[name], target)
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
                    data = tensor.data if tensor.data.flags.writeable else tensor.data.copy()
                    data[...] = found[key]
                    tensor.data = data  # tells the engine that a graph recorded before no longer fits
        return Incompatible(missing, unexpected)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_calls"}

    # Reading

    def extra_repr(self) -> str:
        """What the representation shows between the parentheses: the options the layer was made with."""
        return ""

    def __repr__(self) -> str:
        children = list(self._own(MODULE))
        options = self.extra_repr()
        lines = [] if options else [f"({name}): Parameter{p.shape}" for name, p in self._own(PARAMETER)]
        lines += [f"({name}): {child!r}" for name, child in children]
        if lines:
            options += "\n  " + "\n".join(lines).replace("\n", "\n  ") + "\n"
        count = sum(p.size for p in self.parameters())
        return f"{type(self).__name__}({options})" + (f" · {count:,} parameter{'s' * (count != 1)}" if count else "")


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Tensor) and not isinstance(value, Parameter)


def _fitting(value: Any, target: Tensor) -> tuple[Any, str | None]:
    """The value as an array of the target's dtype, and what is wrong with it, if anything."""
    if isinstance(value, Tensor):
        array: Any = value.data
    else:
        try:
            array = np.asarray(value)
        except Exception as error:
            return None, f"is no array ({error})"
    if array.shape != target.shape:
        return None, f"shape {array.shape}, the module has {target.shape}"
    if array.dtype == target.dtype:
        return array, None
    real = array.dtype.kind == "f" or array.dtype.name == "bfloat16"
    if target.dtype.kind == "f" and real:
        with np.errstate(over="ignore"):
            return array.astype(target.dtype), None
    if array.dtype.kind in "iu" and target.dtype.kind in "iu":
        cast = array.astype(target.dtype)
        if (cast == array).all():
            return cast, None
    return None, f"dtype {array.dtype} does not fit the module's {target.dtype}"
