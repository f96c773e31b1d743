"""A function of one example as a function of many: each operation runs once, for all examples.

The function is run on batches, which hide their first axis, in the one graph that everything is recorded in, so that
`vmap` and the other transforms go inside one another in any order. Order: the transform, axes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from ..batching.batch import Level, within
from ..batching.examples import batched, entered, left
from ..tensor import Tensor, as_array, is_foreign, plain, wrap
from .tree import flatten

# The transform


def vmap(f: Callable[..., Any], in_axes: Any = 0, out_axes: Any = 0, randomness: str = "error") -> Callable[..., Any]:
    """The function that does for many examples at once what `f` does for one.

    Every operation inside runs once, on arrays with one axis more; `f` sees the axes of one example. It composes with
    every transform in either order: ``vmap(grad(loss), in_axes=(None, 0, 0))`` gives the gradient of each example.

    Args:
        f: a function of arrays, Tensors and nested tuples, lists and dicts of them that returns such.
        in_axes: the axis of each positional argument along which its examples lie: a number for all of them, or a
            tuple with one entry for each: a number, None for an argument that all examples share, or a nested
            structure of these in the form of the argument (or of its upper part). Keyword arguments are shared.
        out_axes: the axis along which the results of the examples are put together: a number for all outputs or a
            nested structure in the form of the output (or of its upper part); None for an output that is the same for
            all examples.
        randomness: what dropout and the ``rvs`` of distributions do inside: "error" refuses to draw, "different" draws
            for one example after the other, "same" lets each draw what the first draws. A `numpy.random.Generator`
            among the arguments is split where it is mapped (into ``default_rng(words)``, for each example four words
            that it draws): the function gets one whose numbers differ between examples; where it is shared (in_axes
            None) what its methods draw is the same for all.

    Returns:
        A function of the same arguments. It returns Tensors where an argument is a Tensor, or a recorded Tensor is
        reached from the result, and arrays otherwise.

    Raises:
        ValueError: the examples of two arguments are not as many, an axis does not exist, nothing is mapped, an output
            with out_axes None differs between examples, or `randomness` is another word.
        TypeError: f is no function, or does what can be done with one example alone: a branch on a value, float(),
            an index by a mask (`autodiff.batching.batch.BatchError`).

    An operation for which no form for all examples is known is run for each, with a `PerformanceWarning` that names it.
    Numbers from a generator of NumPy's that the function closes over are drawn once, and shared by all examples.

    >>> vmap(lambda x, y: x @ y)(np.ones((3, 2)), np.arange(6.0).reshape(3, 2))
    array([1., 5., 9.])
    >>> from autodiff import grad
    >>> vmap(grad(lambda w, x: (w * x).sum() ** 2), in_axes=(None, 0))(2.0, np.array([[1.0, 2.0], [0.0, 1.0]]))
    array([36.,  4.])
    >>> noisy = vmap(lambda x, rng: x + rng.normal())
    >>> bool(np.ptp(noisy(np.zeros(3), np.random.default_rng(0))) > 0)
    True
    """
    if not callable(f):
        raise TypeError(f"vmap: needs a function, not {f!r:.80}")
    from ..batching.draws import RANDOMNESS, drawn  # loads numpy.random, which `import autodiff` does without

    if randomness not in RANDOMNESS:
        raise ValueError(f"vmap: randomness must be one of {', '.join(map(repr, RANDOMNESS))}, not {randomness!r}")

    @wraps(f)
    def of_all(*args: Any, **kwargs: Any) -> Any:
        leaves, form = flatten(args)
        axes = _axes("in_axes", _for_each(in_axes, args), args)
        paths = form.paths()
        size = _size(leaves, axes, paths, f)
        with batched(size, leaves) as level, drawn(level, randomness):
            given = [_shared(x) if axis is None else _as_batch(x, axis, level) for x, axis in zip(leaves, axes)]
            result = f(*form.build(given), **kwargs)
        outputs, output_form = flatten(result)
        ends = _axes("out_axes", out_axes, result)
        tensors = any(isinstance(x, Tensor) for x in leaves) or any(
            isinstance(y, Tensor) and y._requires_grad for y in outputs
        )
        found = [
            _out(y, axis, level, path, tensors, leaves) for y, axis, path in zip(outputs, ends, output_form.paths())
        ]
        return output_form.build(found)

    return of_all


def _shared(x: Any) -> Any:
    """What all examples have in common; an array as a Tensor, which takes positions that differ between them."""
    return wrap(x) if (type(x) is np.ndarray or is_foreign(x)) and x.dtype.kind in "fiubc" else x


def _as_batch(x: Any, axis: int, level: Level) -> Any:
    if isinstance(x, np.random.Generator):
        from ..batching.draws import split

        return split(x, level)
    tensor = x if isinstance(x, Tensor) else wrap(as_array(x, copy=False))
    return entered(tensor, normalize_axis_index(axis, tensor.ndim), level)


def _out(y: Any, axis: int | None, level: Level, path: str, tensors: bool, leaves: Sequence[Any]) -> Any:
    data = plain(y)
    if axis is None:
        if within(data, level):
            raise ValueError(f"vmap: output{path} differs between examples, but out_axes is None there; give an axis")
        return y
    if not isinstance(y, Tensor):
        if not (is_foreign(y) or isinstance(y, (np.ndarray, np.generic, int, float, complex))):
            raise TypeError(f"vmap: output{path} is {y!r}, a {type(y).__name__}; return arrays or Tensors")
        y = wrap(y if hasattr(y, "shape") else np.asarray(y))
    n = y.ndim + 1
    if not -n <= axis < n:
        raise ValueError(f"vmap: out_axes {axis} of output{path}, which has {n} axes with that of the examples")
    found = left(y, axis % n, level)
    if tensors:
        return found
    array = found._ndarray
    if type(array) is not np.ndarray:
        return array.copy()  # of a traced array it is unknown what shares its memory
    own = array.flags.writeable and not any(np.may_share_memory(array, x) for x in leaves if type(x) is np.ndarray)
    return array if own else np.array(array)


# Axes


def _for_each(in_axes: Any, args: Sequence[Any]) -> Any:
    if isinstance(in_axes, (list, tuple)):
        if len(in_axes) != len(args):
            raise ValueError(f"vmap: in_axes has {len(in_axes)} entries for {len(args)} positional arguments")
        return tuple(in_axes)
    return (in_axes,) * len(args)


def _axes(name: str, spec: Any, tree: Any, path: str = "") -> list[int | None]:
    """The axis of each leaf, where an axis (or None) stands for all leaves below it."""
    if spec is None or (isinstance(spec, (int, np.integer)) and not isinstance(spec, bool)):
        return [None if spec is None else int(spec)] * len(flatten(tree)[0])
    if isinstance(spec, dict) and isinstance(tree, dict) and spec.keys() == tree.keys():
        return [a for key, part in tree.items() for a in _axes(name, spec[key], part, f"{path}[{key!r}]")]
    if isinstance(spec, (list, tuple)) and isinstance(tree, (list, tuple)) and len(spec) == len(tree):
        return [a for i, part in enumerate(tree) for a in _axes(name, spec[i], part, f"{path}[{i}]")]
    raise ValueError(
        f"vmap: {name}{path} is {spec!r}, where an axis, None or the form of the argument is needed (a "
        f"{type(tree).__name__})"
    )


def _size(leaves: Sequence[Any], axes: Sequence[int | None], paths: Sequence[str], f: Any) -> int:
    """How many examples there are."""
    size, first = None, ""
    for x, axis, path in zip(leaves, axes, paths):
        if axis is None or isinstance(x, np.random.Generator):
            continue
        shape = np.shape(plain(x)) if not hasattr(x, "shape") else x.shape
        if not -len(shape) <= axis < len(shape):
            raise ValueError(
                f"vmap: argument{path} has shape {tuple(shape)}, no axis {axis} of examples; in_axes None shares it"
            )
        if size is None:
            size, first = shape[axis], path
        elif shape[axis] != size:
            raise ValueError(
                f"vmap: argument{path} has {shape[axis]} examples (axis {axis} of shape {tuple(shape)}), but "
                f"argument{first} has {size}"
            )
    if size is None:
        raise ValueError(
            f"vmap: no argument of {getattr(f, '__name__', 'the function')} is mapped; give in_axes an axis"
        )
    return size
