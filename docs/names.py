"""The public names of the project, module by module, each once and in the group of what it is for.

What a page of the reference, a link in prose and the index of systems mean by a name is decided here.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator
from functools import cache
from types import ModuleType
from typing import Any, NamedTuple

from docs.operations import FAMILIES, family_of

PACKAGES = ("autodiff", "nn", "optim")

MODULES = {  # in reading order: what a page of the reference is called
    "autodiff": "Tensors, transforms and operations",
    "autodiff.linalg": "Linear algebra",
    "autodiff.special": "Special functions",
    "autodiff.fft": "Fourier transforms",
    "autodiff.signal": "Convolutions and filters",
    "autodiff.ndimage": "Arrays read between their elements",
    "autodiff.polynomial": "Polynomials",
    "autodiff.stats": "Probability distributions",
    "autodiff.solvers": "Differentiable solvers",
    "autodiff.curvature": "Curvature",
    "autodiff.random": "Random numbers",
    "nn": "Layers",
    "nn.functional": "Layers as functions",
    "nn.init": "Initial values",
    "nn.penalty": "Penalties on weights",
    "nn.plot": "Figures of networks",
    "nn.utils": "Parameters as vectors",
    "nn.utils.rnn": "Sequences of different lengths",
    "optim": "Optimisers and training",
    "optim.lr_scheduler": "Schedules of the learning rate",
    "optim.swa": "Averages of the weights",
    "optim.plot": "Figures of optimisation",
    "optim.sklearn": "Estimators for scikit-learn",
}

GROUPS = {  # by where a name is written, the first that fits
    "autodiff.tensor": "Tensors and their gradients",
    "autodiff.backward": "Tensors and their gradients",
    "autodiff.mode": "Tensors and their gradients",
    "autodiff.leaving": "Tensors and their gradients",
    "autodiff.ops.mapping": "Tensors and their gradients",
    "autodiff.ops.indexing": "Indexing",
    "autodiff.ops.creation": "Making arrays",
    "autodiff.ops.index_tricks": "Making arrays",
    "autodiff.primitive": "Without a derivative",
    "autodiff.primitive.primitive": "Your own operation",
    "autodiff.transforms.checkpoint": "Programs, loops and memory",
    "autodiff.transforms.control": "Programs, loops and memory",
    "autodiff.compiling": "Programs, loops and memory",
    "autodiff.memory": "Programs, loops and memory",
    "autodiff.transforms": "Functions of functions",
    "autodiff.seeing": "Pictures and tables",
    "autodiff.checking": "Checks",
    "autodiff.persistence": "Files",
    "autodiff.ops.polynomials": "Polynomials",
    "autodiff.random": "Random numbers and dtypes",
    "autodiff.clipping": "Gradients kept within bounds",
    "nn.random": "Random numbers and dtypes",
    "nn.module": "Modules, parameters and containers",
    "nn.mlp": "Modules, parameters and containers",
    "nn.linear": "Fully connected layers",
    "nn.activation": "Activations",
    "nn.loss": "Losses",
    "nn.images.conv": "Convolution",
    "nn.images.folding": "Convolution",
    "nn.images.pooling": "Pooling",
    "nn.images": "Padding and resampling",
    "nn.normalization": "Normalisation",
    "nn.dropout": "Dropout",
    "nn.recurrent": "Recurrent layers",
    "nn.state_space": "Models with hidden states",
    "nn.attention": "Attention and transformers",
    "nn.generation": "Continuing sequences",
    "nn.embedding": "Embedding and other features",
    "nn.rbf": "Embedding and other features",
    "nn.shaping": "Shapes",
    "nn.similarity": "Distances",
    "nn.report": "Looking at a model",
    "optim.optimizer": "Optimisers by gradients",
    "optim.first_order": "Optimisers by gradients",
    "optim.second_order.minimization": "SciPy's solvers",
    "optim.second_order.least_squares": "SciPy's solvers",
    "optim.second_order": "Optimisers by curvature",
    "optim.training": "Training",
    "optim.data": "Training",
    "optim.studies": "Studies",
}


class Entry(NamedTuple):
    """A public name: in full, what it stands for, and the group of its page that it belongs to."""

    name: str
    value: Any
    group: str


def exported(module: ModuleType) -> list[str]:
    """The public names of a module: its ``__all__``, or the classes, functions and objects that its files make."""
    if hasattr(module, "__all__"):
        return sorted(module.__all__, key=str.lower)
    files = "" if module.__name__ == "autodiff.stats" else module.__name__
    return sorted(
        (
            name
            for name, value in vars(module).items()
            if name[0] != "_"
            and not isinstance(value, ModuleType)
            and str(getattr(value, "__module__", "")).startswith(files or module.__name__)
            and (files == "" or inspect.isclass(value) or inspect.isfunction(value))
        ),
        key=str.lower,
    )


def group(value: Any) -> str:
    """The heading under which a name stands on its page; empty where the page needs none."""
    record = getattr(value, "primitive", None)
    if record is not None and hasattr(record, "formula"):
        family = family_of(record)
        return FAMILIES.get(family, "").partition(" (")[0] or GROUPS.get(family.strip("`"), "")
    where = getattr(value, "__module__", None) or type(value).__module__
    path = f"{where}.{getattr(value, '__name__', '')}"
    for prefix in sorted(GROUPS, key=len, reverse=True):
        if path == prefix or path.startswith(prefix + "."):
            return GROUPS[prefix]
    return FAMILIES.get(where.rpartition(".")[2], "").partition(" (")[0]


@cache
def entries(module: str) -> tuple[list[Entry], list[tuple[str, str]]]:
    """What a module's page describes, and its names that are described on an earlier page (name, there)."""
    seen = {id(e.value): e.name for earlier in _before(module) for e in entries(earlier)[0]}
    here, elsewhere = [], []
    for name in exported(importlib.import_module(module)):
        value = getattr(importlib.import_module(module), name)
        if isinstance(value, ModuleType):
            continue
        if id(value) in seen:
            elsewhere.append((f"{module}.{name}", seen[id(value)]))
        else:
            seen[id(value)] = f"{module}.{name}"
            here.append(Entry(f"{module}.{name}", value, group(value)))
    return here, elsewhere


