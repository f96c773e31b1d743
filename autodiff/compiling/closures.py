"""What a function reads besides its arguments: variables that it closes over, globals, attributes of objects.

Tensors among them become inputs of the program. Numbers, strings and arrays are constants of it, and are compared at
every call, so that a change is seen. Order: what was found, the search, the comparison.
"""

from __future__ import annotations

import builtins
import contextvars
import dis
import functools
import operator
import os
import random
import re
import sys
import types
import weakref
import zlib
from array import array
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import zip_longest
from typing import Any

import numpy as np

from ..leaving import is_users_file
from ..primitive import REGISTRY, Primitive
from ..tensor import Tensor, digest

_PLAIN = (int, float, complex, str, bytes, type(None), np.generic, np.dtype)
_EXACT = (bool, int, float, complex, str, bytes, type(None))
"""Of these the value is all that there is; an instance of a subclass may keep more."""
_CACHED = type(functools.cache(len))
_MAPPINGS = (dict, types.MappingProxyType)
_COLLECTIONS = (set, frozenset, deque, bytearray, array, memoryview)
_BY_NAME = frozenset({"getattr", "hasattr", "vars", "__dict__", "attrgetter"})
"""Names in code that reads attributes whose names it does not say."""
_GLOBALS = frozenset({"globals", "vars", "locals", "eval", "exec"})
"""Names in code that reads variables whose names are strings."""
_ENVIRONMENT = frozenset({"environ", "getenv", "environb"})
_PYTHONS = os.path.dirname(os.__file__) + os.sep
MANY = 20000
"""So many objects are watched and no more."""
LARGE = 1 << 14
"""Arrays of as many numbers are not compared at every call, but read by the program."""


