"""Training improves each model as it should. Errors are squared errors of an image, summed over its 768 values. They
are compared with the error of the mean image as the output for every image, about 19, which needs no code."""

import numpy as np
import pytest

from scratch.models.priors import StandardNormal
from tests.support.tiny import images, new_model, reconstruction_error, train


def mean_image_error(x, of):
    return float(((of - x.mean(axis=0)) ** 2).sum() / len(of))


@pytest.mark.parametrize("name, options, epochs, stated", [
    ("ae", {}, 300, 2.4),
    ("ae", {"likelihood": "bernoulli"}, 300, 2.4),
    ("vae", {"beta": 0.01}, 300, 2.4),
    ("vqvae", {"codes": 256}, 500, 9.4),  # 16 codes of 8 bits an image, learned from 16 images: half of the yardstick
    ("vqvae2", {"codes": 256}, 300, 7.5),
])
def test_a_small_set_is_overfitted(name, options, epochs, stated):
    x = images(16)
    assert mean_image_error(x, of=x) > 18
    model = train(new_model(name, **options), x, epochs, batch_size=16)
    assert reconstruction_error(model, x) < stated


@pytest.mark.parametrize("name", ["ae", "vae", "vqvae", "vqvae2", "dvae"])
def test_reconstruction_of_images_never_seen_improves_with_training(name):
    x, held_out = images(512), images(128, stream=1)
    model = new_model(name, beta=0.1, codebook_init="normal" if name == "dvae" else "uniform")
    before = reconstruction_error(model, held_out)
    after = reconstruction_error(train(model, x, epochs=8), held_out)
    assert after < 0.95 * mean_image_error(x, of=held_out) < before


def test_a_larger_beta_lowers_the_kl_and_raises_the_reconstruction_error():
    x = images(512)
    noise = np.random.default_rng(1).standard_normal((512, 32), np.float32)
    reconstruction, kl = [], []
    for beta in (0.1, 1.0, 10.0):
        _, terms = train(new_model("vae", beta=beta), x, epochs=8).loss(x, noise)
        reconstruction.append(terms["reconstruction"])
        kl.append(terms["kl"])
    assert kl[0] > 2 * kl[1] > 4 * kl[2]
    assert reconstruction[0] < reconstruction[1] < reconstruction[2]


def test_samples_of_a_vae_vary_as_the_data_do():
    """Samples have at least a third of the data's variance, and not more than all of it. A decoder that ignores z
    would give none."""
    x = images(64)
    model = train(new_model("vae", beta=0.3), x, epochs=300)
    samples = model.sample(256, StandardNormal(32), np.random.default_rng(0))
    share = samples.var(axis=0).sum() / x.var(axis=0).sum()
    assert 1 / 3 < share < 1
