"""The one-file models of scratch/learn beside the package: gradients, losses of training, and what the files share."""

import ast
import difflib
import importlib.util
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scratch.bottlenecks.bottleneck import Bottleneck
from scratch.bottlenecks.gaussian import GaussianKL, Reparameterize
from scratch.bottlenecks.gumbel_softmax import GumbelSoftmaxBottleneck
from scratch.bottlenecks.vector_quantized import VectorQuantizedBottleneck
from scratch.layers import Conv2d, ConvTranspose2d, ReLU
from scratch.losses import SquaredError
from scratch.models.autoencoder import Autoencoder
from scratch.module import Sequential
from scratch.optim import Adam
from scratch.training.trainer import Trainer

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "scratch" / "learn"
PAGE = ROOT / "docs" / "reference" / "whole.md"
FIRST, OTHERS = "vqvae", ("ae", "vae", "dvae")
SETTINGS = dict(kernel_size=4, stride=2, padding=1, dtype=np.float64)
TEMPERATURE = 0.7  # of the dVAE; both sides get the same


def path_of(model):
    return FOLDER / f"whole_{model}.py"


def load(model):
    """The module of a one-file model, new, its parameters in float64."""
    specification = importlib.util.spec_from_file_location(f"whole_{model}", path_of(model))
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    for parameter in module.params:
        parameter.value = parameter.value.astype(np.float64)
    return module


class Dense(Bottleneck):
    """The AE's: D numbers at each position."""

    def __init__(self, D):
        self.project = Conv2d(64, D, 1, dtype=np.float64)
        self.expand = ConvTranspose2d(D, 64, 1, dtype=np.float64)

    def forward(self, h, noise=None):
        return self.expand.forward(self.project.forward(h)), {}

    def backward(self, dy, dterms):
        return self.project.backward(self.expand.backward(dy))


class Gaussian(Bottleneck):
    """The VAE's, from the package's own reparameterization and KL."""

    random = True

    def __init__(self, D):
        self.project = Conv2d(64, 2 * D, 1, dtype=np.float64)
        self.expand = ConvTranspose2d(D, 64, 1, dtype=np.float64)
        self.reparameterize, self.kl, self.D = Reparameterize(), GaussianKL(), D

    def draw_noise(self, count, rng):
        return rng.standard_normal((count, 8, 8, self.D))

    def forward(self, h, noise=None):
        mu, logvar = (np.ascontiguousarray(part) for part in np.split(self.project.forward(h), 2, axis=-1))
        kl = self.kl.forward(mu, logvar)
        return self.expand.forward(self.reparameterize.forward(mu, logvar, noise)), {"kl": kl}

    def backward(self, dy, dterms):
        dmu, dlogvar = self.reparameterize.backward(self.expand.backward(dy))
        dmu_kl, dlogvar_kl = self.kl.backward(dterms["kl"])
        return self.project.backward(np.concatenate([dmu + dmu_kl, dlogvar + dlogvar_kl], axis=-1))


def bottleneck_of(model, whole):
    """(the package's bottleneck, {term: weight}, its codebook or None)."""
    if model == "ae":
        return Dense(whole.D), {}, None
    if model == "vae":
        return Gaussian(whole.D), {"kl": whole.beta}, None
    if model == "vqvae":
        made = VectorQuantizedBottleneck((8, 8, 64), whole.K, whole.D, dtype=np.float64)
        return made, {"codebook": 1.0, "commitment": whole.commitment}, made.quantizer.codebook
    made = GumbelSoftmaxBottleneck((8, 8, 64), whole.K, whole.D, temperature=TEMPERATURE, dtype=np.float64)
    return made, {"kl": whole.beta}, made.codebook.weight


def package_of(model, whole):
    """(Trainer of the package's model with the weights of the one-file model, [(its Param, the package's Parameter)]).
    """
    encoder = Sequential(Conv2d(3, 32, **SETTINGS), ReLU(), Conv2d(32, 64, **SETTINGS), ReLU(),
                         Conv2d(64, 64, 3, padding=1, dtype=np.float64), ReLU())
    decoder = Sequential(ReLU(), ConvTranspose2d(64, 64, 3, padding=1, dtype=np.float64), ReLU(),
                         ConvTranspose2d(64, 32, **SETTINGS), ReLU(), ConvTranspose2d(32, 3, **SETTINGS))
    bottleneck, weights, codebook = bottleneck_of(model, whole)
    pairs = [] if codebook is None else [(whole.codebook, codebook)]
    for ours, theirs in ((whole.encoder, encoder.layers), (whole.decoder, decoder.layers),
                         ((whole.project, whole.expand), (bottleneck.project, bottleneck.expand))):
        pairs += [(getattr(one, a), getattr(other, b)) for one, other in zip(ours, theirs, strict=True)
                  if hasattr(one, "W") for a, b in (("W", "weight"), ("b", "bias"))]
    assert len(pairs) == len(whole.params)
    for own, parameter in pairs:
        parameter.value = own.value.reshape(parameter.value.shape).copy()
    made = Autoencoder(encoder, bottleneck, decoder, SquaredError(), {"reconstruction": 1.0, **weights})
    return Trainer(made, Adam(made.named_parameters(), lr=1e-3), seed=3), pairs


