"""How the two levels of a VQ-VAE-2 depend on each other."""

import numpy as np
import pytest

from scratch.bottlenecks import TwoLevelBottleneck
from scratch.runs.latents import smallest_integers
from scratch.training.progress import Totals
from scratch.training.trainer import Trainer
from tests.support.tiny import images, new_model, reconstruction_error, train

TERMS = ("codebook_top", "commitment_top", "codebook_bottom", "commitment_bottom")


@pytest.fixture
def bottleneck():
    return TwoLevelBottleneck((4, 6, 3), 5, 12, 4, "normal", dtype=np.float64, rng=np.random.default_rng(0))


def gradients(bottleneck, dy=1.0, **dterms):
    """({parameter: largest gradient}, ∂L/∂h) under the given upstream gradients; all others are zero."""
    rng = np.random.default_rng(1)
    h, upstream = rng.standard_normal((2, 3, 4, 6, 3))
    bottleneck.zero_grad()
    bottleneck.forward(h)
    dh = bottleneck.backward(dy * upstream, {**dict.fromkeys(TERMS, 0.0), **dterms})
    return {name: np.abs(gradient).max() for name, gradient in bottleneck.grad_dict().items()}, dh


def test_the_decoder_s_gradient_reaches_the_top_by_both_ways(bottleneck):
    """With either way cut the top encoder still learns; with both cut it does not."""
    whole, _ = gradients(bottleneck)
    assert whole["top_encoder.0.weight"] > 0 and whole["project.weight"] > 0
    parts = []
    for cut in ("upsample", "top_decoder"):
        kept = getattr(bottleneck, cut).weight.value.copy()
        getattr(bottleneck, cut).weight.value[...] = 0
        parts.append(gradients(bottleneck)[0]["top_encoder.0.weight"])
        if cut == "upsample":
            getattr(bottleneck, cut).weight.value[...] = kept
    bottleneck.upsample.weight.value[...] = 0
    assert parts[0] > 0 and parts[1] > 0 and gradients(bottleneck)[0]["top_encoder.0.weight"] == 0


def test_each_term_moves_its_own_level(bottleneck):
    """A codebook term moves one codebook and nothing else. The bottom's commitment term moves the top encoder too,
    because the bottom's latents depend on the top's codes. The top's commitment term does not move the bottom."""
    moved = {term: {name for name, size in gradients(bottleneck, dy=0.0, **{term: 1.0})[0].items() if size > 0}
             for term in TERMS}
    assert moved["codebook_top"] == {"top_quantizer.codebook"}
    assert moved["codebook_bottom"] == {"bottom_quantizer.codebook"}
    top = {f"top_encoder.{layer}.{part}" for layer in (0, 2) for part in ("weight", "bias")}
    assert moved["commitment_top"] == top
    assert moved["commitment_bottom"] == top | {
        "top_decoder.weight", "top_decoder.bias", "project.weight", "project.bias"}


def test_the_bottom_is_chosen_given_the_top(bottleneck):
    h = np.random.default_rng(1).standard_normal((3, 4, 6, 3))
    top, bottom = bottleneck.encode(h)
    assert top.shape == (3, 2, 3) and bottom.shape == (3, 4, 6)
    bottleneck.top_quantizer.codebook.value[...] *= -3
    assert (bottleneck.encode(h)[1] != bottom).any()


def test_forward_chooses_what_encode_chooses_and_decodes_it(bottleneck):
    h = np.random.default_rng(1).standard_normal((3, 4, 6, 3))
    y, _ = bottleneck.forward(h)
    codes = bottleneck.encode(h)
    for chosen, encoded in zip(bottleneck.indices, codes, strict=True):
        np.testing.assert_array_equal(chosen, encoded)
    np.testing.assert_array_equal(bottleneck.decode(codes), y)


def test_both_levels_say_something_of_an_image():
    """After a little training, replacing either level's codes by another image's changes the image strongly."""
    x = images(16)
    model = train(new_model("vqvae2", codes=256), x, 150, batch_size=16)
    before = reconstruction_error(model, x)
    top, bottom = model.encode(x)
    for mixed in ([top[::-1], bottom], [top, bottom[::-1]]):
        assert float(((model.decode(mixed) - x) ** 2).sum() / len(x)) > 2 * before


def test_metrics_are_named_by_level():
    trainer, totals = Trainer(new_model("vqvae2"), None, 0), Totals()
    terms, counts, _ = trainer.evaluate(images(4), None)
    totals.add("", 4, terms, counts)
    totals.read(trainer)
    assert set(terms) == {"loss", "reconstruction", *TERMS, "perplexity_top", "perplexity_bottom"}
    assert {level: int(used.sum()) for level, used in counts.items()} == {"top": 4 * 16, "bottom": 4 * 64}
    means = totals.means()
    for level, positions in (("top", 64), ("bottom", 256)):
        assert 1 <= means[f"codes_used_{level}"] <= min(64, positions)
        assert means[f"epoch_perplexity_{level}"] == pytest.approx(float(terms[f"perplexity_{level}"]))


@pytest.mark.parametrize("codes, dtype", [
    (1, np.uint8), (2, np.uint8), (256, np.uint8), (257, np.uint16), (65536, np.uint16), (65537, np.uint32)])
def test_codes_are_stored_in_as_few_bytes_as_hold_them(codes, dtype):
    assert smallest_integers(codes) == dtype
