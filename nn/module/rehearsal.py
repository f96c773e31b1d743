"""Running a model to look at it, which leaves no trace."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from ..random import generator
from .module import BUFFER, TRANSIENT, Module, registered


@contextmanager
def as_it_was(model: Module) -> Iterator[None]:
    """Afterwards the modules' modes, buffers and random generators are what they were."""
    modules = list(model.modules())
    modes = [module.training for module in modules]
    places = [(m, name) for m in modules for name, role in registered(m).items() if role in (BUFFER, TRANSIENT)]
    buffers = [(m, name, m.__dict__[name]) for m, name in places]
    contents = [(buffer, buffer.data, buffer.data.copy()) for _, _, buffer in buffers if buffer is not None]
    generators = {generator()} | {
        value for module in modules for value in vars(module).values() if isinstance(value, np.random.Generator)
    }
    states = [(g, g.bit_generator.state) for g in generators]
    try:
        yield
    finally:
        for module, mode in zip(modules, modes):
            module.training = mode
        for module, name, buffer in buffers:
            module.__dict__[name] = buffer
        for buffer, array, values in contents:
            changed = array.tobytes() != values.tobytes()
            if changed:
                array[...] = values
            if changed or buffer.data is not array:
                buffer.data = array
        for g, state in states:
            g.bit_generator.state = state
