"""All derivatives of an operation that a sweep compares between two ways of running it."""

import numpy as np

import autodiff as ad
from autodiff import Tensor
from autodiff.primitive import general
from autodiff.transforms.forward import Pushforward, Unsupported


def computed(record, sample):
    """A function of the differentiable inputs: the output, its gradients, second derivatives and a tangent."""
    places = [i for i, x in enumerate(sample.inputs) if isinstance(x, np.ndarray) and x.dtype.kind in "fc"]

    def function(*arrays):
        xs = [Tensor(x, requires_grad=True) for x in arrays]
        inputs = list(sample.inputs)
        for i, x in zip(places, xs):
            inputs[i] = x
        if sample.wrap:
            inputs = sample.wrap(*inputs)
            inputs = inputs if isinstance(inputs, (tuple, list)) else (inputs,)
        y = (sample.function or general(record))(*inputs, **sample.params)
        if not y.requires_grad:
            return [y]
        rng = np.random.default_rng(7)
        turn = np.exp(0.5j) if y.dtype.kind == "c" else 1
        g = Tensor((rng.uniform(0.5, 1.5, y.shape) * turn).astype(y.dtype))
        found = [y.detach(), *ad.gradients(y, xs, g, allow_unused=True)]
        if sample.smooth >= 1:
            try:
                (tangent,) = Pushforward([y], xs)([x._ndarray * 0.5 for x in xs])
                found.append(None if tangent is None else Tensor(tangent))
            except Unsupported:
                pass
        if sample.smooth >= 2:
            first = ad.gradients(y, xs, g, allow_unused=True, create_graph=True)
            kept = [d for d in first if d is not None and d.requires_grad]
            if kept:
                found += ad.gradients(kept, xs, [d.detach() * 0.5 + 1 for d in kept], allow_unused=True)
        return [None if d is None else d.detach() for d in found]

    return function, [sample.inputs[i] for i in places]
