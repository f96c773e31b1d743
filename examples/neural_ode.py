"""A neural ordinary differential equation: a spiral whose law of motion is learned from points on it.

The state y(t) follows dy/dt = f(y; θ), where f is a small network. The solver takes the Runge–Kutta steps that SciPy
chooses, and its result is differentiable by θ and by where the curve begins, exactly as it was computed; nothing is
solved backwards in time. With ``adjoint="checkpoint"`` the reverse pass keeps the states after every √n steps only and
computes the rest again, so that long curves fit into memory; the gradient stays the same.

Source: Chen, Rubanova, Bettencourt and Duvenaud, "Neural ordinary differential equations", 2018.
"""

import numpy as np

import autodiff as ad
import optim

TIMES = np.linspace(0, 2, 9)
START = np.array([2.0, 0.0])


def motion(y, t, p):
    """dy/dt by the network."""
    return p["out"] @ np.tanh(p["in"] @ y + p["bias"])


def curve(p, adjoint="direct"):
    """The states at all times, (9, 2)."""
    return ad.solvers.odeint(motion, START, TIMES, args=(p,), rtol=1e-3, atol=1e-3, adjoint=adjoint)


def loss(p, points, adjoint="direct"):
    """The mean squared distance of the curve from the points."""
    return ((curve(p, adjoint) - points) ** 2).mean()


def data():
    """Points on the spiral dy/dt = A y, about three quarters of a turn."""
    A = np.array([[-0.2, 2.0], [-2.0, -0.2]])
    return ad.solvers.odeint(lambda y, t: A @ y, START, TIMES).numpy()


def begin(hidden=6):
    rng = np.random.default_rng(0)
    return {"in": rng.normal(size=(hidden, 2)), "bias": np.zeros(hidden), "out": 0.3 * rng.normal(size=(2, hidden))}


def fit(points, iterations=30):
    """Parameters whose curve runs through the points."""
    options = {"maxiter": iterations}
    return optim.minimize(lambda p: loss(p, points), begin(), "BFGS", options=options)


if __name__ == "__main__":
    points = data()
    print(f"loss before {loss(begin(), points).item():.3f}, after {fit(points).fun:.5f}")
