"""Modules made of modules."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, overload

from .module import MODULE, Module


class Sequential(Module):
    """Modules applied one after another.

    Args:
        modules: the modules, or one dict of them by name. Positions 0, 1, … are names.

    Indexing gives a module (by position), slicing a Sequential of the same modules.

    Raises:
        TypeError: for something that is no module.

    >>> import nn
    >>> model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    >>> model[-1]
    Linear(in_features=4, out_features=2, bias=True) · 10 parameters
    >>> len(model[:2]), list(model.state_dict())
    (2, ['0.weight', '0.bias', '2.weight', '2.bias'])
    """

    @overload
    def __init__(self, *modules: Module) -> None: ...
    @overload
    def __init__(self, modules: Mapping[str, Module], /) -> None: ...
    def __init__(self, *modules: Any) -> None:
        if len(modules) == 1 and isinstance(modules[0], Mapping):
            for name, module in modules[0].items():
                self.add_module(name, self._checked(module))
        else:
            self.extend(modules)

    @staticmethod
    def _checked(module: Any) -> Module:
        if not isinstance(module, Module):
            hint = f"; write {module.__name__}()" if isinstance(module, type) and issubclass(module, Module) else ""
            raise TypeError(f"Sequential: takes modules, not {module!r}{hint}")
        return module

    def forward(self, input: Any) -> Any:
        """The output of the last module."""
        for module in self:
            input = module(input)
        return input

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __iter__(self) -> Iterator[Module]:
        values = self.__dict__
        return (values[name] for name, role in self._roles.items() if role is MODULE or role == MODULE)

    def _names(self) -> list[str]:
        return [name for name, role in self._roles.items() if role == MODULE]

    def _name(self, index: int) -> str:
        names = self._names()
        try:
            return names[index]
        except IndexError:
            raise IndexError(f"Sequential: index {index} is out of range for {len(names)} modules") from None

    @overload
    def __getitem__(self, index: int) -> Module: ...
    @overload
    def __getitem__(self, index: slice) -> Sequential: ...
    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return type(self)({name: self.__dict__[name] for name in self._names()[index]})
        return self.__dict__[self._name(index)]

    def __setitem__(self, index: int, module: Module) -> None:
        setattr(self, self._name(index), self._checked(module))

    def __delitem__(self, index: int | slice) -> None:
        names = self._names()[index] if isinstance(index, slice) else [self._name(index)]
        self._replace([self.__dict__[name] for name in self._names() if name not in names])

    def append(self, module: Module) -> Sequential:
        """Add a module at the end; returns the Sequential."""
        return self.extend([module])

    def extend(self, modules: Iterable[Module]) -> Sequential:
        """Add modules at the end; returns the Sequential."""
        for module in [self._checked(module) for module in modules]:
            self.add_module(str(len(self)), module)
        return self

    def insert(self, index: int, module: Module) -> Sequential:
        """Put a module in front of the one at `index`, renumbering; returns the Sequential."""
        modules = list(self)
        modules.insert(index, self._checked(module))
        return self._replace(modules)

    def _replace(self, modules: list[Module]) -> Sequential:
        for name in self._names():
            delattr(self, name)
        return self.extend(modules)
