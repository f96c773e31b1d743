"""Every operation, its gradients, their derivatives and forward derivatives, compiled, are what they are eagerly."""

import numpy as np
import pytest

import autodiff as ad
import nn  # noqa: F401 (its layers declare operations too)
from autodiff import Tensor
from autodiff.primitive import REGISTRY, general
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


@pytest.mark.parametrize("name", sorted(n for n, r in REGISTRY.items() if r.samples is not None))
@pytest.mark.parametrize("dtype", ["f8", "f4"])
def test_an_operation_and_its_derivatives_compiled_are_what_they_are(name, dtype):
    record = REGISTRY[name]
    pairs = list(zip(*(record.samples(np.random.default_rng(seed)) for seed in (0, 1))))
    few = 4 if dtype == "f8" else 2
    numbers = [[p for p in pairs if any(map(np.iscomplexobj, p[0].inputs)) is kind] for kind in (False, True)]
    for sample, other in numbers[0][:few] + numbers[1][:few]:
        function, arrays = computed(record, sample)
        if not arrays:
            continue
        _, again = computed(record, other)
        if [a.shape for a in again] != [a.shape for a in arrays]:
            again = arrays
        compiled = ad.compile(function)
        with np.errstate(all="ignore"):
            compiled(*[a.astype(f"c{2 * int(dtype[1])}" if np.iscomplexobj(a) else dtype) for a in arrays])
            given = [a.astype(f"c{2 * int(dtype[1])}" if np.iscomplexobj(a) else dtype) for a in again]
            found, expected = compiled(*given), function(*given)
        for a, b in zip(found, expected, strict=True):
            if a is None or b is None:
                assert a is b is None
                continue
            assert a.dtype == b.dtype and a.shape == b.shape
            eps = np.finfo(b.dtype).eps if b.dtype.kind in "fc" else 0
            scale = np.abs(b.data[np.isfinite(b.data)]).max(initial=1) if b.size else 1
            np.testing.assert_allclose(a.data, b.data, rtol=64 * eps, atol=16 * eps * scale, err_msg=compiled.explain())
