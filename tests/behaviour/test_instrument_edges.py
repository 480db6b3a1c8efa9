"""The instruments at their edges: floats, constant numbers, perfect and overflowing models; and what they never do."""

import ast
from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from data_utils import Data, from_array, shapes
from scratch.figures import pictures, sweeps
from scratch.instruments import anomaly, bits, retrieval
from scratch.instruments.denoising import denoising, new_corruption
from scratch.instruments.elbo import rate_distortion
from scratch.instruments.importance import importance_weighted_bounds
from scratch.instruments.mutual_information import mutual_information
from scratch.instruments.pca import explained_by_components, principal_components
from scratch.instruments.posteriors import gaussian_posteriors
from scratch.instruments.probe import linear_probe, standardised
from scratch.instruments.report import measure_all
from scratch.instruments.similarity import psnr_of_each
from scratch.instruments.vector_codes import code_space
from scratch.instruments.vectors import labels, of_latents, of_pixels
from scratch.options.errors import InputError
from scratch.options.resolve import resolve
from scratch.runs.trained import Trained
from scratch.training.loop import Unsaved
from tests.support.tiny import new_model

SCRATCH = Path(__file__).parents[2] / "scratch"
OPTIONS = {"channels": [16, 32], "latent_dim": 32, "codes": 64, "code_dim": 8}


def trained_of(name, dtype=np.float32, batch_size=16, shape=(16, 16, 3)):
    """A Trained that no training has seen, in memory."""
    own = {key: value for key, value in OPTIONS.items() if not (name in ("ae", "vae") and key.startswith("code"))}
    if name not in ("ae", "vae"):
        del own["latent_dim"]
    options = resolve(name, {**own, "dtype": np.dtype(dtype).name, "batch_size": batch_size})
    run = Unsaved({"options": options, "data": {"image_shape": list(shape)}})
    return Trained(run, model=new_model(name, dtype=dtype))


def data_of(dtype, count=40, name="shapes"):
    """The same shapes, stored as bytes or as floats."""
    (one, factors), (other, held_out_factors) = (shapes(count, size=16, stream=stream) for stream in (0, 1))
    if np.dtype(dtype) != np.uint8:
        one, other = ((images / 255).astype(dtype) for images in (one, other))
    return Data(name, one, other, factors, held_out_factors)


# --- images that are stored as floats ---------------------------------------------------------------------------------


@pytest.mark.parametrize("stored", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["ae", "vae", "vqvae", "vqvae2", "dvae"])
def test_floats_are_measured_as_the_bytes_that_they_stand_for(name, stored):
    """Through every instrument, whatever precision the run and the images have."""
    trained, found = trained_of(name), []
    for data in (data_of(np.uint8), data_of(stored)):
        samples = 2 if name in ("vae", "dvae") else None
        measures = measure_all(trained, data.held_out, samples, "gaussian:0.1")
        _, areas = anomaly.anomaly(trained, data, data_of(data.train.dtype, 20, "others"))
        spaces = [of_latents(trained, data), of_pixels(data)]
        found.append([*measures.values(), *areas.values(), *(space.held_out.mean() for space in spaces)])
        if not trained.codes:
            found[-1] += [code_space(trained, data.held_out).importance.mean(),
                          explained_by_components(principal_components(data.train), data.held_out)[5]]
    for ours, theirs in zip(*found, strict=True):
        assert ours == theirs if isinstance(ours, str) else np.allclose(ours, theirs, rtol=1e-3, atol=1e-5)


def test_pixel_variances_of_floats_are_those_of_their_bytes():
    pixels = np.random.default_rng(0).integers(0, 256, (5, 4, 4, 3), np.uint8)
    for dtype in (np.float32, np.float64):
        found = anomaly.pixel_variances((pixels / 255).astype(dtype))
        np.testing.assert_allclose(found, anomaly.pixel_variances(pixels), rtol=1e-5)


def test_bits_refuses_images_that_no_jpeg_holds():
    trained = trained_of("vqvae")
    for held_out in (data_of(np.float32).held_out, np.zeros((3, 16, 16, 2), np.uint8)):
        with pytest.raises(InputError, match=r"uint8 images of 1 or 3 channels, and those of array are .* choose"):
            bits.rates(trained, from_array(np.concatenate([held_out, held_out])))


# --- few images, constant numbers -------------------------------------------------------------------------------------


