"""Every operation, its gradients and their derivatives, of a batch are what they are of each example."""

import warnings

import numpy as np
import pytest

import autodiff as ad
import nn  # noqa: F401 (its layers declare operations too)
from autodiff.batching.batch import PerformanceWarning
from autodiff.primitive import REGISTRY
from tests.derivatives import computed

EXAMPLES = 3


@pytest.mark.parametrize("name", sorted(n for n, r in REGISTRY.items() if r.samples is not None))
def test_an_operation_and_its_derivatives_of_a_batch_are_those_of_each_example(name):
    record = REGISTRY[name]
    runs = [list(record.samples(np.random.default_rng(seed))) for seed in range(EXAMPLES)]
    for samples in list(zip(*runs))[:6]:
        function, first = computed(record, samples[0])
        if not first:
            continue
        examples = [computed(record, s)[1] for s in samples]
        if any([a.shape for a in e] != [a.shape for a in first] for e in examples):
            examples = [first] * EXAMPLES
        for mapped in {
            (True,) * len(first),
            (True,) + (False,) * (len(first) - 1),
            (False,) * (len(first) - 1) + (True,),
        }:
            given = [np.stack([e[i] for e in examples]) if m else first[i] for i, m in enumerate(mapped)]
            with np.errstate(all="ignore"), warnings.catch_warnings():
                warnings.simplefilter("ignore", PerformanceWarning)
                found = ad.vmap(function, in_axes=tuple(0 if m else None for m in mapped))(*given)
                each = [function(*(a[k] if m else a for a, m in zip(given, mapped))) for k in range(EXAMPLES)]
            for a, parts in zip(found, zip(*each), strict=True):
                if a is None or parts[0] is None:
                    assert a is None and parts[0] is None
                    continue
                b = np.stack([p.data for p in parts])
                assert a.dtype == b.dtype and a.shape == b.shape
                scale = np.abs(b[np.isfinite(b)]).max(initial=1) if b.size else 1
                eps = np.finfo(b.dtype).eps if b.dtype.kind in "fc" else 0
                np.testing.assert_allclose(a, b, rtol=256 * eps, atol=64 * eps * scale, err_msg=f"mapped {mapped}")
