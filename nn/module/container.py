"""Modules made of modules, and lists and dicts of modules and of parameters.

`_List` and `_Dict` are Python's protocols on top of a module's own entries; the containers say what the entries are.
"""

from __future__ import annotations

import copy
import operator
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Generic, TypeVar

import numpy as np

from autodiff import Tensor

from .function import as_module
from .module import MODULE, PARAMETER, Module
from .parameter import Parameter

T = TypeVar("T", Module, Parameter)
L = TypeVar("L", bound="_List[Any]")
D = TypeVar("D", bound="_Dict[Any]")


def _module(where: str, value: Any) -> Module:
    if not isinstance(value, Module):
        hint = f"; write {value.__name__}()" if isinstance(value, type) and issubclass(value, Module) else ""
        raise TypeError(f"{where}: takes modules, not {value!r:.80}{hint}")
    return value


def _parameter(where: str, value: Any) -> Parameter:
    if isinstance(value, Parameter):
        return value
    if not isinstance(value, (Tensor, np.ndarray)):
        raise TypeError(f"{where}: takes parameters, Tensors or arrays, not {value!r:.80}")
    return Parameter(value)


class _Container(Module, Generic[T]):
    _role = MODULE

    def _checked(self, value: Any) -> T:
        check: Any = _module if self._role == MODULE else _parameter
        return check(type(self).__name__, value)

    def _put(self, name: str, value: Any) -> None:
        if name in self._names():
            setattr(self, name, self._checked(value))
        else:
            self._register(name, self._checked(value), self._role)

    def _names(self) -> list[str]:
        role = self._role
        return [name for name, found in self._roles.items() if found == role]

    def __len__(self) -> int:
        return len(self._names())

    def _uncalled(self) -> Any:
        raise NotImplementedError(
            f"{type(self).__name__}: holds modules or parameters and computes nothing itself; call them in the "
            f"forward method of your model"
        )

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Not defined: the container computes nothing itself."""
        self._uncalled()


class _List(_Container[T]):
    """Entries named 0, 1, …, in this order."""

    def __iter__(self) -> Iterator[T]:
        values = self.__dict__
        return iter([values[name] for name in self._names()])

    def _name(self, index: Any) -> str:
        names = self._names()
        try:
            return names[operator.index(index)]
        except IndexError:
            raise IndexError(
                f"{type(self).__name__}: index {index} is out of range for {len(names)} {self._role}s"
            ) from None
        except TypeError:
            raise TypeError(f"{type(self).__name__}: an index is an integer or a slice, not {index!r}") from None

    def _part(self, names: list[str]) -> Any:
        return type(self)([self.__dict__[name] for name in names])

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return self._part(self._names()[index])
        return self.__dict__[self._name(index)]

    def __setitem__(self, index: int, value: Any) -> None:
        self._put(self._name(index), value)

    def __delitem__(self, index: int | slice) -> None:
        gone = set(self._names()[index] if isinstance(index, slice) else [self._name(index)])
        self._replace([self.__dict__[name] for name in self._names() if name not in gone])

    def _replace(self: L, values: Iterable[Any]) -> L:
        for name in self._names():
            delattr(self, name)
        return self.extend(values)

    def append(self: L, value: Any) -> L:
        """Add an entry at the end; returns the container."""
        return self.extend([value])

    def extend(self: L, values: Iterable[Any]) -> L:
        """Add entries at the end; returns the container."""
        if not isinstance(values, Iterable) or isinstance(values, (str, Tensor, np.ndarray)):
            raise TypeError(f"{type(self).__name__}: extend takes a list of {self._role}s, not {values!r}")
        for value in [self._checked(value) for value in values]:
            self._put(str(len(self)), value)
        return self

    def insert(self: L, index: int, value: Any) -> L:
        """Put an entry in front of the one at `index`, renumbering; returns the container."""
        values = list(self)
        values.insert(index, self._checked(value))
        return self._replace(values)

    def pop(self, index: int = -1) -> T:
        """Take out the entry at `index`, renumbering, and return it."""
        value: T = self[index]
        del self[index]
        return value

    def __add__(self: L, other: Iterable[Any]) -> L:
        if not isinstance(other, Iterable):
            return NotImplemented
        found: L = self._part(self._names())
        return found.extend(other)

    def __iadd__(self: L, other: Iterable[Any]) -> L:
        return self.extend(other)


class Sequential(_List[Module]):
    """Modules applied one after another.

    Args:
        modules: the modules, or one dict of them by name. Positions 0, 1, … are names. Plain functions become modules
            (`Lambda`).

    Indexing gives a module (by position), slicing a Sequential of the same modules; ``+``, ``*``, `append`, `extend`,
    `insert` and `pop` are as a list's.

    Raises:
        TypeError: for something that is no module.

    >>> import nn
    >>> model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    >>> model[-1]
    Linear(in_features=4, out_features=2, bias=True) · 10 parameters
    >>> len(model[:2]), list(model.state_dict())
    (2, ['0.weight', '0.bias', '2.weight', '2.bias'])
    """

    def __init__(self, *modules: Any) -> None:
        if len(modules) == 1 and isinstance(modules[0], Mapping):
            for name, module in modules[0].items():
                self._put(name, module)
        else:
            self.extend(modules)

    def _checked(self, value: Any) -> Module:
        return super()._checked(as_module(value))

    def forward(self, input: Any) -> Any:
        """The output of the last module."""
        for module in self:
            input = module(input)
        return input

    def _part(self, names: list[str]) -> Any:
        return Sequential({name: self.__dict__[name] for name in names})

    def __mul__(self, times: int) -> Sequential:
        """The same modules, the given number of times."""
        return Sequential(*(list(self) * operator.index(times)))

    __rmul__ = __mul__

    def __imul__(self, times: int) -> Sequential:
        return self._replace(list(self) * operator.index(times))


class ModuleList(_List[Module]):
    """A list of modules, which the module that holds it knows as its own.

    Args:
        modules: any number of modules to begin with.

    Indexing gives a module, slicing a ModuleList; ``+``, ``+=``, `append`, `extend`, `insert` and `pop` are as a
    list's. It computes nothing itself.

    Raises:
        TypeError: for something that is no module.

    >>> import nn
    >>> layers = nn.ModuleList(nn.Linear(n, n + 1) for n in range(3))
    >>> layers[-1].weight.shape, list(layers.state_dict())[:2]
    ((3, 2), ['0.weight', '0.bias'])
    """

    def __init__(self, modules: Iterable[Module] | None = None) -> None:
        self.extend(() if modules is None else modules)


class ParameterList(_List[Parameter]):
    """A list of parameters, which the module that holds it knows as its own.

    Args:
        values: any number of parameters to begin with; Tensors and arrays become parameters.

    Indexing gives a parameter, slicing a ParameterList; ``+``, ``+=``, `append`, `extend`, `insert` and `pop` are as a
    list's.

    Raises:
        TypeError: for something that is no parameter and cannot become one.

    >>> import nn
    >>> nn.ParameterList([np.zeros(2, "float32"), np.zeros((2, 3), "float32")])
    ParameterList(
      (0): Parameter(2,)
      (1): Parameter(2, 3)
    ) · 8 parameters
    """

    _role = PARAMETER

    def __init__(self, values: Iterable[Any] | None = None) -> None:
        self.extend(() if values is None else values)


class _Dict(_Container[T]):
    """Entries by name, in the order in which they came."""

    def __init__(self, entries: Any = None) -> None:
        if entries is not None:
            self.update(entries)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names())

    def __reversed__(self) -> Iterator[str]:
        return reversed(self._names())

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self._roles.get(key) == self._role

    def __getitem__(self, key: str) -> T:
        if key not in self:
            there = ", ".join(self._names()) or "none"
            raise KeyError(f"{type(self).__name__} has no {self._role} {key!r}; it has: {there}")
        return self.__dict__[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self._put(key, value)

    def __delitem__(self, key: str) -> None:
        self[key]
        delattr(self, key)

    def keys(self) -> Iterable[str]:
        """The names."""
        return dict.fromkeys(self._names()).keys()

    def values(self) -> Iterable[T]:
        """The entries."""
        return dict(self.items()).values()

    def items(self) -> Iterable[tuple[str, T]]:
        """The names with their entries."""
        return {name: self.__dict__[name] for name in self._names()}.items()

    def clear(self) -> None:
        """Take out everything."""
        for name in self._names():
            delattr(self, name)

    def pop(self, key: str, *default: Any) -> Any:
        """Take out an entry and return it (or the default, if there is none of this name)."""
        if default and key not in self:
            return default[0]
        value = self[key]
        del self[key]
        return value

    def popitem(self) -> tuple[str, T]:
        """Take out the last entry and return its name and itself."""
        if not len(self):
            raise KeyError(f"{type(self).__name__}.popitem: it is empty")
        name = self._names()[-1]
        return name, self.pop(name)

    def get(self, key: str, default: Any = None) -> Any:
        """The entry, or the default if there is none of this name."""
        return self[key] if key in self else default

    def setdefault(self, key: str, default: Any = None) -> T:
        """The entry; if there is none of this name, the default becomes it."""
        if key not in self:
            self[key] = default
        return self[key]

    def update(self, entries: Any) -> None:
        """Add or replace entries: a mapping, or pairs of a name and an entry."""
        if isinstance(entries, (Mapping, _Dict)):
            pairs = list(entries.items())
        else:
            try:
                pairs = [(name, value) for name, value in entries]
            except (TypeError, ValueError):
                raise TypeError(
                    f"{type(self).__name__}: takes a mapping, or pairs of a name and a {self._role}, not {entries!r}"
                ) from None
        for name, value in [(name, self._checked(value)) for name, value in pairs]:
            self._put(name, value)

    def copy(self: D) -> D:
        """A container of the same entries."""
        return type(self)(self.items())

    def __or__(self: D, other: Any) -> D:
        if not isinstance(other, (Mapping, _Dict)):
            return NotImplemented
        found = self.copy()
        found.update(other)
        return found

    def __ior__(self: D, other: Any) -> D:
        self.update(other)
        return self


class ModuleDict(_Dict[Module]):
    """A dict of modules by name, which the module that holds it knows as its own.

    Args:
        modules: a mapping, or pairs of a name and a module.

    It has a dict's methods. It computes nothing itself.

    Raises:
        TypeError: for something that is no module.
        KeyError: for a name that contains a dot or that a dict's method has.

    >>> import nn
    >>> heads = nn.ModuleDict({"mean": nn.Linear(4, 1), "variance": nn.Linear(4, 1)})
    >>> heads["mean"](np.ones((2, 4), "float32")).shape, "mode" in heads
    ((2, 1), False)
    """

    def __init__(self, modules: Any = None) -> None:
        super().__init__(modules)


class ParameterDict(_Dict[Parameter]):
    """A dict of parameters by name, which the module that holds it knows as its own.

    Args:
        parameters: a mapping, or pairs of a name and a parameter; Tensors and arrays become parameters.

    It has a dict's methods.

    Raises:
        TypeError: for something that is no parameter and cannot become one.
        KeyError: for a name that contains a dot or that a dict's method has.

    >>> import nn
    >>> nn.ParameterDict({"scale": np.ones(3, "float32")})["scale"]
    Parameter([1., 1., 1.], dtype=float32, requires_grad=True)
    """

    _role = PARAMETER

    def __init__(self, parameters: Any = None) -> None:
        super().__init__(parameters)

    @classmethod
    def fromkeys(cls, keys: Iterable[str], default: Any) -> ParameterDict:
        """A dict with a parameter of its own, of the default's values, for each name."""
        return cls([(key, copy.deepcopy(_parameter(cls.__name__, default))) for key in keys])