def test_a_probe_and_neighbours_need_as_many_images_as_they_name():
    vectors, y = np.eye(4), np.array([0, 1, 0, 1])
    with pytest.raises(InputError, match=r"at least 5 training images, .* this set has 4: choose more"):
        linear_probe(vectors, y, vectors, y)
    with pytest.raises(InputError, match=r"the 8 nearest neighbours need at least 8 training images, .* has 4"):
        retrieval.nearest(vectors, vectors, 8)
    assert retrieval.nearest(vectors, vectors, 4).shape == (4, 4)
    known = {"label": y}
    assert labels(Data("d", vectors, vectors, known, known))["label"][0] is not None
    with pytest.raises(InputError, match="no labels to tell apart"):
        labels(Data("d", vectors, vectors, {"label": 0 * y}, known))


def test_a_dimension_that_never_varies_stays_small_however_its_mean_is_rounded():
    """The mean of ten times 0.1 is not 0.1. The deviation is then a rounding error, by which nothing is divided."""
    train, held_out = standardised(np.full((10, 1), 0.1), np.array([[0.1], [0.3]]))
    np.testing.assert_allclose(train, 0, atol=1e-15)
    np.testing.assert_allclose(held_out, [[0], [0.2]], atol=1e-15)


@pytest.mark.parametrize("logvar", [0.0, -300.0, -5000.0])
def test_a_constant_dimension_of_a_code_tells_nothing(logvar):
    """However narrow its posterior is; the varying dimension beside it tells all."""
    v = np.arange(60) % 3
    mu = np.stack([np.full(60, 0.7), v - 1.0], axis=1)
    found = mutual_information(mu, np.stack([np.full(60, logvar), np.full(60, -12.0)], axis=1), {"v": v})
    np.testing.assert_allclose(found.nats[:, 0], [0, np.log(3)], atol=1e-9)


def test_images_that_are_all_the_same_have_no_components():
    grey = np.full((4, 5, 5, 1), 77, np.uint8)
    with pytest.raises(InputError, match="all of them are the same"):
        principal_components(grey)
    with pytest.raises(InputError, match="this set has one"):
        principal_components(grey[:1])
    pca = principal_components(np.concatenate([grey - 2, grey + 2]))
    with pytest.raises(InputError, match="mean of the training images"):
        explained_by_components(pca, grey)


def test_scores_that_are_all_the_same_are_drawn():
    for value in (0.0, 7.0, 1e9):
        same = np.full(5, value)
        FigureCanvasAgg(pictures.score_histograms({"rate": (same, same)}, {"rate": 0.5}, "in", "out")).draw()


def test_one_code_in_use_is_drawn_and_priced():
    codes = np.zeros((4, 2, 2), np.int64)
    assert bits.entropy_bits(codes, codes, 8) == pytest.approx(-4 * np.log2(17 / 24))
    FigureCanvasAgg(pictures.codebook_use({"": np.array([16, 0, 0])})).draw()


# --- perfect, and overflown -------------------------------------------------------------------------------------------


def test_perfect_reconstructions_have_an_infinite_psnr():
    assert np.isinf(psnr_of_each(np.zeros((2, 3, 3, 1)), np.zeros((2, 3, 3, 1)))).all()


def test_a_corruption_that_changed_nothing_has_no_gain():
    """∞ − ∞ would be NaN."""
    trained, black = trained_of("ae"), np.zeros((3, 16, 16, 3), np.uint8)
    found = denoising(trained, black, new_corruption(trained, "masking:0.5"))
    assert found["corrupted_psnr"] == np.inf and np.isfinite(found["denoised_psnr"])
    assert "denoising_gain" not in found


def test_a_sweep_draws_and_prints_perfect_runs():
    """None stands for an infinite PSNR."""
    rows = [{"settings": {"latent_dim": str(size)}, "psnr": psnr} for size, psnr in ((2, 20.0), (4, None))]
    assert [sweeps.squared_error(row) for row in rows] == [pytest.approx(0.01), 0.0]
    FigureCanvasAgg(sweeps.over_option({"latent_dim": ["2", "4"]}, rows)).draw()
    FigureCanvasAgg(sweeps.over_option({"lr": ["2"]}, [{"settings": {"lr": "2"}, "loss": 3.0}])).draw()


