"""The one-file DALL·E of scratch/learn beside the package: gradients, losses of training, what it writes and draws."""

import ast
import re
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from scratch.layers import Embedding, GridPositions, LayerNorm, LinearOfTokens, TransformerBlock
from scratch.losses import CrossEntropy
from scratch.module import Module, Sequential
from scratch.optim import Adam
from tests.behaviour.test_whole import TEMPERATURE, load, package_of, path_of

SOURCE = path_of("dalle").read_text(encoding="utf-8")


def new():
    """The file as a module, its parameters in float64 and, where they start at 0 or 1, moved from there."""
    whole = load("dalle")
    rng = np.random.default_rng(5)
    for parameter in whole.params:
        parameter.value = parameter.value + 0.1 * rng.standard_normal(parameter.value.shape)
    return whole


def tokens_of(whole, N):
    """(N, L + 64) words, then random codes."""
    words = whole.words_of(map(whole.caption, whole.choose(N)))
    return np.concatenate([words, whole.V + np.random.default_rng(6).integers(0, whole.K, (N, 64))], axis=1)


def parameters_in(layers):
    """Every Param of these layers and of the layers in them."""
    found = []
    for layer in layers:
        layer = getattr(layer, "project", layer)
        found += parameters_in(layer.layers) if hasattr(layer, "layers") else [
            getattr(layer, name) for name in ("W", "b") if hasattr(layer, name)]
    return found


def assert_gradients_equal(pairs):
    for own, parameter in pairs:
        expected = parameter.grad.reshape(own.grad.shape)
        scale = abs(expected).max()
        assert scale > 0 and abs(own.grad - expected).max() <= 1e-12 * scale


def assert_values_equal(pairs):
    for own, parameter in pairs:
        np.testing.assert_allclose(own.value, parameter.value.reshape(own.value.shape), rtol=0, atol=1e-9)


# --- the dVAE ---------------------------------------------------------------------------------------------------------


def package_dvae(whole):
    return package_of("dvae", SimpleNamespace(**{**vars(whole), "params": whole.dvae_params}))


def test_the_dvaes_gradients_are_the_packages():
    whole = new()
    trainer, pairs = package_dvae(whole)
    x = whole.draw(whole.choose(4)).astype(np.float64)
    noise = trainer.noise_of_step(len(x), 1, 0)
    loss, terms, y = whole.dvae_loss(x, noise, TEMPERATURE)
    found, _ = trainer.add_gradients(x, noise)
    assert y.dtype == np.float64 and y.shape == x.shape
    assert loss == pytest.approx(float(found["loss"]), rel=1e-12) and loss == pytest.approx(sum(terms.values()))
    assert_gradients_equal(pairs)


def test_ten_losses_of_the_dvaes_training_are_the_packages():
    whole = new()
    trainer, pairs = package_dvae(whole)
    for step in range(10):
        x = whole.draw(whole.choose(4)).astype(np.float64)
        loss, *_ = whole.dvae_loss(x, trainer.noise_of_step(len(x), 1, step), TEMPERATURE)
        whole.adam(whole.dvae_params, step + 1, lr=1e-3)
        expected, _ = trainer.step(x, 1, step)
        assert loss == pytest.approx(float(expected["loss"]), rel=1e-9)
    assert_values_equal(pairs)


def test_codes_are_the_most_probable_and_are_decoded_as_the_package_does():
    whole = new()
    trainer, _ = package_dvae(whole)
    x = whole.draw(whole.choose(5)).astype(np.float64)
    k = trainer.model.encode(x)
    assert np.array_equal(whole.encode(x), k.reshape(5, 64)) and len(np.unique(k)) > 1
    np.testing.assert_allclose(whole.decode(whole.encode(x)), trainer.model.decode(k), rtol=0, atol=1e-12)


# --- the transformer --------------------------------------------------------------------------------------------------


