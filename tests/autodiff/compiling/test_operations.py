"""Every operation, its gradients, their derivatives and forward derivatives, compiled, are what they are eagerly."""

import numpy as np
import pytest

import autodiff as ad
import nn  # noqa: F401 (its layers declare operations too)
from autodiff.primitive import REGISTRY
from tests.derivatives import computed


@pytest.mark.parametrize("name", sorted(n for n, r in REGISTRY.items() if r.samples is not None))
@pytest.mark.parametrize(
    "dtype, few",
    [("f8", 2), pytest.param("f8", 4, marks=pytest.mark.slow), pytest.param("f4", 2, marks=pytest.mark.slow)],
)
def test_an_operation_and_its_derivatives_compiled_are_what_they_are(name, dtype, few):
    record = REGISTRY[name]
    pairs = list(zip(*(record.samples(np.random.default_rng(seed)) for seed in (0, 1))))
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
