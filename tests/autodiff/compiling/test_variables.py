"""Programs have the names that the user's lines have."""

import sys

import numpy as np

import autodiff as ad
import nn


def test_variables_name_what_they_show():
    def loss(w, x):
        z = x @ w
        hidden = np.tanh(z)
        return (hidden**2).sum()

    value = ad.compile(ad.value_and_grad(loss))
    w, x = np.ones((2, 3)), np.arange(8.0).reshape(4, 2)
    value(w, x)
    source = value.source
    assert "z = np.dot(x, w, t" in source
    assert "hidden = np.tanh(z" in source
    scope = {}
    exec(source, scope)
    for a, b in zip(scope["gradient"](w, x) if "gradient" in scope else scope["loss"](w, x), value(w, x)):
        np.testing.assert_array_equal(a, b)


def test_a_variable_that_is_bound_again_numbers_its_names():
    def chain(x):
        for _ in range(3):
            x = np.sin(x)
        y = x
        return y * 2

    f = ad.compile(chain)
    f(np.ones(3))
    assert [name for name in ("x_2 = ", "x_3 = ", "x_4 = ") if name in f.source] == ["x_2 = ", "x_3 = ", "x_4 = "]
    assert "  y = " not in f.source  # it has a name


def test_the_names_of_a_users_layer_are_found():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Linear(3, 2)

        def forward(self, x):
            features = np.tanh(self.first(x))
            return features.sum()

    net = Net().double()
    with ad.no_grad():
        f = ad.compile(lambda x: net(x))
        f(np.ones((4, 3)))
    assert "features = np.tanh(" in f.source


def test_names_that_python_or_the_program_needs_are_changed():
    def f(x):
        np_ = np.exp(x)
        t0 = np_ + 1
        math = t0 * 2
        return math / 3

    compiled = ad.compile(f)
    compiled(np.ones(3))
    scope = {}
    exec(compiled.source, scope)
    np.testing.assert_array_equal(scope["f"](np.zeros(3))[0], compiled(np.zeros(3)))


def test_a_debugger_keeps_its_look_at_lines():
    seen = []

    def look(frame, event, _):
        seen.append(event)
        return look

    def f(x):
        y = x * 2
        return y

    before = sys.gettrace()
    sys.settrace(look)
    try:
        compiled = ad.compile(f)
        compiled(np.ones(3))
        assert sys.gettrace() is look
    finally:
        sys.settrace(before)
    assert "line" in seen
    assert sys.gettrace() is before
