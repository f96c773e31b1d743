"""A Markov chain in continuous time: rates of change from what was seen at a few moments.

A patient is well, ill or gone, and jumps between the states with rates Q[i, j]; the rows of the generator Q sum to 0.
Between two visits a time t apart the probabilities of change are the matrix exponential P(t) = exp(Q t), whatever
happened in between. The rates are those that make the changes seen most likely: −Σ n[i, j] log P(t)[i, j] is minimal.
The derivative of the matrix exponential (Fréchet's) comes from the engine, and the second one too: the inverse of the
Hessian at the end is the covariance of the estimate.

Source: Kalbfleisch and Lawless, "The analysis of panel data under a Markov assumption", 1985.
"""

import numpy as np

import autodiff as ad
import optim

ALLOWED = np.array([[0, 1, 1], [1, 0, 1], [0, 0, 0]], bool)  # the jumps there are: nobody comes back


def generator(log_rates):
    """Q, with one rate for each jump that is allowed."""
    Q = ad.zeros((3, 3)).at[ALLOWED].set(np.exp(log_rates))
    return Q - np.diag(Q.sum(axis=1))


def surprise(log_rates, visits):
    """−log p of the numbers of changes n (3, 3) that were seen after each time t."""
    Q, total = generator(log_rates), 0.0
    for t, n in visits:
        P = ad.linalg.expm(Q * t)
        total = total - (n[:2] * np.log(P[:2])).sum()  # who is gone tells nothing
    return total


def fit(visits):
    """The logarithms of the rates, and their covariance."""
    found = optim.minimize(lambda r: surprise(r, visits), np.full(4, -1.0), "BFGS", tol=1e-8).x
    return found, np.linalg.inv(ad.hessian(surprise)(found, visits))


def data(rates=(0.5, 0.1, 0.3, 0.4), people=2000):
    """What visits to many people show, one half after a year and one half after two."""
    rng, Q = np.random.default_rng(0), generator(np.log(rates)).numpy()
    return [(t, np.array([rng.multinomial(people, row.clip(0)) for row in ad.linalg.expm(Q * t).numpy()]))
            for t in (1.0, 2.0)]  # fmt: skip


if __name__ == "__main__":
    found, covariance = fit(data())
    for name, r, width in zip(("falls ill", "dies well", "recovers", "dies ill"), found, np.sqrt(np.diag(covariance))):
        print(f"{name}: {np.exp(r):.3f} a year, within a factor of {np.exp(2 * width):.2f}")
