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


@pytest.mark.filterwarnings("error")
def test_what_is_not_finite_is_written_at_its_layer(plt, model):
    axes = nn.plot.layer_report(model, BATCH * np.nan, nn.MSELoss(), TARGET)
    axes[0].figure.canvas.draw()
    assert [text.get_text() for text in axes[0].texts] == ["NaN"] * 3
    infinite = nn.plot.layer_report(nn.Sequential(nn.Identity()), np.array([[1.0, 1e200], [1.0, -1e200]]))
    assert np.isfinite(infinite[0].get_xlim()).all()


@pytest.mark.filterwarnings("error")
def test_ticks_of_a_narrow_logarithmic_axis_do_not_overlap(plt):
    model = nn.Sequential(*[nn.Linear(4, 4, bias=False, dtype="float64") for _ in range(3)])
    for layer, factor in zip(model, (1.0, 0.3, 0.15)):
        layer.weight.data = factor * np.eye(4)
    axes = nn.plot.layer_report(model, np.random.default_rng(0).normal(size=(9, 4)))
    axes[0].figure.canvas.draw()
    assert axes[0].get_xscale() == "log"
    boxes = [t.get_window_extent() for t in (*axes[0].get_xticklabels(), *axes[0].get_xticklabels(minor=True))
             if t.get_text() and axes[0].bbox.x0 <= t.get_window_extent().x0 <= axes[0].bbox.x1]  # fmt: skip
    assert len(boxes) >= 2
    boxes.sort(key=lambda box: box.x0)
    assert all(left.x1 < right.x0 for left, right in zip(boxes, boxes[1:]))


@pytest.mark.filterwarnings("error")
def test_layers_of_any_name_and_none_at_all_are_drawn(plt):
    class Named(nn.Module):
        def __init__(self):
            for name in ("$x_1$", "_hid", "漢", "a\\b"):
                setattr(self, name, nn.Linear(3, 3))

        def forward(self, x):
            for layer in self.children():
                x = layer(x)
            return x

    class Bare(nn.Module):
        def forward(self, x):
            return x

    class Around(nn.Module):
        def __init__(self):
            self.inner, self.other = Named(), Bare()

        def forward(self, x):
            return x

    axes = nn.plot.layer_report(Named(), BATCH)
    axes[0].figure.canvas.draw()
    assert axes[0].get_yticklabels()[0].get_text() == "$x_1$ · Linear"
    assert [text.get_text() for text in axes[1].texts] == ["none"]  # no activation
    nn.plot.layer_report(Around(), BATCH)[0].figure.canvas.draw()


@pytest.mark.filterwarnings("error")
def test_forty_recurrent_layers_have_room_for_their_names(plt):
    rnn = nn.RNN(3, 2, num_layers=20, bidirectional=True)
    axes = nn.plot.time_steps(rnn, np.ones((2, 1, 3), "float32"), lambda output: output[0].sum())
    axes[0].figure.canvas.draw()
    assert len(axes[1].get_legend().get_texts()) == 40 and axes[0].get_window_extent().width > 250


def test_the_figures_leave_a_model_in_training_as_it_was(plt):
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(), nn.Linear(4, 1))
    two = nn.Sequential(nn.Linear(2, 3), model)
    model[0].weight.grad = np.ones((4, 3), "float32")
    before = {name: value.numpy().copy() for name, value in model.state_dict().items()}
    state = str(nn.get_rng_state())
    nn.plot.layer_report(model, BATCH, nn.MSELoss(), TARGET)
    nn.plot.decision_boundary(two, BATCH[:, :2], [0, 1, 0, 1, 1, 0], threshold=0.0)
    assert all(module.training for module in two.modules()) and str(nn.get_rng_state()) == state
    assert all((value.numpy() == before[name]).all() for name, value in model.state_dict().items())
    assert (np.asarray(model[0].weight.grad.data) == 1).all() and model[3].weight.grad is None