class Closure:
    """What is reached from a function.

    Args:
        functions: where the search begins.
        known: objects that are looked after elsewhere, by id.
        names: what the functions are called; none where it is the first that is compiled.
        lifting: whether large arrays are to be inputs of the program, wherever they can be replaced for a trace.
    """

    def __init__(
        self, functions: list[Any], known: Iterable[int] = (), names: Iterable[str] = (), lifting: bool = False
    ) -> None:
        self.tensors: dict[str, Tensor] = {}
        """Tensors by a name that says where they were found."""
        self.generators: dict[str, Any] = {}
        """What draws random numbers."""
        self.iterators: dict[str, Any] = {}
        """What gives something else each time it is asked."""
        self.optimizers: dict[str, Any] = {}
        self.large: list[tuple[str, Any, list[tuple[str, Any, Any]]]] = []
        """Large arrays: name, array, and all places where it stands, as `put` takes them."""
        self.unwatched = ""
        """The name of something that is one of too many."""
        self._places: list[tuple[str, str, Any, Any, Any]] = []  # name, kind of place, holder, key, value
        self._settled: set[int] = set()  # numbers of places where nothing else can come to stand
        self._met: list[tuple[str, Any]] = []  # arrays by name
        self._fixed: set[int] = set()  # ids of arrays that are reached where nothing can be put
        self._codes: set[str] = set()  # names that the user's code mentions
        self._seen: set[int] = set()
        self._alive: list[Any] = []
        mentioned = -1
        while mentioned != len(self._codes):  # functions that are found mention more, and more is to be found
            mentioned = len(self._codes)
            self._forget(known)
            for function, name in zip_longest(functions, names, fillvalue=""):
                self._visit(function, name)
        if lifting:
            self._lift()
        lifted = {id(x) for _, x, _ in self.large}
        self._arrays = [(name, x, _digest(x)) for name, x in self._met if id(x) not in lifted]
        self._relied: dict[int, tuple[str, Callable[[], bool]]] = {}  # by id of whose recording it is
        self.unchanged = self._comparison()
        """Whether all is as it was found."""

    def changes(self) -> Iterator[str]:
        """The names of what is not as it was found."""
        for name, kind, holder, key, value in self._places:
            if not _same(read(kind, holder, key), value):
                yield name
        for name, x, before in self._arrays:
            if _digest(x) != before:
                yield name
        for name, stands in self._relied.values():
            if not stands():
                yield name

    def rely(self, owner: Any, name: str, stands: Callable[[], bool]) -> None:
        """Ask at every call, too, whether what an object computes with stands, which it alone can say."""
        if id(owner) not in self._relied:
            self._relied[id(owner)] = name, stands
            self.unchanged = self._comparison()

    @property
    def stands(self) -> bool:
        """Whether all does on which the program relies. What does not is mostly gone for ever."""
        return all(stands() for _, stands in self._relied.values())

    @property
    def arrays(self) -> list[Any]:
        """The arrays that are compared."""
        return [x for _, x, _ in self._arrays]

    def without(self, name: str) -> list[dict[str, Any]]:
        """The global variables of functions that read one of this name, which is Python's own there."""
        found = {id(holder): holder for _, kind, holder, key, _ in self._places if kind == "get" and key == name}
        return [*found.values()]

    def undo(self) -> None:
        """Let what was found stand again where something else is now, and take away what came."""
        for _, kind, holder, key, value in self._places:
            if kind == "length":
                del holder[value:]
            elif kind == "values" and type(holder) is dict:
                for k in [k for k in holder if k not in value]:
                    del holder[k]
            elif kind == "values" and isinstance(holder, (set, deque)) and tuple(holder) != value:
                holder.clear()
                (holder.update if isinstance(holder, set) else holder.extend)(value)
            elif value is _EMPTY and kind == "attribute" and read(kind, holder, key) is not _EMPTY:
                delattr(holder, key)
            elif _takes(kind, holder) and value is not _EMPTY and read(kind, holder, key) is not value:
                put(kind, holder, key, value)

    # The search

    def _forget(self, known: Iterable[int]) -> None:
        """Begin the search anew."""
        self.unwatched, self._seen = "", {*known}
        for found in (self.tensors, self.generators, self.iterators, self.optimizers, self._settled, self._fixed):
            found.clear()
        for listed in (self._places, self._met):
            listed.clear()

    def _mention(self, f: types.FunctionType) -> None:
        """Collect the names in the code of a function of the user's."""
        codes = [f.__code__]
        while codes:
            code = codes.pop()
            self._codes.update(code.co_names, code.co_freevars, (c for c in code.co_consts if type(c) is str))
            codes += [c for c in code.co_consts if isinstance(c, types.CodeType)]
            if not _GLOBALS.isdisjoint(code.co_names):  # whose texts are code
                reached = [f.__globals__[n] for n in _globals_of(code) if n in f.__globals__]
                texts = [x for x in (*code.co_consts, *reached, *map(_cell, f.__closure__ or ())) if type(x) is str]
                self._codes |= {word for text in texts for word in re.findall(r"\w+", text)}

    def _place(self, name: str, kind: str, holder: Any, key: Any, settled: bool = False) -> None:
        """Look at what stands at a place, for ever if that is settled."""
        value = read(kind, holder, key)
        if isinstance(value, (types.BuiltinFunctionType, np.ufunc)) or _is_librarys_module(value):
            return
        if settled:
            self._settled.add(len(self._places))
        self._places.append((name, kind, holder, key, value))
        self._visit(value, name, True)

    def _lift(self) -> None:
        """Find the large arrays that can be replaced wherever they stand."""
        found: dict[int, list[tuple[str, Any, Any]]] = {}
        for _, kind, holder, key, value in self._places:
            if isinstance(value, np.ndarray):
                if _takes(kind, holder):
                    found.setdefault(id(value), []).append((kind, holder, key))
                else:
                    self._fixed.add(id(value))
        for name, x in self._met:
            if x.size >= LARGE and x.dtype.kind in "fc" and type(x) is np.ndarray and id(x) not in self._fixed:
                self.large.append((name, x, found[id(x)]))

    def _visit(self, x: Any, name: str, placed: bool = False) -> None:
        if isinstance(x, type):
            self._class(x)
            return
        if type(x) in _EXACT or isinstance(x, (np.generic, np.dtype, types.BuiltinFunctionType, np.ufunc)):
            return
        if _is_librarys_module(x):
            return
        if not placed and isinstance(x, np.ndarray):
            self._fixed.add(id(x))
        if id(x) in self._seen:
            return
        if len(self._seen) > MANY:
            self.unwatched = self.unwatched or name
            return
        self._seen.add(id(x))
        self._alive.append(x)
        if isinstance(x, Tensor):
            self.tensors[name or x.name or "tensor"] = x
            self._visit(x._hooks, f"the hooks of {name}")
        elif isinstance(x, np.ndarray):
            self._met.append((name, x))
            if x.dtype.kind == "O":
                self._visit(tuple(x.flat), name)
            self._subclass(x, name)
        elif isinstance(x, (np.random.Generator, np.random.RandomState, random.Random)):
            self.generators[name] = x
        elif isinstance(x, (tuple, list)):
            self._subclass(x, name)
            if len(x) > 64 and all(isinstance(v, _PLAIN) for v in x):  # without a place for each
                self._places.append((name, "values", x, None, tuple(x)))
                return
            if isinstance(x, list):
                self._places.append((name, "length", x, None, len(x)))
            for i in range(len(x)):
                self._place(f"{name}[{i}]", "item", x, i, isinstance(x, tuple))
        elif isinstance(x, _MAPPINGS):
            self._subclass(x, name)
            self._places.append((name, "values", x, None, tuple(x)))
            if len(x) > 64 and all(isinstance(v, _PLAIN) for v in x.values()):
                self._places.append((name, "values", x.values(), None, tuple(x.values())))
                return
            for key in list(x):
                self._place(f"{name}[{key!r}]", "item", x, key)
        elif isinstance(x, _COLLECTIONS):
            self._subclass(x, name)
            self._places.append((name, "values", x, None, tuple(x)))
            for value in () if isinstance(x, _COLLECTIONS[3:]) else x:
                self._visit(value, f"{name}[…]")
        elif isinstance(x, (weakref.ref, contextvars.ContextVar)):
            self._place(name, "call", x if isinstance(x, weakref.ref) else functools.partial(x.get, None), None)
        elif isinstance(x, Primitive) and REGISTRY.get(x.name) is x:
            return  # an operation of this project's, which stays what it is
        elif isinstance(x, functools.partial):
            self._visit(x.func, name)
            self._visit(x.args, name)
            self._visit(x.keywords, name)
        elif isinstance(x, types.MethodType):
            self._visit(x.__func__, name)
            self._visit(x.__self__, name)
        elif isinstance(x, types.FunctionType):
            self._function(x, name)
        elif isinstance(x, types.ModuleType):
            self._attributes(x, name)
        elif _is_ours(x) or isinstance(x, _CACHED):
            self._visit(getattr(x, "__wrapped__", None), name)
        elif _has(x, "__next__"):
            self.iterators[name] = x
        elif _has(x, "param_groups") and _has(x, "step"):
            self.optimizers[name] = x
        elif isinstance(x, type(os.environ)):
            self._places.append((name, "call", functools.partial(repr, x), None, repr(x)))
        elif _kept(x) is not None or _slots(type(x)):
            self._object(x, name)

    def _function(self, f: types.FunctionType, name: str) -> None:
        code, ours = f.__code__, _is_projects(str(f.__globals__.get("__name__")))  # which binds its variables once
        for variable, cell in zip(code.co_freevars, f.__closure__ or ()):
            late = _cell(cell) is None and not is_users_code(code.co_filename)  # what a library loads when it is needed
            if _cell(cell) is not _EMPTY and not late:
                self._place(_joined("", variable), "cell", cell, None, ours)
        for i, value in enumerate(f.__defaults__ or ()):
            self._visit(value, f"{name or f.__name__} (default {i})")
        if f.__kwdefaults__:
            self._visit(f.__kwdefaults__, f"{name or f.__name__} (defaults)")
        if not is_users_code(code.co_filename):
            return
        self._mention(f)
        for key in ("__code__", "__defaults__", "__kwdefaults__"):
            self._places.append((f"{name or f.__name__}.{key}", "attribute", f, key, getattr(f, key)))
        self._attributes(f, name or f.__name__)
        codes = [code]
        while codes:
            inner = codes.pop()
            codes += [c for c in inner.co_consts if isinstance(c, types.CodeType)]
            names = _globals_of(inner)
            if not _GLOBALS.isdisjoint(names):
                names = [*names, *(n for n in f.__globals__ if n in self._codes)]
            if not _ENVIRONMENT.isdisjoint(inner.co_names):
                self._visit(os.environ, "os.environ")
            for variable in names:
                if variable not in f.__globals__:
                    if hasattr(builtins, variable):
                        self._places.append((variable, "get", f.__globals__, variable, _EMPTY))
                    continue
                self._place(variable, "item", f.__globals__, variable)

    def _class(self, kind: type) -> None:
        """The functions of a class of the user's, and the numbers that it keeps."""
        if _is_users_class(type(kind)):
            self._class(type(kind))
        for c in kind.__mro__:
            if not _is_users_class(c) or id(c) in self._seen:
                continue
            self._seen.add(id(c))
            self._places.append((c.__name__, "values", vars(c), None, tuple(vars(c))))
            for key, value in list(vars(c).items()):
                codes = _codes_of(value)
                if codes:
                    self._places.append((f"{c.__name__}.{key}", "item", vars(c), key, value))
                    for function in codes:
                        self._function(function, f"{c.__name__}.{key}")
                elif self._mentioned(key) and not isinstance(value, types.MemberDescriptorType):
                    self._place(f"{c.__name__}.{key}", "item", vars(c), key)

    def _subclass(self, x: Any, name: str) -> None:
        """What a collection or an array of a class of the user's keeps besides what it holds."""
        if _is_users_class(type(x)):
            self._object(x, name)

    def _object(self, x: Any, name: str) -> None:
        self._class(type(x))
        if _is_users_class(type(x)):
            self._places.append((f"the class of {name}", "attribute", x, "__class__", x.__class__))
        if _kept(x) is not None and isinstance(type(x).__module__, str):
            self._attributes(x, name)
        for key in _slots(type(x)):
            self._place(_joined(name, key), "attribute", x, key)

    def _mentioned(self, key: str) -> bool:
        """Whether the user's code may read an attribute of this name."""
        return not key.startswith("__") and (key in self._codes or not _BY_NAME.isdisjoint(self._codes))

    def _attributes(self, x: Any, name: str) -> None:
        module, library = isinstance(x, types.ModuleType), _of_library(x)
        ours = not module and not isinstance(x, types.FunctionType) and not _is_users_class(type(x))
        if not module and not type(x).__module__.startswith("autodiff."):  # ours find out things when they are used
            self._places.append(
                (f"the attributes of {name or 'the function'}", "values", vars(x), None, tuple(vars(x)))
            )
        for key, value in list(vars(x).items()):
            if library and _is_set(type(x), key):
                read = True
            elif not module and _is_declared(x, key):
                read = value is None or _may_hold(value)
            elif (key in self._codes and not key.startswith("__")) if module else self._mentioned(key):
                read = True
            elif key.startswith("_"):  # where a layer of this project's keeps what it holds and what it calls
                read = library and (value is None or _may_hold(value))
            else:
                read = not module and (ours or library)
            if read:
                self._place(_joined(name, key), "item", vars(x), key)

    # The comparison

    def _comparison(self) -> Callable[[], bool]:
        """One expression for all places: it runs at every call."""
        names: dict[str, Any] = {"digest": _digest, "same": _same, "empty": _EMPTY}
        terms = []
        for i, (_, kind, holder, key, value) in enumerate(self._places):
            if i in self._settled:
                continue
            names |= {f"h{i}": holder, f"v{i}": value, f"k{i}": key}
            text = {"cell": f"h{i}.cell_contents", "item": f"h{i}[k{i}]", "length": f"len(h{i})",
                    "values": f"tuple(h{i})", "attribute": f"getattr(h{i}, k{i}, empty)",
                    "get": f"h{i}.get(k{i}, empty)", "call": f"h{i}()"}[kind]  # fmt: skip
            if kind == "get" and value is _EMPTY:
                terms.append(f"k{i} not in h{i}")
                continue
            if kind == "attribute" and value is not _EMPTY and key.isidentifier():
                text = f"h{i}.{key}"
            if kind == "values" and all(type(x) is str for x in value):  # names, as most are
                names[f"v{i}"] = [*value]
                terms.append(f"[*h{i}] == v{i}" if value else f"not h{i}")
                continue
            loose = kind == "values" or (_is_plain(value) and value is not None)
            terms.append(f"{text} is v{i}" if not loose else f"({text} is v{i} or same({text}, v{i}))")
        for i, (_, x, before) in enumerate(self._arrays):
            names |= {f"a{i}": x, f"d{i}": before}
            terms.append(f"digest(a{i}) == d{i}")
        for i, (_, stands) in enumerate(self._relied.values()):
            names[f"r{i}"] = stands
            terms.append(f"r{i}()")
        text = f"""def unchanged():
    try:
        return {" and ".join(terms) or True}
    except (KeyError, IndexError, ValueError, AttributeError):  # what stood there is gone
        return False
"""
        exec(text, names)
        unchanged: Callable[[], bool] = names.pop("unchanged")  # which would keep itself alive
        return unchanged


