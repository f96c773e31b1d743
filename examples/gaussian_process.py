"""Gaussian-process regression: hyper-parameters that maximise the marginal likelihood.

A Gaussian process says of the values f at any points that they are jointly normal, with covariances given by a kernel.
Of n noisy values y the log marginal likelihood is −½ yᵀ K⁻¹ y − ½ log det K − ½ n log 2π. It prefers the simplest
kernel that explains the data, and needs no validation set. Everything goes through one Cholesky factor K = L Lᵀ, whose
derivative the engine knows; `optim.minimize` hands gradient and Hessian products to SciPy's trust-region method.

Source: Rasmussen and Williams, "Gaussian processes for machine learning", 2006, chapters 2 and 5.
"""

import numpy as np

import optim


def kernel(p, a, b):
    """How much the values at a and at b have in common: σ² exp(−½ (a − b)² / ℓ²)."""
    distance = (a[:, None] - b) / np.exp(p["log_length"])
    return np.exp(2 * p["log_scale"] - 0.5 * distance**2)


def factor(p, x):
    """The Cholesky factor of the covariances of noisy values at x."""
    return np.linalg.cholesky(kernel(p, x, x) + np.exp(2 * p["log_noise"]) * np.eye(len(x)))


def surprise(p, x, y):
    """−log p(y | x), the negative log marginal likelihood."""
    L = factor(p, x)
    whitened = np.linalg.solve(L, y)  # independent standard normal numbers, if the model is right
    return 0.5 * (whitened**2).sum() + np.log(np.diagonal(L)).sum() + 0.5 * len(x) * np.log(2 * np.pi)


def predict(p, x, y, new):
    """Mean and standard deviation of the function at new points, given y at x."""
    L = factor(p, x)
    shared = np.linalg.solve(L, kernel(p, x, new))
    mean = shared.T @ np.linalg.solve(L, y)
    return mean, np.sqrt(np.exp(2 * p["log_scale"]) - (shared**2).sum(axis=0))


def fit(x, y):
    """The hyper-parameters under which the data are least surprising."""
    start = {"log_length": 0.0, "log_scale": 0.0, "log_noise": -1.0}
    return optim.minimize(lambda p: surprise(p, x, y), start, tol=1e-8).x


def data():
    rng = np.random.default_rng(0)
    x = np.sort(rng.uniform(-3, 3, 30))
    return x, np.sin(2 * x) + 0.2 * rng.normal(size=30)


if __name__ == "__main__":
    x, y = data()
    found = fit(x, y)
    print({name: round(float(np.exp(value)), 3) for name, value in found.items()})
    for at, mean, width in zip((-2, 0, 2, 5), *predict(found, x, y, np.array([-2.0, 0.0, 2.0, 5.0]))):
        print(f"f({at}) = {mean:.2f} ± {width:.2f}   (sin: {np.sin(2 * at):.2f})")