class Transformer(Module):
    """DALL·E's transformer from the package's parts, with the weights of the one-file model."""

    def __init__(self, whole):
        self.words, self.width = whole.L, whole.E
        tokens, settings = whole.V + whole.K, dict(dtype=np.float64)
        self.table, self.text = Embedding(tokens, whole.E, **settings), Embedding(whole.L, whole.E, **settings)
        self.grid, self.cross_entropy = GridPositions(8, 8, whole.E, **settings), CrossEntropy()
        self.blocks = Sequential(*(TransformerBlock(whole.E, whole.heads, 4 * whole.E, causal=True, **settings)
                                   for _ in range(whole.depth)))
        self.norm, self.head = LayerNorm(whole.E, **settings), LinearOfTokens(whole.E, tokens, **settings)
        self.pairs = [(whole.table, self.table.weight), (whole.place_text, self.text.weight),
                      (whole.place_row, self.grid.rows), (whole.place_column, self.grid.columns)]
        ours, theirs = [], []
        for number, block in enumerate(self.blocks.layers):
            (norm1, attend, out), (norm2, linear1, _, linear2) = (
                residual.layers for residual in whole.blocks[2 * number : 2 * number + 2])
            ours += [norm1, attend.project, out, norm2, linear1, linear2]
            attention = block.self_attn
            theirs += [(block.norm1.weight, block.norm1.bias), (attention.in_proj_weight, attention.in_proj_bias),
                       (attention.out_proj.weight, attention.out_proj.bias), (block.norm2.weight, block.norm2.bias),
                       (block.linear1.weight, block.linear1.bias), (block.linear2.weight, block.linear2.bias)]
        ours += whole.head
        theirs += [(self.norm.weight, self.norm.bias), (self.head.weight, self.head.bias)]
        for one, (weight, bias) in zip(ours, theirs, strict=True):
            self.pairs += [(one.W, weight), (one.b, bias)]
        assert len(self.pairs) == len(whole.transformer_params) == len(self.named_parameters())
        for own, parameter in self.pairs:
            parameter.value = own.value.copy()

    def logits(self, tokens):
        x, L = self.table.forward(tokens), self.words
        words = x[:, :L] + self.text.forward(np.arange(L))
        codes = self.grid.forward(x[:, L:].reshape(-1, 8, 8, self.width)).reshape(-1, 64, self.width)
        y = np.concatenate([words, codes], axis=1)
        for block in self.blocks.layers:
            y = block.forward(y)
        return self.head.forward(self.norm.forward(y))

    def step(self, tokens):
        """DALL·E's loss: an eighth is the mean over the words after the first, the rest the mean over the codes."""
        self.zero_grad()
        a, following, L = self.logits(tokens), tokens[:, 1:], self.words
        loss, da = 0, np.zeros_like(a)
        for places, weight in ((slice(0, L - 1), 1 / 8 / (L - 1)), (slice(L - 1, L + 63), 7 / 8 / 64)):
            loss += weight * self.cross_entropy.loss(a[:, places], following[:, places])
            da[:, places] = self.cross_entropy.backward(weight)
        dy = self.norm.backward(self.head.backward(da))
        for block in reversed(self.blocks.layers):
            dy = block.backward(dy)
        self.text.backward(dy[:, :L].sum(axis=0))
        self.grid.backward(dy[:, L:].reshape(-1, 8, 8, self.width))
        self.table.backward(dy)
        return loss


def test_the_transformers_gradients_are_the_packages():
    whole = new()
    package, tokens = Transformer(whole), tokens_of(whole, 3)
    np.testing.assert_allclose(whole.logits_of(tokens), package.logits(tokens), rtol=0, atol=1e-12)
    loss, words, codes = whole.transformer_loss(tokens)
    assert loss == pytest.approx(package.step(tokens), rel=1e-12)
    assert loss == pytest.approx(words / 8 + 7 * codes / 8, rel=1e-12)
    assert_gradients_equal(package.pairs)


def test_ten_losses_of_the_transformers_training_are_the_packages():
    whole = new()
    package = Transformer(whole)
    adam = Adam(package.named_parameters(), lr=1e-3)
    for step in range(10):
        tokens = tokens_of(whole, 3)
        loss, *_ = whole.transformer_loss(tokens)
        whole.adam(whole.transformer_params, step + 1, lr=1e-3)
        assert loss == pytest.approx(package.step(tokens), rel=1e-9)
        adam.step()
    assert_values_equal(package.pairs)


@pytest.mark.parametrize("name", ["table", "place_text", "place_row", "place_column", "blocks", "head"])
def test_the_transformers_gradients_are_finite_differences(name):
    whole, rng = new(), np.random.default_rng(7)
    part = getattr(whole, name)
    params = [part] if isinstance(part, whole.Param) else parameters_in(part)
    tokens = tokens_of(whole, 2)
    directions = [rng.standard_normal(param.value.shape) for param in params]
    whole.transformer_loss(tokens)
    slope = sum((param.grad * direction).sum() for param, direction in zip(params, directions, strict=True))
    step, losses = 1e-6, []
    for sign in (1, -2):
        for param, direction in zip(params, directions, strict=True):
            param.value = param.value + sign * step * direction
        losses.append(whole.transformer_loss(tokens)[0])
    assert (losses[0] - losses[1]) / (2 * step) == pytest.approx(slope, rel=1e-7, abs=1e-8)


def test_no_token_sees_a_later_one():
    whole = new()
    tokens = tokens_of(whole, 2)
    changed = tokens.copy()
    changed[:, 20] = whole.V + (changed[:, 20] - whole.V + 1) % whole.K
    before, after = whole.logits_of(tokens), whole.logits_of(changed)
    assert np.array_equal(before[:, :20], after[:, :20]) and (before[:, 20:] != after[:, 20:]).any(axis=(0, 2)).all()


