"""PyTorch in double precision as the judge of a function's value, gradients and second derivatives."""

import numpy as np
import pytest

import autodiff as ad


def agrees_with_torch(ours, theirs, *arrays, rtol=1e-9, atol=1e-11, second=True):
    """`ours` of Tensors and `theirs` of torch tensors have one value, gradient and second derivative (by double
    backward, along random directions). Both return one tensor."""
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(7)
    xs = [ad.Tensor(a, requires_grad=True) for a in arrays]
    ts = [torch.tensor(a, dtype=torch.float64, requires_grad=True) for a in arrays]
    y, u = ours(*xs), theirs(*ts)
    np.testing.assert_allclose(y.numpy(), u.numpy(force=True), rtol=rtol, atol=atol)
    weight = rng.normal(size=y.shape)
    ds = ad.gradients(y, xs, weight, create_graph=True)
    es = torch.autograd.grad(u, ts, torch.tensor(weight), create_graph=True, materialize_grads=True)
    for d, e, a in zip(ds, es, arrays):
        assert d.shape == np.shape(a)
        np.testing.assert_allclose(d.numpy(), e.numpy(force=True), rtol=rtol, atol=atol)
    if not second:
        return
    directions = [rng.normal(size=np.shape(a)) for a in arrays]
    s = sum((d * v).sum() for d, v in zip(ds, directions))
    r = sum((e * torch.tensor(v)).sum() for e, v in zip(es, directions))
    if not r.requires_grad:
        return
    seconds = ad.gradients(s, xs, allow_unused=True)
    for d, e in zip(seconds, torch.autograd.grad(r, ts, materialize_grads=True)):
        found = np.zeros(e.shape) if d is None else d.numpy()
        np.testing.assert_allclose(found, e.numpy(force=True), rtol=10 * rtol, atol=10 * atol)
