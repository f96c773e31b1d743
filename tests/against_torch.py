"""PyTorch in double precision as the judge of a function's value, gradients and second derivatives."""

import numpy as np
import pytest

import autodiff as ad


def agrees_with_torch(ours, theirs, *arrays, rtol=1e-9, atol=1e-11, second=True):
    """`ours` of Tensors and `theirs` of torch tensors have one value, gradient, second derivative (by double backward,
    along random directions), of complex numbers the derivative forward too. Both return one tensor."""
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(7)
    xs = [ad.Tensor(a, requires_grad=True) for a in arrays]
    ts = [torch.tensor(a, requires_grad=True) for a in arrays]
    y, u = ours(*xs), theirs(*ts)
    np.testing.assert_allclose(y.numpy(), u.numpy(force=True), rtol=rtol, atol=atol)
    assert y.dtype == u.numpy(force=True).dtype
    weight = _random(rng, y)
    ds = ad.gradients(y, xs, weight, create_graph=True)
    es = torch.autograd.grad(u, ts, torch.tensor(weight), create_graph=True, materialize_grads=True)
    for d, e, a in zip(ds, es, arrays):
        assert d.shape == np.shape(a) and d.dtype == np.result_type(a)
        np.testing.assert_allclose(d.numpy(), e.numpy(force=True), rtol=rtol, atol=atol)
    if not second:
        return
    directions = [_random(rng, a) for a in arrays]
    s = sum((d * v.conj()).sum().real for d, v in zip(ds, directions))
    r = sum((e * torch.tensor(v.conj()).resolve_conj()).sum().real for e, v in zip(es, directions))
    if any(map(np.iscomplexobj, arrays)):
        moved = ad.jvp(lambda *xs: ours(*xs), tuple(arrays), tuple(directions))[1]
        slope = sum((d.data * v.conj()).sum().real for d, v in zip(ds, directions))  # the product from the other side
        np.testing.assert_allclose((moved * weight.conj()).sum().real, slope, rtol=rtol, atol=atol + rtol * abs(slope))
    if not r.requires_grad:
        return
    seconds = ad.gradients(s, xs, allow_unused=True)
    for d, e in zip(seconds, torch.autograd.grad(r, ts, materialize_grads=True)):
        found = np.zeros(e.shape) if d is None else d.numpy()
        np.testing.assert_allclose(found, e.numpy(force=True), rtol=10 * rtol, atol=10 * atol)


def _random(rng, like):
    """Normal numbers of the shape and kind of an array."""
    x = rng.normal(size=np.shape(like))
    return x + 1j * rng.normal(size=x.shape) if np.iscomplexobj(getattr(like, "_ndarray", like)) else x


def same_layer(layer, reference, *inputs, output=None, first=1e-9, second=1e-7):
    """Compare a module of ours with torch's: the weights are copied by name; then output, gradients by the inputs and
    the parameters, and Hessian-vector products (of a random weighting of the output, along random directions).

    Args:
        layer: our module, float64.
        reference: torch's, float64, in the same mode.
        inputs: arrays; floating-point ones are differentiated, others are handed on as they are.
        output: takes one tensor out of the modules' results; by default the result itself.
        first, second: tolerances, relative to the largest entry compared.

    Returns:
        our result, so that a test can look closer.
    """
    import torch

    import nn

    rng = np.random.default_rng(0)
    layer.load_state_dict({k: v.detach().numpy() for k, v in reference.state_dict().items()})
    ours = [ad.Tensor(x.copy(), requires_grad=True) if _real(x) else x for x in inputs]
    theirs = [torch.tensor(x, requires_grad=True) if _real(x) else torch.as_tensor(x) for x in inputs]
    free = [x for x in ours if isinstance(x, ad.Tensor)] + list(layer.parameters())
    named = dict(reference.named_parameters())
    free_theirs = [x for x in theirs if x.requires_grad] + [named[name] for name, _ in layer.named_parameters()]
    result = layer(*ours)
    y, z = (result, reference(*theirs)) if output is None else (output(result), output(reference(*theirs)))
    assert y.shape == tuple(z.shape)
    close(y.data, z, first)
    w = rng.normal(size=y.shape)
    us = [rng.normal(size=x.shape) for x in free]
    grads = ad.gradients((y * w).sum() + 0.5 * (y * y).sum(), free, create_graph=True, allow_unused=True)
    grads_theirs = torch.autograd.grad(
        (z * torch.tensor(w)).sum() + 0.5 * (z * z).sum(), free_theirs, create_graph=True, allow_unused=True
    )
    for g, h in zip(grads, grads_theirs):
        close(0.0 if g is None else g.data, h, first)
    s = sum((g * u).sum() for g, u in zip(grads, us) if g is not None)
    t = sum((g * torch.tensor(u)).sum() for g, u in zip(grads_theirs, us) if g is not None)
    for g, h in zip(ad.gradients(s, free, allow_unused=True), torch.autograd.grad(t, free_theirs, allow_unused=True)):
        close(0.0 if g is None else g.data, h, second)
    assert isinstance(layer, nn.Module)
    return result


def _real(x):
    return isinstance(x, np.ndarray) and x.dtype.kind == "f"


def close(ours, theirs, tolerance):
    """Equal to `tolerance` times the largest entry (at least 1); None of torch's stands for zeros."""
    theirs = 0.0 if theirs is None else theirs.detach().numpy()
    scale = max(1.0, np.max(np.abs(theirs), initial=0.0))
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance * scale)
