"""Random loops, with loops and branches inside, give compiled what they give as they are, and so do their derivatives."""

import numpy as np
import pytest

import autodiff as ad

ONE = [np.sin, np.tanh, lambda a: a * 0.5, lambda a: a * a * 0.3, lambda a: a.sum() * 0.1 + a,
       lambda a: np.maximum(a, 0.1), lambda a: a[::-1], lambda a: a.reshape(-1)[None].T[:, 0],
       lambda a: np.where(a > 0, a, -0.3 * a), lambda a: np.exp(-a * a)]  # fmt: skip
TWO = [np.add, np.subtract, np.multiply, lambda a, b: np.where(a > b, a, b * 0.5),
       lambda a, b: np.stack([a, b]).mean(0), lambda a, b: np.concatenate([a, b])[::2]]  # fmt: skip


def drawn(seed):
    """A function, and the shapes of its arguments: carries, slices, and what the steps close over."""
    rng = np.random.default_rng(seed)
    carries, slices, others = (int(rng.integers(low, high)) for low, high in ((1, 4), (0, 3), (0, 3)))
    length, reverse, results = int(rng.integers(1, 6)), bool(rng.integers(2)), int(rng.integers(0, 3))
    calls = rng.integers(1 << 30, size=(rng.integers(1, 9), 4)).tolist()
    picks = rng.integers(1 << 30, size=8).tolist()
    loop, branch = rng.integers(3) == 0, rng.integers(3) == 0

    def f(*args):
        closed = [np.tanh(w) for w in args[carries + slices :]]

        def step(c, x):
            values = [*c, *(x or ()), *closed]
            for kind, i, j, k in calls:
                a, b = values[i % len(values)], values[j % len(values)]
                values.append(TWO[k % len(TWO)](a, b) if kind % 3 else ONE[k % len(ONE)](a))
            if loop:
                z, zs = ad.scan(lambda a, b: (np.sin(a) * b, a + b), values[-1], np.stack(values[:2]))
                values.append(z + zs.sum(0) * 0.1)
            if branch:
                cosine = lambda a, b: np.cos(a) - b
                values.append(ad.cond(values[-1].sum() > 0.2, np.multiply, cosine, values[-1], values[0]))
            found = [values[p % len(values)] for p in picks]
            return tuple(found[:carries]), found[carries : carries + results]

        xs = list(args[carries : carries + slices]) or None
        c, ys = ad.scan(step, args[:carries], xs, length=length, reverse=reverse)
        return sum((v * v * (0.1 * i + 0.1)).sum() + np.sin(v).sum() for i, v in enumerate([*c, *ys]))

    return f, [(4,)] * carries + [(length, 4)] * slices + [(4,)] * others


def flat(x):
    return [y for part in x for y in flat(part)] if isinstance(x, (tuple, list)) else [x]


def checked(seed):
    f, shapes = drawn(seed)
    rng, every = np.random.default_rng(seed + 10**6), tuple(range(len(shapes)))
    first, second, directions = ([rng.standard_normal(s) for s in shapes] for _ in range(3))
    functions = [(ad.value_and_grad(f, every), [])]
    if seed % 2:
        product = ad.hvp if seed % 4 == 1 else ad.jvp
        functions.append((lambda *xs: product(f, xs[: len(every)], xs[len(every) :]), directions))
    for function, more in functions:
        for backend in ("numpy", "native"):
            compiled = ad.compile(function, backend=backend)
            for given in (first, second, first):
                for a, b in zip(flat(compiled(*given, *more)), flat(function(*given, *more)), strict=True):
                    np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-10, err_msg=f"seed {seed}, {backend}")
            assert "call failed" not in compiled.explain()


def test_a_few_random_loops_compiled_are_what_they_are():
    for seed in range(2):
        checked(seed)


@pytest.mark.slow
def test_a_hundred_random_loops_compiled_are_what_they_are():
    for seed in range(2, 100):
        checked(seed)