_EMPTY = object()


def _cell(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return _EMPTY


def read(kind: str, holder: Any, key: Any) -> Any:
    """What stands at a place."""
    try:
        if kind == "cell":
            return holder.cell_contents
        if kind in ("length", "values"):
            return len(holder) if kind == "length" else tuple(holder)
        if kind in ("get", "call"):
            return holder() if kind == "call" else holder.get(key, _EMPTY)
        return holder[key] if kind == "item" else getattr(holder, key)
    except (KeyError, IndexError, ValueError, AttributeError):
        return _EMPTY


def put(kind: str, holder: Any, key: Any, value: Any) -> None:
    """Let another value stand at a place."""
    if kind == "cell":
        holder.cell_contents = value
    elif kind == "item" and type(holder) is list:
        holder[key : key + 1] = [value]  # at the end, too, where it was taken away
    elif kind == "item":
        holder[key] = value
    else:
        setattr(holder, key, value)


def _takes(kind: str, holder: Any) -> bool:
    """Whether another value can be put at a place."""
    return kind in ("cell", "attribute") or (kind == "item" and type(holder) in (dict, list))


def _has(x: Any, name: str) -> bool:
    """Whether an object has an attribute, without a call of its own ``__getattr__``."""
    return name in (_kept(x) or ()) or any(name in vars(c) for c in type(x).__mro__)


def _kept(x: Any) -> dict[str, Any] | None:
    kept = read("attribute", x, "__dict__")
    return kept if isinstance(kept, dict) else None


def _same(a: Any, b: Any) -> bool:
    """Whether two values are the same to a program; 0.0 and −0.0 are not, nor are 1 and 1.0."""
    if a is b:
        return True
    if type(a) is not type(b):
        return False
    if type(a) is tuple:
        return len(a) == len(b) and (all(map(operator.is_, a, b)) or all(map(_same, a, b)))
    signed = isinstance(a, (float, complex, np.inexact))
    return _is_plain(a) and (repr(a) == repr(b) if signed else bool(a == b))


def _is_plain(x: Any) -> bool:
    return type(x) in _EXACT or isinstance(x, (np.generic, np.dtype))


def _joined(name: str, key: str) -> str:
    return f"{name}.{key}" if name else key


def _digest(x: Any) -> Any:
    """What changes when the array does, its shape and dtype too; of one of objects, when it has other objects."""
    if isinstance(x, np.ma.MaskedArray):
        return _digest(x.data), _digest(np.ma.getmaskarray(x)), repr(x.fill_value)
    return x.shape, x.dtype, digest(x) if x.dtype.kind in "fiub" else zlib.crc32(x.tobytes())


def _codes_of(value: Any) -> list[types.FunctionType]:
    """The functions of what stands in a class: a method, a property."""
    found = [getattr(value, "__func__", value), *(getattr(value, name, None) for name in ("fget", "fset", "func"))]
    return [f for f in found if isinstance(f, types.FunctionType)]


@functools.lru_cache(1000)
def _globals_of(code: types.CodeType) -> list[str]:
    """The names that code looks up among globals; ``co_names`` has those of attributes too."""
    found = [i.argval for i in dis.get_instructions(code) if i.opname in ("LOAD_GLOBAL", "LOAD_NAME")]
    return list(dict.fromkeys(found))


def _is_ours(x: Any) -> bool:
    """Whether an object is one of the compiler's or a picture: it is left alone but for the function that it calls."""
    return type(x).__module__.startswith(("autodiff.compiling.", "autodiff.seeing."))


def _slots(kind: type) -> list[str]:
    """The names of what objects of a class keep without a ``__dict__``."""
    found = [(key, value) for c in kind.__mro__ if c.__module__ != "builtins" for key, value in vars(c).items()]
    return [key for key, value in found if isinstance(value, types.MemberDescriptorType) and key != "__dict__"]


def _is_declared(x: Any, key: str) -> bool:
    """Whether a private attribute is one that a class of this project declares, for what it notes itself."""
    return key.startswith("_") and any(
        key in vars(c).get("__annotations__", ()) for c in type(x).__mro__ if _is_of_library(c)
    )


def _is_set(kind: type, key: str) -> bool:
    """Whether a private attribute is what a public one of that name sets."""
    public = getattr(kind, key[1:], None)
    return isinstance(public, property) and public.fset is not None


def _may_hold(x: Any) -> bool:
    """Whether it is a collection that holds more than plain values, or may come to."""
    held = x.values() if isinstance(x, dict) else x if isinstance(x, (list, tuple)) else "plain"
    return not held or not all(isinstance(v, _PLAIN) for v in held)


def _is_users_class(kind: type) -> bool:
    functions = [v for v in vars(kind).values() if isinstance(v, types.FunctionType)]
    if functions:
        return is_users_code(functions[0].__code__.co_filename)
    module = sys.modules.get(kind.__module__)
    return (
        kind.__module__ == "__main__"
        or _is_users_module(module)
        or any(c is not kind and _is_users_class(c) for c in kind.__mro__[:-1])
    )


def _is_users_module(x: Any) -> bool:
    """Whether it is a module of a file of the user's, or one that no import made."""
    if not isinstance(x, types.ModuleType):
        return False
    file = vars(x).get("__file__")
    return is_users_code(file) if file else vars(x).get("__spec__") is None


def _is_librarys_module(x: Any) -> bool:
    return isinstance(x, types.ModuleType) and not _is_users_module(x)


@functools.cache
def is_users_code(filename: str | None) -> bool:
    """Whether a file is the user's: of no library that computes, and not of Python's own."""
    if not filename or not is_users_file(filename):
        return False
    return not filename.startswith(_PYTHONS) or "site-packages" in filename


def _of_library(x: Any) -> bool:
    """Whether the class of an object derives from one of this project's, whose code reads attributes too."""
    return any(map(_is_of_library, type(x).__mro__))


def _is_of_library(kind: type) -> bool:
    return _is_projects(str(kind.__module__))


def _is_projects(module: str) -> bool:
    return module.partition(".")[0] in ("autodiff", "nn", "optim")