def test_writing_with_kept_keys_gives_the_logits_of_the_whole_row(monkeypatch):
    whole = new()
    words = tokens_of(whole, 3)[:, : whole.L]
    seen, logits_of = [], whole.logits_of

    def noted(tokens, first=0):
        seen.append(logits_of(tokens, first))
        return seen[-1]

    monkeypatch.setattr(whole, "logits_of", noted)
    codes = whole.write(words)
    assert codes.shape == (3, 64) and codes.min() >= 0 and codes.max() < whole.K and len(seen) == 64
    expected = logits_of(np.concatenate([words, whole.V + codes], axis=1))
    np.testing.assert_allclose(np.concatenate(seen, axis=1), expected[:, :-1], rtol=0, atol=1e-12)


def test_codes_are_drawn_with_their_probabilities(monkeypatch):
    whole = load("dalle")
    p = np.random.default_rng(8).dirichlet(np.full(whole.K, 0.1))
    logits = np.concatenate([np.full(whole.V, 100.0), np.log(p + 1e-30)])  # a word is never drawn
    monkeypatch.setattr(whole, "logits_of", lambda tokens, first: np.tile(logits, (*tokens.shape, 1)))
    codes = whole.write(np.zeros((300, whole.L), np.int64))
    shares = np.bincount(codes.ravel(), minlength=whole.K) / codes.size
    assert (abs(shares - p) <= 5 * np.sqrt(p * (1 - p) / codes.size) + 1e-4).all()


# --- images, words and the program ------------------------------------------------------------------------------------


def test_every_word_of_a_caption_is_in_the_vocabulary():
    whole = load("dalle")
    every = np.array(list(np.ndindex(*whole.COUNTS)))
    captions = [whole.caption(choice) for choice in every]
    assert len(set(captions)) == len(every) == 2592
    words = whole.words_of(captions)
    assert words.shape == (len(every), whole.L)
    assert [" ".join(whole.vocabulary[word] for word in sentence) for sentence in words] == captions
    assert set(words.ravel()) == set(range(whole.V))
    assert captions[0] == "a small red disc at the top left on dark red"


def test_images_show_what_their_words_say():
    whole = load("dalle")
    choices = whole.choose(300)
    x = whole.draw(choices)
    assert x.dtype == np.float32 and x.shape == (300, 32, 32, 3) and x.min() >= 0 and x.max() <= 1
    assert not np.array_equal(x, whole.draw(choices)) and np.array_equal(whole.draw(choices, 0), whole.draw(choices, 0))
    shares = re.findall(r"(\w+) (\d+\.\d)%", whole.read(x, choices))
    assert [kind for kind, _ in shares] == list(whole.KINDS) and all(float(share) >= 97 for _, share in shares)
    other = (choices + 1) % whole.COUNTS
    assert re.findall(r"\d+\.\d%", whole.read(x, other)) == ["0.0%"] * 6
    shown = x.max(axis=3) > 0.5  # shapes are brighter than grounds
    assert shown.any(axis=(1, 2)).all()
    for axis, kind in ((1, 3), (2, 4)):
        centre = (shown * np.expand_dims(np.arange(32), 2 - axis)).sum(axis=(1, 2)) / shown.sum(axis=(1, 2))
        assert abs(centre + 0.5 - (9 + 7 * choices[:, kind])).max() < 2.5


def test_the_combination_that_is_kept_back_is_never_chosen():
    whole = load("dalle")
    choices = whole.choose(2000)
    said = {tuple(choice) for choice in choices[:, 1:3]}
    assert (5, 3) not in said and len(said) == 6 * 4 - 1


def test_the_file_imports_numpy_and_the_standard_library_alone_and_stays_short():
    imported = {name for node in ast.walk(ast.parse(SOURCE)) for name in (
        [alias.name for alias in node.names] if isinstance(node, ast.Import) else
        [node.module] if isinstance(node, ast.ImportFrom) else [])}
    assert "numpy" in imported and imported - {"numpy"} <= sys.stdlib_module_names
    assert len(SOURCE.splitlines()) <= 420


def test_the_program_trains_and_draws(tmp_path, monkeypatch, capsys):
    """As a script, for two steps of each stage."""
    monkeypatch.chdir(tmp_path)
    source, count = re.subn(r"^(    dvae_steps, steps, count) = [\d, ]+$", r"\1 = 2, 2, 8", SOURCE, flags=re.M)
    assert count == 1
    exec(compile(source, str(path_of("dalle")), "exec"), {"__name__": "__main__", "__file__": str(path_of("dalle"))})
    out = capsys.readouterr().out
    losses = re.findall(r"^(\w+) step +1  loss (\d+\.\d+) = ", out, flags=re.M)
    assert [stage for stage, _ in losses] == ["dVAE", "transformer"]
    *_, unseen = captions = re.findall(r"^    (a .*)$", out, flags=re.M)
    assert len(captions) == 8 and " pink cross at the " in unseen
    with Image.open(tmp_path / "whole_dalle.png") as picture:
        picture.load()
        assert picture.size == (3 * 8 * 34, 3 * 8 * 34) and picture.mode == "RGB"
