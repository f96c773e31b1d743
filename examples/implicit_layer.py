"""An implicit layer: a network of endless depth that is trained in constant memory.

A deep equilibrium model applies one layer again and again until nothing changes: its output solves z = tanh(z Wᵀ + u),
where u comes from the input. Kept is the solution alone: by the implicit function theorem its derivative is that of the
equation, (I − ∂f/∂z)⁻¹ ∂f/∂θ, however many turns led there. `ad.solvers.fixed_point` finds z with SciPy and knows that
derivative, to any order. W is scaled to norm below 1, so that there is one solution and it is stable.

Source: Bai, Kolter and Koltun, "Deep equilibrium models", 2019.
"""

import numpy as np

import autodiff as ad
import optim


def layer(z, u, W):
    """One turn; each row is an example."""
    return np.tanh(z @ W.T + u)


def model(p, x):
    """The equilibrium of the layer, read out: (n, 2) to (n,)."""
    W = 0.9 * p["W"] / np.sqrt((p["W"] ** 2).sum())
    u = x @ p["U"].T + p["b"]
    z = ad.solvers.fixed_point(layer, np.zeros(u.shape), (u, W), method="iteration")
    return z @ p["out"]


def loss(p, x, y):
    """The mean logistic loss, of labels −1 and 1."""
    return np.logaddexp(0, -y * model(p, x)).mean()


def begin(hidden=4):
    rng = np.random.default_rng(0)
    return {"W": rng.normal(size=(hidden, hidden)), "U": rng.normal(size=(hidden, 2)),
            "b": np.zeros(hidden), "out": rng.normal(size=hidden)}  # fmt: skip


def fit(x, y, iterations=30):
    return optim.minimize(lambda p: loss(p, x, y), begin(), "BFGS", options={"maxiter": iterations})


def data(n=12):
    """Two rings, one inside the other."""
    angle, y = np.linspace(0, 6 * np.pi, n), np.where(np.arange(n) % 2, 1.0, -1.0)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1) * (1.5 + 0.5 * y)[:, None], y


if __name__ == "__main__":
    x, y = data()
    found = fit(x, y)
    right = (np.sign(model(found.x, x).numpy()) == y).mean()
    print(f"loss before {loss(begin(), x, y).item():.3f}, after {found.fun:.5f}; {right:.0%} right")
