"""States as JSON, arrays apart: nested dicts, lists and tuples of numbers, strings and arrays, and back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..device_arrays import DeviceArray
from ..devices import put
from ..tensor import Tensor, plain
from .arrays import Array

_TUPLE, _ARRAY, _TENSOR, _NUMBER, _ITEMS, _COMPLEX = "$tuple", "$array", "$tensor", "$float", "$items", "$complex"


def encoded(value: Any, path: str, arrays: dict[str, Array]) -> Any:
    """The value as JSON has it; arrays are put under their path into `arrays`.

    Raises:
        TypeError: for anything that cannot be saved, naming its path.
    """
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, (np.bool_, np.number)):
        value = value.item()
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {_NUMBER: str(value)}
    if isinstance(value, complex):
        return {_COMPLEX: [encoded(part, path, arrays) for part in (value.real, value.imag)]}
    if isinstance(value, (np.ndarray, Tensor, DeviceArray)):
        while path in arrays:  # names may contain dots of their own
            path += "_"
        arrays[path] = put(plain(value), None)
        return {_TENSOR if isinstance(value, Tensor) else _ARRAY: path}
    if isinstance(value, (list, tuple)):
        items = [encoded(item, f"{path}.{i}", arrays) for i, item in enumerate(value)]
        return {_TUPLE: items} if isinstance(value, tuple) else items
    if isinstance(value, Mapping):
        inside = [(key, encoded(item, f"{path}.{key}" if path else str(key), arrays)) for key, item in value.items()]
        if all(isinstance(key, str) and not key.startswith("$") for key in value):
            return dict(inside)
        return {_ITEMS: [[encoded(key, "", {}), item] for key, item in inside]}
    ways = {"state_dict": "state_dict()", "bit_generator": "bit_generator.state"}
    hint = "".join([f"; save its {way}" for name, way in ways.items() if hasattr(value, name)])
    raise TypeError(f"checkpoint: {path} is a {type(value).__name__}, which cannot be saved: {value!r:.200}{hint}")


def decoded(value: Any, arrays: Mapping[str, Tensor]) -> Any:
    """What `encoded` was given.

    Raises:
        ValueError: for what it did not return.
    """
    if isinstance(value, list):
        return [decoded(item, arrays) for item in value]
    if not isinstance(value, dict):
        return value
    match value:
        case {"$tuple": list(items), **rest} if not rest:
            return tuple([decoded(item, arrays) for item in items])
        case {"$float": ("nan" | "inf" | "-inf") as number, **rest} if not rest:
            return float(number)
        case {"$complex": [real, imag], **rest} if not rest:
            return complex(decoded(real, arrays), decoded(imag, arrays))
        case {"$array": str(name), **rest} if not rest and name in arrays:
            return arrays[name].data
        case {"$tensor": str(name), **rest} if not rest and name in arrays:
            return arrays[name]
        case {"$items": [*pairs], **rest} if not rest and all(
            isinstance(pair, list) and len(pair) == 2 for pair in pairs
        ):
            items = [(decoded(key, arrays), decoded(item, arrays)) for key, item in pairs]
            if all(isinstance(key, (str, int, float, complex, tuple, type(None))) for key, _ in items):
                return dict(items)
    if any(key.startswith("$") for key in value):
        raise ValueError(f"{str(value)[:100]} stands for no value")
    return {key: decoded(item, arrays) for key, item in value.items()}