@pytest.mark.parametrize("name", ["ae", "vae", "vqvae", "dvae"])
def test_a_model_that_overflows_is_one_error_and_no_warning(name):
    """In each way to the model's numbers."""
    trained, x = trained_of(name), data_of(np.uint8, 6).held_out
    for part in trained.model.named_parameters().values():
        part.value *= 1e30
    ways = [lambda: trained.evaluate(x), lambda: trained.reconstruct(x), lambda: trained.encode(x),
            lambda: trained.interpolate(*trained.floats(x[:2]), 3), lambda: anomaly.squared_errors(trained, x),
            lambda: measure_all(trained, x)]
    if name == "vae":
        ways += [lambda: gaussian_posteriors(trained, x), lambda: code_space(trained, x)]
    if name in ("vae", "dvae"):
        ways += [lambda: trained.variations(trained.floats(x), 2, np.random.default_rng(0)),
                 lambda: rate_distortion(trained, x), lambda: importance_weighted_bounds(trained, x, 2)]
    for way in ways:
        with pytest.raises(InputError, match=r"has diverged \(.*\): restore .*, or train again with a smaller"):
            way()


def test_a_picture_shows_one_or_three_channels():
    with pytest.raises(InputError, match="1 or 3 channels, and these have 2"):
        pictures.tile(np.zeros((3, 4, 4, 2)))


def test_a_letter_that_the_font_lacks_is_drawn_without_a_warning():
    figure = pictures.image_rows([("日本", np.zeros((2, 8, 8, 3)))], "\U0001f600")
    assert pictures.png(figure).startswith(b"\x89PNG")


# --- what the rooms never do ------------------------------------------------------------------------------------------


def sources(*rooms):
    files = [path for room in rooms for path in sorted((SCRATCH / room).glob("*.py"))]
    return {f"{path.parent.name}/{path.name}": ast.parse(path.read_text()) for path in files}


def test_instruments_and_figures_print_nothing_and_name_no_flag():
    for name, tree in sources("instruments", "figures").items():
        for node in ast.walk(tree):
            assert not (isinstance(node, ast.Name) and node.id == "print"), f"{name}, line {node.lineno}"
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert not any(word.startswith("--") and word[2:3].isalpha() for word in node.value.split()), (
                    f"{name}, line {node.lineno}: {node.value}")
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
                assert node.exc.func.id in ("InputError", "NotImplementedError"), f"{name}, line {node.lineno}"


def test_commands_are_no_library_for_each_other():
    shared = {"shared", "options", "cli", "shortages", "parser", "writing"}
    for name, tree in sources("commands").items():
        if name == "commands/parser.py":
            continue
        for node in ast.walk(tree):
            module = getattr(node, "module", None) or ""
            if isinstance(node, ast.ImportFrom) and module.startswith("scratch.commands"):
                named = {module.split(".")[2]} if module.count(".") > 1 else {alias.name for alias in node.names}
                assert named <= shared, f"{name} imports {named - shared}"


def test_instruments_and_figures_import_no_command():
    for name, tree in sources("instruments", "figures").items():
        for node in ast.walk(tree):
            module = getattr(node, "module", None) or ""
            assert not (isinstance(node, ast.ImportFrom) and module.startswith("scratch.commands")), name


def test_commands_print_through_one_function_that_escapes():
    """`say` and `say_json` of cli.py; the page of `options` is made of declarations alone."""
    allowed = {"commands/cli.py", "commands/reference.py", "commands/train.py"}
    for name, tree in sources("commands").items():
        prints = any(isinstance(node, ast.Name) and node.id == "print" for node in ast.walk(tree))
        assert not prints or name in allowed, name


def formulas(expression):
    """The files of scratch/ in whose code an expression stands, its blanks aside. The models in one file, which import
    nothing, are left out."""
    wanted = "".join(expression.split())
    return {path.name for path in SCRATCH.rglob("*.py")
            if not path.name.startswith("whole_") and wanted in "".join(path.read_text().split())}


def test_psnr_and_gaussian_kl_stand_once():
    assert formulas("-10 * np.log10(") == {"losses.py"}
    assert formulas("0.5 * (mu * mu + ") == {"gaussian.py"}


def test_a_run_in_memory_has_a_name_in_messages():
    assert str(trained_of("ae").diverged("a reason")).startswith("this run has diverged (a reason;")
