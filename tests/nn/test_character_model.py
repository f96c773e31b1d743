"""Recurrent networks that learn: a character model on the Zen of Python, which ships with Python, trained with
truncated backpropagation through time; and the patterns many-to-one, one-to-many and encoder–decoder."""

import codecs
import contextlib
import io
import time

import numpy as np
import pytest

import autodiff as ad
import nn
import nn.functional as F
import optim


def zen():
    """The text that `import this` prints."""
    with contextlib.redirect_stdout(io.StringIO()):
        import this
    return codecs.decode(this.s, "rot13")


class CharacterModel(nn.Module):
    """The next character's logits after each character."""

    def __init__(self, kind, letters, hidden, rng):
        self.embedding = nn.Embedding(letters, 16, rng=rng)
        self.memory = getattr(nn, kind)(16, hidden, rng=rng)
        self.output = nn.Linear(hidden, letters, rng=rng)

    def forward(self, codes, state=None):
        h, state = self.memory(self.embedding(codes), state)
        return self.output(h), state


def detached(state):
    return tuple(s.detach() for s in state) if isinstance(state, tuple) else state.detach()


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_a_character_model_learns_the_zen_of_python_by_truncated_backpropagation_through_time(kind):
    text = zen()
    alphabet = sorted(set(text))
    codes = np.array([alphabet.index(c) for c in text])
    streams, window = 8, 20
    steps = (len(codes) - 1) // streams // window * window
    inputs = codes[: streams * steps].reshape(streams, steps).T
    targets = codes[1 : streams * steps + 1].reshape(streams, steps).T
    counts = np.bincount(codes) / len(codes)
    unigram = -(counts * np.log(counts)).sum()  # the loss of who knows only how frequent each character is

    model = CharacterModel(kind, len(alphabet), 64, np.random.default_rng(0))
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    began, losses = time.process_time(), []
    for _ in range(120):
        state, total = None, 0.0
        for start in range(0, steps, window):
            logits, state = model(inputs[start : start + window], None if state is None else detached(state))
            loss = F.cross_entropy(logits.reshape(-1, len(alphabet)), targets[start : start + window].ravel())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * window / steps
        losses.append(total)
    assert losses[0] > unigram > 2.5
    assert losses[-1] < 0.1, losses[-1]
    assert time.process_time() - began < 25

    # It continues the first line by itself, one character at a time, the state carried along.
    line = text[: text.index("\n")]
    with ad.no_grad():
        logits, state = model.eval()(codes[:8, None])
        said = text[:8]
        while len(said) < len(line):
            said += alphabet[int(logits.data[-1, 0].argmax())]
            logits, state = model(np.array([[alphabet.index(said[-1])]]), state)
    assert said == line


def trained(model, loss_of, steps, lr, batch):
    optimizer = optim.Adam(model.parameters(), lr=lr)
    rng = np.random.default_rng(1)
    for _ in range(steps):
        optimizer.zero_grad()
        loss_of(rng, batch).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return model.eval()


def test_many_to_one_a_network_tells_whether_a_mark_came_in_the_first_half():
    """One answer for a sequence, from the last state: the network must remember."""
    rng = np.random.default_rng(0)
    memory, output = nn.GRU(2, 16, rng=rng), nn.Linear(16, 1, rng=rng)

    def task(rng, batch):
        """Noise with one mark; the label says whether it stands in the first half."""
        x = rng.normal(size=(16, batch, 2)).astype("float32")
        x[:, :, 1] = 0
        place = rng.integers(0, 16, batch)
        x[place, np.arange(batch), 1] = 1
        return x, (place < 8).astype("float32")

    def loss(rng, batch):
        x, y = task(rng, batch)
        _, h = memory(x)
        return F.binary_cross_entropy_with_logits(output(h[0])[:, 0], y)

    trained(nn.ModuleList([memory, output]), loss, 250, 0.01, 64)
    x, y = task(np.random.default_rng(2), 500)
    with ad.no_grad():
        answers = output(memory(x)[1][0]).data[:, 0] > 0
    assert (answers == y).mean() > 0.97


def test_one_to_many_a_cell_fed_with_its_own_output_writes_the_sequence_of_a_class():
    """The initial state is a function of the class; each value is the next step's input."""
    rng = np.random.default_rng(0)
    t = np.arange(12)
    curves = np.stack([np.sin(2 * np.pi * t / 12), t / 11.0, (-1.0) ** t]).astype("float32")
    start, cell, output = nn.Embedding(3, 24, rng=rng), nn.GRUCell(1, 24, rng=rng), nn.Linear(24, 1, rng=rng)

    def written(classes):
        h, y, values = start(classes), np.zeros((len(classes), 1), "float32"), []
        for _ in t:
            h = cell(y, h)
            y = output(h)
            values.append(y)
        return ad.concatenate(values, axis=1)

    loss = lambda rng, batch: F.mse_loss(written(np.arange(3)), curves)
    trained(nn.ModuleList([start, cell, output]), loss, 300, 0.01, 0)
    assert np.abs(written(np.arange(3)).data - curves).max() < 0.1


def test_an_encoder_and_a_decoder_learn_to_reverse_sequences_they_have_not_seen():
    """The encoder's final state is all that the decoder knows; it then reads its own answers."""
    rng = np.random.default_rng(0)
    symbols, length, hidden = 5, 4, 48
    letters = nn.Embedding(symbols + 1, 8, rng=rng)  # one more, with which decoding starts
    encoder, decoder = nn.GRU(8, hidden, rng=rng), nn.GRU(8, hidden, rng=rng)
    output = nn.Linear(hidden, symbols, rng=rng)
    held_out = lambda x: x.sum(axis=0) % 5 == 0

    def loss(rng, batch):
        x = rng.integers(0, symbols, (length, batch))
        x = x[:, ~held_out(x)]
        y = x[::-1]
        _, h = encoder(letters(x))
        told = np.concatenate([np.full_like(y[:1], symbols), y[:-1]])
        states, _ = decoder(letters(told), h)
        return F.cross_entropy(output(states).reshape(-1, symbols), y.ravel())

    trained(nn.ModuleList([letters, encoder, decoder, output]), loss, 450, 0.01, 128)
    x = np.stack(np.meshgrid(*[np.arange(symbols)] * length)).reshape(length, -1)
    x = x[:, held_out(x)]
    assert x.shape[1] == 125
    with ad.no_grad():
        _, h = encoder(letters(x))
        last, said = np.full(x.shape[1], symbols), []
        for _ in range(length):
            state, h = decoder(letters(last[None]), h)
            last = output(state[0]).data.argmax(axis=-1)
            said.append(last)
    assert (np.stack(said) == x[::-1]).mean() > 0.95
