"""Generated sequences against the loop written out, and drawn entries against their probabilities."""

import numpy as np
import pytest
from scipy.special import softmax

import nn
from autodiff import Tensor


class Recurrent(nn.Module):
    def __init__(self):
        rng = np.random.default_rng(0)
        self.embedding = nn.Embedding(5, 4, dtype="float64", rng=rng)
        self.lstm = nn.LSTM(4, 3, batch_first=True, dtype="float64", rng=rng)
        self.head = nn.Linear(3, 5, dtype="float64", rng=rng)
        self.calls = []

    def forward(self, tokens, state=None):
        self.calls.append((np.shape(tokens), self.training))
        output, state = self.lstm(self.embedding(tokens), state)
        return self.head(output), state


def test_a_model_with_memory_continues_as_one_that_reads_everything_again():
    model = Recurrent()
    start = np.array([[0, 1, 2], [4, 3, 1]])
    found = nn.generate(model, start, 6)
    assert [shape for shape, _ in model.calls] == [(2, 3)] + [(2, 1)] * 5 and not any(t for _, t in model.calls)
    assert model.training and model.lstm.training
    again = nn.generate(lambda tokens: model(tokens)[0], start, 6)
    assert (found == again).all() and found.shape == (2, 9) and found.dtype == start.dtype
    expected = start
    for _ in range(6):
        expected = np.c_[expected, model(expected)[0].numpy()[:, -1].argmax(axis=-1)]
    assert (found == expected).all()
    assert (nn.generate(model, start[0], 6) == expected[0]).all()


def test_a_context_is_the_last_entries():
    seen = []

    def model(tokens):
        seen.append(tokens.tolist())
        return np.eye(9)[(tokens + 1) % 9]

    assert nn.generate(model, [1, 2, 3], 3, context=2).tolist() == [1, 2, 3, 4, 5, 6]
    assert seen == [[[2, 3]], [[3, 4]], [[4, 5]]]


def test_sequences_of_numbers_are_continued_by_the_predictions_themselves():
    found = nn.generate(lambda x: Tensor(x[:, -1] + x[:, -2]), np.ones((1, 2, 1)), 5, choose=lambda y: y)
    assert found[0, :, 0].tolist() == [1, 1, 2, 3, 5, 8, 13]


@pytest.mark.parametrize(
    "options", [{}, {"temperature": 0.5}, {"top_k": 2}, {"top_p": 0.6}, {"top_k": 3, "top_p": 0.5}]
)
def test_drawn_entries_have_their_probabilities(options):
    z = np.array([0.3, 1.5, -1.0, 1.0, 0.0])
    p = softmax(z / options.get("temperature", 1))
    order = np.argsort(-p)
    kept = order[: options.get("top_k", 5)]
    p[np.setdiff1d(order, kept)] = 0
    p /= p.sum()
    if "top_p" in options:
        size = next(n for n in range(1, 6) if p[order[:n]].sum() >= options["top_p"])
        p[order[size:]] = 0
        p /= p.sum()
    n = 8000
    found = nn.sampling(**options, rng=np.random.default_rng(0))(np.tile(z, (n, 1)))
    share = np.bincount(found, minlength=5) / n
    assert (share[p == 0] == 0).all()
    assert (abs(share - p) <= 4 * np.sqrt(p * (1 - p) / n)).all()


def test_generation_refuses_what_does_not_fit():
    for options, message in (({"temperature": 0}, "temperature is greater than 0"), ({"top_k": 0}, "top_k is at least 1"),
                             ({"top_p": 1.5}, r"top_p is within \[0, 1\]")):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            nn.sampling(**options)
    with pytest.raises(ValueError, match="start has shape"):
        nn.generate(nn.Embedding(3, 3), np.zeros((1, 0), int), 1)
    with pytest.raises(ValueError, match=r"the model gave \(1,\), expects \(N, T, M\) or \(N, M\)"):
        nn.generate(lambda x: np.ones(1), [0], 1)
    with pytest.raises(ValueError, match=r"choose gave \(1, 3\), expects \(1,\)"):
        nn.generate(nn.Embedding(3, 3), [0], 1, choose=lambda z: z)


@pytest.mark.parametrize(("start", "following"), [([[[3], [5]]], 2.5), (np.array([0], "uint8"), 299)])
def test_an_entry_that_the_dtype_of_the_start_does_not_hold_is_refused_not_cut(start, following):
    def choose(logits):
        return np.full((1, *np.shape(start)[2:]), following)

    with pytest.raises(ValueError, match=f"what choose gives, {following}, is no value of .*that of start"):
        nn.generate(lambda x: np.zeros((1, 3)), start, 2, choose)


@pytest.mark.parametrize("choose", [nn.greedy, nn.sampling(top_k=2)])
@pytest.mark.parametrize("logit", [np.nan, -np.inf])
def test_no_entry_is_chosen_of_logits_of_which_none_is_the_greatest(choose, logit):
    with pytest.raises(ValueError, match=r"generate: the greatest logits are \["):
        nn.generate(lambda x: np.full((1, 3), logit), [0], 1, choose)


def test_what_is_no_function_is_refused_by_name():
    with pytest.raises(TypeError, match="generate: choose is a function, not 'greedy'"):
        nn.generate(nn.Embedding(3, 3), [0], 1, "greedy")
