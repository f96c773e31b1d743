"""The figures of a model at work show the numbers of its report."""

import numpy as np
import pytest

import nn


@pytest.fixture
def model():
    return nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 1))


BATCH, TARGET = np.random.default_rng(0).normal(size=(6, 3)).astype("float32"), np.zeros((6, 1), "float32")


def test_the_panels_show_the_rows(plt, model):
    axes = nn.plot.layer_report(model, BATCH, nn.MSELoss(), TARGET)
    rows = nn.layer_report(model, BATCH, nn.MSELoss(), TARGET).rows
    shown = [line.get_xdata() for ax in axes for line in ax.lines]
    np.testing.assert_allclose(shown[0], [row.std for row in rows])
    np.testing.assert_allclose(shown[1], [row.gradient for row in rows])
    np.testing.assert_allclose(shown[2], [rows[0].parameter_gradient, rows[2].parameter_gradient])
    np.testing.assert_allclose(shown[3:], [[rows[1].dead], [rows[1].saturated]])
    assert [t.get_text() for t in axes[0].get_yticklabels()] == ["0 · Linear", "1 · ReLU", "2 · Linear"]
    assert axes[0].get_ylim()[0] > axes[0].get_ylim()[1]  # downwards


def test_without_a_loss_there_are_two_panels_and_given_axes_are_used(plt, model):
    _, mine = plt.subplots(1, 2)
    assert list(nn.plot.layer_report(model, BATCH, ax=mine)) == list(mine)
    _, four = plt.subplots(1, 4)
    with pytest.raises(ValueError, match="ax takes 2 Axes here"):
        nn.plot.layer_report(model, BATCH, ax=four)


def test_a_layer_without_a_gradient_is_marked_0_on_the_logarithmic_axis(plt):
    model = nn.Sequential(nn.Linear(3, 8), nn.Linear(8, 8), nn.Linear(8, 1), nn.Linear(1, 1))
    model[1].weight.data, model[3].weight.data = np.zeros((8, 8), "float32"), np.full((1, 1), 0.01, "float32")
    loss = lambda output: output.sum()
    axes = nn.plot.layer_report(model, BATCH, loss)
    assert axes[1].get_xscale() == "log"
    assert "0" in [text.get_text() for text in axes[1].texts]


def test_time_steps_are_drawn_in_a_logarithmic_scale_where_they_vanish(plt):
    rnn = nn.RNN(3, 8, num_layers=2)
    x = np.random.default_rng(0).normal(size=(30, 2, 3)).astype("float32")
    loss = lambda output: output[0][-1].sum()
    axes = nn.plot.time_steps(rnn, x, loss)
    steps = nn.layer_report(rnn, x, loss).steps
    assert [row.path for row in steps] == ["RNN, l0", "RNN, l1"]
    for i, row in enumerate(steps):
        np.testing.assert_allclose(axes[0].lines[i].get_ydata(), row.std)
        np.testing.assert_allclose(axes[1].lines[i].get_ydata(), row.gradient)
    assert axes[1].get_yscale() == "log"
    _, mine = plt.subplots(1, 2)
    assert list(nn.plot.time_steps(rnn, x, loss, ax=mine)) == list(mine)


def test_a_model_without_time_steps_is_told_so(model):
    with pytest.raises(ValueError, match="no recurrent layer"):
        nn.plot.time_steps(model, BATCH)
