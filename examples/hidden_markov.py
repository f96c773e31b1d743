"""A hidden Markov model: what the gradient of the forward algorithm means.

A chain of hidden states zₜ jumps with probabilities A[i, j] and shows a symbol with probabilities B[i, k]. The forward
algorithm sums over all paths, in as many steps as there are symbols: α[j] ← Σᵢ α[i] A[i, j] · B[j, xₜ].

The derivative of log p(x) by log A[i, j] is the expected number of jumps from i to j given the symbols: exactly what
the forward–backward algorithm computes, for p(x) is a sum over paths of products of the entries of A and B, and
differentiating by a logarithm counts factors. So Baum and Welch's algorithm is: take the gradient, normalise its rows.
The backward recursion is what the reverse pass does.

Source: Rabiner, "A tutorial on hidden Markov models", 1989; Eisner, "Inside–outside and forward–backward algorithms are
just backprop", 2016.
"""

import numpy as np

import autodiff as ad


def log_likelihood(log_start, log_jump, log_show, symbols):
    """log p(symbols), by the forward algorithm in logarithms."""
    reach = log_start + log_show[:, symbols[0]]
    for k in symbols[1:]:
        reach = ad.special.logsumexp(reach[:, None] + log_jump, axis=0) + log_show[:, k]
    return ad.special.logsumexp(reach)


def expected_counts(log_p, symbols):
    """How often each start, jump and symbol is used on average, given the symbols; and log p(symbols)."""
    value, counts = ad.value_and_grad(log_likelihood, argnums=(0, 1, 2))(*log_p, symbols)
    return counts, float(value)


def fit(log_p, symbols, rounds=15):
    """Baum and Welch's algorithm: the probabilities become the relative counts, again and again."""
    history = []
    for _ in range(rounds):
        counts, value = expected_counts(log_p, symbols)
        history.append(value)
        log_p = [np.log(c / c.sum(axis=-1, keepdims=True)) for c in counts]
    return log_p, history


def data(n=200):
    """A fair die that is sometimes, for a while, exchanged for a loaded one."""
    rng = np.random.default_rng(0)
    jump, show = np.array([[0.95, 0.05], [0.1, 0.9]]), np.array([[1 / 6] * 6, [0.1] * 5 + [0.5]])
    z, symbols = 0, []
    for _ in range(n):
        symbols.append(int(rng.choice(6, p=show[z])))
        z = int(rng.choice(2, p=jump[z]))
    return symbols


if __name__ == "__main__":
    guess = [np.log(p) for p in ([0.5, 0.5], [[0.8, 0.2], [0.2, 0.8]], [[1 / 6] * 6, [0.14] * 5 + [0.3]])]
    (_, log_jump, log_show), history = fit(guess, data())
    print(f"log p from {history[0]:.2f} to {history[-1]:.2f}")
    print("jumps\n", np.exp(log_jump).round(2), "\nfaces of the dice\n", np.exp(log_show).round(2))
