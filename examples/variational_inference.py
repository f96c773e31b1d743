"""Black-box variational inference: a posterior fitted by gradients of samples.

The posterior of the weights w of a model is known up to a constant: the joint density p(w, data). Variational inference
looks for the normal distribution q = N(m, L Lᵀ) nearest to it, by maximising the evidence lower bound
E_q[log p(w, data) − log q(w)]. Drawn as w = m + L ε with ε standard normal, the samples are differentiable by m and L
(the reparameterisation trick), and nothing has to be known of the model but its log density: hence "black box".

Inside log q the parameters are constants (`detach`): their part of the gradient has mean zero, and without it the noise
vanishes as q comes near the posterior, so that the fit ends at the answer and not around it.

Source: Roeder, Wu and Duvenaud, "Sticking the landing", 2017.
"""

import numpy as np

import autodiff as ad
import optim


def log_joint(w, x, y, noise=0.5):
    """log p(w, y) of linear regression with prior N(0, I), for each row of w, but for a constant."""
    return -0.5 * (w**2).sum(axis=1) - 0.5 * ((y - w @ x.T) ** 2).sum(axis=1) / noise**2


def factor(a):
    """Any square matrix as a lower triangular one with positive diagonal."""
    return np.tril(a, -1) + np.diag(np.exp(np.diagonal(a)))


def bound(m, a, log_density, ε):
    """The evidence lower bound, estimated with the samples that ε (n, d) gives."""
    w = m + ε @ factor(a).T
    fixed = factor(a.detach())
    log_q = -0.5 * (np.linalg.solve(fixed, (w - m.detach()).T) ** 2).sum(axis=0) - np.log(np.diagonal(fixed)).sum()
    return (log_density(w) - log_q).mean()


def fit(log_density, d, steps=400, samples=8):
    """Mean and covariance of the normal distribution nearest to a density of d variables."""
    rng = np.random.default_rng(0)
    m, a = ad.zeros(d, requires_grad=True), ad.zeros((d, d), requires_grad=True)
    optimizer = optim.Adam([m, a], lr=0.1, maximize=True)
    for _ in range(steps):
        optimizer.zero_grad()
        bound(m, a, log_density, rng.normal(size=(samples, d))).backward()
        optimizer.step()
    L = factor(a.numpy())
    return m.numpy(), L @ L.T


def data():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(20, 3))
    return x, x @ [1.0, -2.0, 0.5] + 0.5 * rng.normal(size=20)


if __name__ == "__main__":
    mean, covariance = fit(lambda w: log_joint(w, *data()), 3)
    print("w =", ", ".join(f"{m:.3f} ± {s:.3f}" for m, s in zip(mean, np.sqrt(np.diagonal(covariance)))))
