"""Groups of codes: each slice of the channels has a codebook of its own, and the prior writes the groups in turns."""

import itertools
import math
from functools import partial

import numpy as np
import pytest

from scratch.bottlenecks import CuredVectorQuantizer, GroupedQuantizer, VectorQuantizer
from scratch.instruments.bits import entropy_bits
from scratch.models.code_rows import read_grids
from scratch.models.priors import CodeFrequencies
from scratch.options.errors import InputError
from scratch.training.progress import Totals
from scratch.training.trainer import Trainer
from tests.behaviour.test_code_prior import check_gradient, check_writing, new_prior, rows
from tests.support.tiny import images, new_model, reconstruction_error, train

GROUPED = {"code_groups": 2, "codebook_init": "normal"}


def latents(seed=0, D=6):
    return np.random.default_rng(seed).standard_normal((3, 4, 5, D))


def grouped(groups=2, D=6, quantizer=VectorQuantizer):
    return GroupedQuantizer(groups, 7, D, "normal", quantizer, dtype=np.float64, rng=np.random.default_rng(1))


def separate(module, groups=2, D=6):
    """A quantizer of its own for each group, with the same codes."""
    found = [VectorQuantizer(7, D // groups, dtype=np.float64) for _ in range(groups)]
    for own, theirs in zip(found, module.groups.layers, strict=True):
        own.codebook.value[...] = theirs.codebook.value
    return found


def test_two_groups_are_two_quantizers_on_the_halves_of_the_channels():
    module, z, dq = grouped(), latents(), latents(2)
    first, second = separate(module)
    q, terms = module.forward(z)
    found = [first.forward(z[..., :3].copy()), second.forward(z[..., 3:].copy())]
    np.testing.assert_array_equal(q, np.concatenate([part for part, _ in found], axis=-1))
    np.testing.assert_array_equal(module.indices, np.stack([first.indices, second.indices], axis=-1))
    assert terms.keys() == {"codebook", "commitment"}
    for name, term in terms.items():
        assert term == sum(part[name] for _, part in found)
        assert term == pytest.approx(((z - q) ** 2).sum() / len(z), rel=1e-12)  # as with one codebook

    dterms = {"codebook": 0.7, "commitment": 0.2}
    dz = module.backward(dq, dterms)
    parts = [first.backward(dq[..., :3], dterms), second.backward(dq[..., 3:], dterms)]
    np.testing.assert_array_equal(dz, np.concatenate(parts, axis=-1))
    for own, theirs in zip((first, second), module.groups.layers, strict=True):
        np.testing.assert_array_equal(theirs.codebook.grad, own.codebook.grad)


def test_what_a_position_can_be_is_a_product():
    """K codes of each of G groups make Kᴳ vectors, and each is the nearest one to itself."""
    module = grouped()
    every = np.array(list(itertools.product(range(7), repeat=2))).reshape(1, 7, 7, 2)
    vectors = module.lookup(every)
    assert len(np.unique(vectors.reshape(49, 6), axis=0)) == 49
    np.testing.assert_array_equal(module.nearest(vectors), every)
    np.testing.assert_array_equal(module.mix(every, every[:, ::-1], 0.0), every)
    np.testing.assert_array_equal(module.mix(every, every[:, ::-1], 1.0), every[:, ::-1])


def test_with_one_group_nothing_has_a_new_name_or_shape():
    model = new_model("vqvae")
    assert type(model.bottleneck.quantizer) is VectorQuantizer
    assert "bottleneck.quantizer.codebook" in model.state_dict() and model.encode(images(2)).shape == (2, 4, 4)
    assert model.bottleneck.by_codebook(model.encode(images(2))).keys() == {""}


def test_each_group_is_counted_by_itself():
    model, x = new_model("vqvae", **GROUPED), images(8)
    assert model.encode(x).shape == (8, 4, 4, 2)
    assert [name for name in model.state_dict() if "groups" in name] == [
        f"bottleneck.quantizer.groups.{group}.codebook" for group in range(2)]
    trainer, totals = Trainer(model, None, 0), Totals()
    terms, counts, _ = trainer.evaluate(x, None)
    totals.add("", 8, terms, counts)
    totals.read(trainer)
    assert {name: int(used.sum()) for name, used in counts.items()} == {"group_1": 8 * 16, "group_2": 8 * 16}
    for number, used in enumerate(counts.values()):
        np.testing.assert_array_equal(used, np.bincount(model.encode(x)[..., number].ravel(), minlength=64))
    assert {"codes_used_group_1", "codes_used_group_2", "epoch_perplexity_group_1"} <= totals.means().keys()
    of_levels = new_model("vqvae2", **GROUPED)
    assert [grid.shape for grid in of_levels.encode(x)] == [(8, 4, 4, 2), (8, 8, 8, 2)]
    assert list(of_levels.bottleneck.by_codebook(of_levels.encode(x))) == [
        "top_group_1", "top_group_2", "bottom_group_1", "bottom_group_2"]


def test_the_rate_counts_every_code():
    model, x = new_model("vqvae", **GROUPED), images(3)
    with model.evaluating():
        kl = model.bottleneck.posterior(model.encoder.forward(x)).kl()
    np.testing.assert_allclose(kl.sum(axis=1), 4 * 4 * 2 * math.log(64), rtol=1e-6)
    assert model.bottleneck.vectors(model.encode(x)).shape == (3, 4 * 4 * 8)


def test_both_groups_say_something_of_an_image():
    x = images(16)
    model = train(new_model("vqvae", codes=256, code_groups=2), x, 150, batch_size=16)
    before, codes = reconstruction_error(model, x), model.encode(x)
    for group in range(2):
        assert len(np.unique(codes[..., group])) >= 4
        mixed = codes.copy()
        mixed[..., group] = codes[::-1, ..., group]
        assert float(((model.decode(mixed) - x) ** 2).sum() / len(x)) > 1.5 * before


def test_averages_restarts_and_k_means_are_those_of_each_group():
    """Each group is prepared, moved and restarted as a quantizer that sees its slice alone, with its choices."""
    quantizer = partial(CuredVectorQuantizer, ema_decay=0.9, restart_after=1)
    module = GroupedQuantizer(2, 7, 6, "kmeans", quantizer, dtype=np.float64, rng=np.random.default_rng(1))
    alone = [quantizer(7, 3, "kmeans", dtype=np.float64) for _ in range(2)]
    z, halves = latents(), (slice(0, 3), slice(3, 6))
    assert module.moves and module.chooses and module.prepared_from == 10
    module.prepare([z, latents(5)], np.random.default_rng(3))
    rng = np.random.default_rng(3)
    for own, half in zip(alone, halves, strict=True):
        own.prepare([z[..., half], latents(5)[..., half]], rng)
    module.forward(z)
    choices = module.draw_choices(np.random.default_rng(4))
    assert choices.shape == (2 * 3 * 4 * 5,)
    module.update(choices)
    for own, half, share in zip(alone, halves, np.split(choices, 2), strict=True):
        own.forward(z[..., half])
        own.update(share)
    for own, theirs in zip(alone, module.groups.layers, strict=True):
        for name, part in own.named_state().items():
            np.testing.assert_array_equal(theirs.named_state()[name].value, part.value)


@pytest.mark.parametrize("groups", [3, 5, 16])
def test_groups_that_do_not_divide_the_channels_are_refused(groups):
    with pytest.raises(InputError, match=f"{groups} codebooks cannot have equal shares of a code_dim of 8"):
        new_model("vqvae", code_groups=groups)


def test_bits_by_frequency_are_the_sum_over_the_groups():
    rng = np.random.default_rng(0)
    training, held_out = rng.integers(0, 3, (20, 2, 2, 2)), rng.integers(0, 3, (9, 2, 2, 2))
    training[..., 1] = 0
    expected = sum(entropy_bits(training[..., group], held_out[..., group], 3) for group in range(2))
    assert entropy_bits(training, held_out, 3) == pytest.approx(expected, rel=1e-12)


def test_codes_are_drawn_with_the_frequencies_of_their_group():
    indices = np.zeros((10, 2, 3, 2), np.int64)
    indices[..., 1] = np.random.default_rng(0).choice([1, 2], (10, 2, 3), p=[0.8, 0.2])
    drawn = CodeFrequencies(indices, 4).draw(500, np.random.default_rng(1), np.float32)
    assert drawn.shape == (500, 2, 3, 2) and not drawn[..., 0].any()
    assert (drawn[..., 1] == 2).mean() == pytest.approx((indices[..., 1] == 2).mean(), abs=0.02)
    assert set(np.unique(drawn[..., 1])) == {1, 2}


# --- the prior --------------------------------------------------------------------------------------------------------


def test_the_probabilities_of_all_rows_of_groups_sum_to_one():
    prior = new_prior(((1, 2, 2),), codes=3)
    codes = np.array(list(itertools.product(range(3), repeat=4)))
    x = np.concatenate([np.zeros((len(codes), 1), int), codes], axis=1)
    p = np.exp(-prior.nats_of(x))
    assert math.isclose(p.sum(), 1, rel_tol=1e-12)
    firsts = p.reshape(9, 9).sum(axis=1)  # of the two codes of the first position
    assert (firsts > 0).all() and firsts.std() > 1e-3


@pytest.mark.parametrize("grids, text_length", [(((1, 2, 2), (2, 2, 3)), 0), (((2, 1, 3), (2, 2)), 2)])
def test_writing_groups_gives_the_logits_of_the_whole_row(grids, text_length):
    prior = new_prior(grids, text_length=text_length)
    x = rows(3, prior.length, 3)
    x[:, 1 : 1 + text_length] %= 2
    check_writing(prior, x)


def test_the_gradient_of_a_prior_over_groups():
    check_gradient(new_prior(((1, 2, 2), (2, 2, 3)), dropout=0.3))


def test_the_codes_of_a_position_stand_one_after_another():
    prior = new_prior(((2, 2, 3), (1, 2)))
    grid = np.arange(24).reshape(2, 2, 2, 3)
    row = np.concatenate([grid.reshape(2, -1), [[30, 31], [32, 33]]], axis=1)
    first, second = prior.as_grids(row)
    np.testing.assert_array_equal(first, grid)
    assert second.tolist() == [[[30, 31]], [[32, 33]]]
    for group, (part, stretch) in enumerate(prior.stretches()[:3]):
        np.testing.assert_array_equal(row[:, stretch], grid[..., group].reshape(2, -1))
        assert prior.places()[3 + group] == (part, 1)  # the second position


def test_an_earlier_code_of_a_position_changes_the_next_one():
    prior = new_prior(((1, 1, 2),), codes=3)
    x = np.array([[0, a, b] for a in range(3) for b in range(3)])
    p = np.exp(-prior.nats_of(x)).reshape(3, 3)
    given = p / p.sum(axis=1, keepdims=True)
    assert np.abs(given[0] - given[1]).max() > 1e-3


def test_grids_with_groups_are_read():
    assert read_grids("8x8x4") == ((8, 8, 4),) and read_grids("4x4,8x8x2") == ((4, 4), (8, 8, 2))