def noise_for(model, trainer, x, step):
    """The arguments of loss_and_gradients beside x: the noise that the package draws at this step."""
    noise = trainer.noise_of_step(len(x), 1, step)
    return {"vae": (noise,), "dvae": (noise, TEMPERATURE)}.get(model, ())


@pytest.mark.parametrize("model", [FIRST, *OTHERS])
def test_gradients_are_the_packages(model):
    whole = load(model)
    trainer, pairs = package_of(model, whole)
    x = whole.draw(6).astype(np.float64)
    loss, terms, y, _ = whole.loss_and_gradients(x, *noise_for(model, trainer, x, 0))
    found, _ = trainer.add_gradients(x, trainer.noise_of_step(len(x), 1, 0))
    assert y.dtype == np.float64 and y.shape == x.shape
    assert loss == pytest.approx(float(found["loss"]), rel=1e-12) and loss == pytest.approx(sum(terms.values()))
    assert terms["error"] == pytest.approx(float(found["reconstruction"]), rel=1e-12)
    for own, parameter in pairs:
        expected = parameter.grad.reshape(own.grad.shape)
        scale = abs(expected).max()
        assert scale > 0 and abs(own.grad - expected).max() <= 1e-12 * scale


@pytest.mark.parametrize("model", [FIRST, *OTHERS])
def test_ten_losses_of_training_are_the_packages(model):
    whole = load(model)
    trainer, pairs = package_of(model, whole)
    for step in range(10):
        x = whole.draw(8).astype(np.float64)
        loss, *_ = whole.loss_and_gradients(x, *noise_for(model, trainer, x, step))
        whole.adam(step + 1, lr=1e-3)
        expected, _ = trainer.step(x, 1, step)
        assert loss == pytest.approx(float(expected["loss"]), rel=1e-9)
    for own, parameter in pairs:
        np.testing.assert_allclose(own.value, parameter.value.reshape(own.value.shape), rtol=0, atol=1e-9)


# --- the files --------------------------------------------------------------------------------------------------------


def difference(model):
    """The lines of a unified diff from the VQ-VAE's file to another model's, without its heading."""
    first, other = (path_of(name).read_text(encoding="utf-8").splitlines() for name in (FIRST, model))
    return list(difflib.unified_diff(first, other, lineterm="", n=1))[2:]


def with_differences(page):
    """The page with each block of ```diff after a model's heading made anew."""
    def block(found):
        return f"{found[1]}```diff\n{chr(10).join(difference(found[2]))}\n```"

    return re.sub(r"(^## [^\n]*`whole_(\w+)\.py`[^\n]*\n(?:(?!## |```)[^\n]*\n)*)```diff\n.*?^```$", block, page,
                  flags=re.M | re.S)


@pytest.mark.parametrize("model", OTHERS)
def test_a_file_differs_from_the_first_in_at_most_thirty_lines(model):
    lines = difference(model)
    for sign in "+-":
        assert 0 < sum(line.startswith(sign) for line in lines) <= 30


@pytest.mark.parametrize("model", [FIRST, *OTHERS])
def test_a_file_imports_numpy_and_the_standard_library_alone(model):
    tree = ast.parse(path_of(model).read_text(encoding="utf-8"))
    imported = {name for node in ast.walk(tree) for name in (
        [alias.name for alias in node.names] if isinstance(node, ast.Import) else
        [node.module] if isinstance(node, ast.ImportFrom) else [])}
    assert "numpy" in imported and imported - {"numpy"} <= sys.stdlib_module_names


@pytest.mark.parametrize("model", [FIRST, *OTHERS])
def test_a_file_trains_and_draws(model, tmp_path, monkeypatch, capsys):
    """As a script, for two steps instead of a thousand."""
    monkeypatch.chdir(tmp_path)
    source = path_of(model).read_text(encoding="utf-8")
    assert source.count("steps = 700\n") == 1
    source = source.replace("steps = 700\n", "steps = 2\n").replace("draw(256)", "draw(16)")
    exec(compile(source, str(path_of(model)), "exec"), {"__name__": "__main__", "__file__": str(path_of(model))})
    out = capsys.readouterr().out
    loss, *terms = map(float, re.findall(r"(?:loss|\w+) (-?\d+\.\d)(?= |$)", out.splitlines()[0]))
    assert out.startswith("step   1  loss ") and loss == pytest.approx(sum(terms), abs=0.05 * (1 + len(terms)))
    with Image.open(tmp_path / f"whole_{model}.png") as picture:
        picture.load()
        assert picture.size == (3 * 12 * 32, 3 * 2 * 32) and picture.mode == "RGB"


def test_the_page_shows_the_differences_as_they_are():
    """`python -m tests.behaviour.test_whole` writes them anew."""
    page = PAGE.read_text(encoding="utf-8")
    assert page.count("```diff") == len(OTHERS) and page == with_differences(page)


if __name__ == "__main__":
    PAGE.write_text(with_differences(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