def _described_elsewhere(kind: type) -> bool:
    """Whether a class has a place of its own for its members: on a page here, or in another library's documentation."""
    return any(kind is value for value in _public_classes()) or kind.__module__.split(".")[0] not in PACKAGES


def described_above(kind: type) -> list[type]:
    """The classes behind a class whose members are described elsewhere: public ones, and what they are made of."""
    behind = kind.__mro__[1:]
    return [c for c in behind if any(_described_elsewhere(d) and issubclass(d, c) for d in behind)]


@cache
def _public_classes() -> list[type]:
    return [e.value for module in MODULES for e in entries(module)[0] if isinstance(e.value, type)]


def grouped(module: str) -> dict[str, list[Entry]]:
    """A module's entries under their headings, in the order of `GROUPS` and then of the families of operations."""
    here = entries(module)[0]
    order = [*GROUPS.values(), *(title.partition(" (")[0] for title in FAMILIES.values()), ""]
    return {
        title: [e for e in here if e.group == title]
        for title in dict.fromkeys(order)
        if title in {e.group for e in here}
    }


def _before(module: str) -> Iterator[str]:
    for name in MODULES:
        if name == module:
            return
        yield name


@cache
def described() -> dict[str, str]:
    """Where every public name is described: in full, and as people write it (``ad.grad``), to the name in full."""
    found: dict[str, str] = {}
    for module in MODULES:
        here, elsewhere = entries(module)
        own = [(module, module)] if "." in module else []
        for name, target in own + [(e.name, e.name) for e in here] + elsewhere:
            found[name] = target
            if name.startswith("autodiff."):
                found["ad." + name.removeprefix("autodiff.")] = target
    return found
