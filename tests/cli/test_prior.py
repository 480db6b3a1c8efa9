"""`train prior --of RUN` and what can be done with such a run, on tiny models."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

import scratch as library
from data_utils import captions_of, meaning
from scratch.figures import of_run
from scratch.options.errors import InputError
from scratch.runs.examples import load_examples
from tests.cli.test_errors import assert_one_sentence
from tests.cli.test_new_bottleneck import same_weights
from tests.cli.test_torch_ref import torch_ref  # noqa: F401  (a fixture)
from tests.support.command_line import MODELS, read_metrics, without_times
from tests.support.command_line import SMALL as TINY

SIZES = ["--width", 8, "--heads", 2, "--blocks", 1, "--batch-size", 16]


@pytest.fixture
def prior(scratch, trained):
    """prior("vqvae") -> the folder of a prior over the codes of such a run, trained for two epochs."""
    def train(model, *options):
        trained(model)
        result = scratch("train", "prior", "--of", model, *SIZES, "--epochs", 2, "--out", "prior", *options)
        assert result.status == 0, result.err
        return Path("prior")

    return train


@pytest.mark.parametrize("model, grids", [("vqvae", "4x4"), ("vqvae2", "4x4,8x8"), ("dvae", "4x4")])
def test_it_learns_the_codes_of_a_run(scratch, prior, model, grids):
    folder = prior(model)
    config = json.loads((folder / "config.json").read_text())
    assert config["options"]["grids"] == grids and config["options"]["codes"] == 16
    assert config["references"]["of"]["folder"] == model
    first, last = read_metrics(folder)
    assert last["bits"] < first["bits"]
    found = json.loads(scratch("evaluate", folder, "--json").out)
    assert found["image"] == pytest.approx(last["held_out_image"]) and found["bits"] == last["held_out_bits"]
    by_frequency = json.loads(scratch("bits", model, "--json").out)
    assert found["bits_fixed"] == by_frequency["fixed"]
    assert found["bits_by_frequency"] == pytest.approx(by_frequency["entropy"])


@pytest.mark.usefixtures("no_pictures")
def test_it_resumes_bit_for_bit(scratch, prior):
    whole = prior("vqvae")
    scratch("train", "prior", "--of", "vqvae", *SIZES, "--epochs", 1, "--out", "parts")
    result = scratch("train", "--resume", "parts", "--epochs", 2)
    assert result.status == 0, result.err
    assert same_weights(whole, "parts")
    assert without_times(read_metrics(whole)) == without_times(read_metrics("parts"))


@pytest.mark.usefixtures("no_pictures")
def test_two_workers_learn_the_same(scratch, prior):
    one = prior("vqvae", "--dtype", "float64", "--workers", 1)
    result = scratch("train", "prior", "--of", "vqvae", *SIZES, "--epochs", 2, "--dtype", "float64", "--workers", 2,
                     "--out", "two")
    assert result.status == 0, result.err
    assert read_metrics("two")[-1]["held_out_loss"] == pytest.approx(read_metrics(one)[-1]["held_out_loss"], rel=1e-10)


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("model", ["vqvae", "vqvae2", "dvae"])
def test_the_library_draws_new_images(prior, model):
    run = library.load(prior(model))
    images = run.sample(3, seed=1, temperature=0.9, top_k=5, top_p=0.95)
    assert images.shape == (3, 16, 16, 3) and np.isfinite(images).all()
    assert np.array_equal(images, run.sample(3, seed=1, temperature=0.9, top_k=5, top_p=0.95))
    assert not np.array_equal(images, run.sample(3, seed=2, temperature=0.9, top_k=5, top_p=0.95))
    codes = run.write(3, seed=1, temperature=0.9, top_k=5, top_p=0.95)
    assert np.array_equal(library.load(model).decode(codes), images)


def test_a_factor_comes_before_the_codes(scratch, prior):
    run = library.load(prior("vqvae", "--given", "shape"))
    assert run.model.labels == run.options["labels"] > 2
    assert run.write(2, label=1).shape == (2, 4, 4)
    for wrong in (-1, run.model.labels, 1.0, True, "ship"):
        with pytest.raises(InputError, match=f"knows the labels 0 to {run.model.labels - 1}, got"):
            run.write(2, label=wrong)
    with pytest.raises(InputError, match="temperature"):
        run.write(2, temperature=-1)


def test_what_is_refused(scratch, trained):
    trained("vqvae"), trained("vae")
    for options, words in (
            (["--of", "vae"], ["--of is a run of vae, which has no codes"]),
            (["--of", "vqvae", "--given", "hue"], ["--given is 'hue'", "none, caption or shape"]),
            (["--of", "vqvae", "--codes", 8], ["--codes is 8", "16"]),
            (["--of", "vqvae", "--grids", "2x8"], ["--grids is 2x8", "4x4"]),
            (["--of", "vqvae", "--grids", "2"], ["--grids expected the sizes of grids"]),
            (["--of", "vqvae", "--width", 9], ["--heads", "cannot share a width of 9"]),
            ([], ["--of is missing"])):
        assert_one_sentence(scratch("train", "prior", *options, "--out", "x"), *words)
        assert not Path("x").exists()


def test_new_images_are_drawn(scratch, prior):
    folder = prior("vqvae", "--given", "shape")
    assert (folder / "samples.png").exists()
    for options in ([], ["--label", "square"], ["--label", 1], ["--temperature", 0.5, "--top-k", 3, "--top-p", 0.9]):
        result = scratch("sample", folder, "--count", 4, "--out", "s.png", *options)
        assert result.status == 0 and Path("s.png").exists(), result.err
        Path("s.png").unlink()
    assert_one_sentence(scratch("sample", folder, "--label", "ship"), "--label is 'ship'", "square")
    assert_one_sentence(scratch("sample", folder, "--label", 99), "knows the labels 0 to")
    assert_one_sentence(scratch("sample", folder, "--top-k", 0), "--top-k", "≥ 1")
    assert_one_sentence(scratch("sample", folder, "--data", "shapes"), "--data", "leave it out")
    for option, value in (("--top-k", 3), ("--label", 1), ("--temperature", 0.5)):
        assert_one_sentence(scratch("sample", "vqvae", option, value), option, "learned priors", "vqvae")


def test_each_label_has_as_many_images_as_were_asked_for(scratch, prior, monkeypatch):
    folder, drawn = prior("vqvae", "--given", "shape"), []
    monkeypatch.setattr(of_run.figures, "image_rows", lambda rows, heading: drawn.append(rows) or Figure())
    for count, rows in ((4, [4]), (25, [10, 10, 5])):
        assert scratch("sample", folder, "--count", count, "--out", f"{count}.png").status == 0
        assert [len(images) for _, images in drawn.pop()] == rows * library.load(folder).model.labels


@pytest.mark.usefixtures("no_pictures")
def test_the_codes_of_a_run_that_has_moved(scratch, prior):
    folder = prior("vqvae")
    Path("vqvae").rename("moved")
    assert_one_sentence(scratch("sample", folder), "refers by of to the run vqvae", "not there")
    for command in (["sample"], ["complete", "--rows", 2], ["likelihood"]):
        result = scratch(*command[:1], folder, *command[1:], "--codes-from", "moved", "--out", "x.png")
        assert result.status == 0, result.err
    assert_one_sentence(scratch("sample", "moved", "--codes-from", "moved"), "vqvae has no such option")


@pytest.mark.usefixtures("no_pictures")
def test_an_image_is_continued_and_its_codes_are_priced(scratch, prior):
    folder = prior("vqvae")
    result = scratch("complete", folder, "--rows", 2, "--index", 0, 3, "--count", 2)
    assert result.status == 0 and (folder / "completions.png").exists(), result.err
    images = np.zeros((3, 16, 16, 3), np.uint8)
    codes = library.load("vqvae").encode(images)
    rows = np.concatenate([np.zeros((3, 1), np.int64), codes.reshape(3, -1)], axis=1)
    written = library.load(folder).complete(rows, 2)
    assert np.array_equal(written[:, :2], codes[:, :2]) and written.shape == codes.shape
    for kept in (-1, 4, 2.0):
        with pytest.raises(InputError, match="the grid has 4 rows: expected 0 to 3 of them"):
            library.load(folder).complete(rows, kept)
    result = scratch("likelihood", folder)
    assert result.status == 0 and "bits an image for their codes" in result.out
    bits = float(result.out.split("images: ")[1].split(" bits")[0])
    assert bits == pytest.approx(read_metrics(folder)[-1]["held_out_bits"], abs=0.06)
    for command in (["complete", "vqvae", "--rows", 2], ["likelihood", "vqvae"]):
        assert_one_sentence(scratch(*command), command[0], "learned priors", "vqvae")


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("model", ["vqvae", "vqvae2", "dvae"])
def test_the_bits_of_codes_three_ways(scratch, prior, model):
    folder = prior(model)
    found = json.loads(scratch("bits", model, "--prior", folder, "--json").out)
    assert found["prior"] == pytest.approx(read_metrics(folder)[-1]["held_out_bits"], rel=1e-5)
    printed = scratch("bits", model, "--prior", folder).out
    assert [line for line in printed.splitlines() if line.startswith("codes, by the prior")]
    assert "prior" not in json.loads(scratch("bits", model, "--json").out)


@pytest.mark.usefixtures("no_pictures")
def test_the_bits_by_the_prior_of_another_run_are_refused(scratch, prior, trained):
    folder = prior("vqvae")
    trained("dvae")
    assert_one_sentence(scratch("bits", "dvae", "--prior", folder), "--prior", "no prior over the codes of dvae")
    assert_one_sentence(scratch("bits", "dvae", "--prior", "vqvae"), "--prior", "no prior over the codes of dvae")
    assert_one_sentence(scratch("bits", "vqvae", "--prior", folder, "--data", "shapes:pill"), "--prior", "leave other")


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("model", ["vqvae", "vqvae2", "dvae"])
def test_codes_and_pixels_are_written_as_a_file(scratch, model):
    pytest.importorskip("constriction")
    options = ["--likelihood", "discretized_logistic", "--epochs", 1, "--out", model]
    assert scratch("train", model, *TINY, *MODELS[model], *options).status == 0
    assert scratch("train", "prior", "--of", model, *SIZES, "--epochs", 1, "--out", "prior").status == 0
    found = json.loads(scratch("bits", model, "--prior", "prior", "--coder", 2, "--json").out)
    assert found["coder"]["images"] == 2
    assert found["coder"]["bits"] == pytest.approx(found["coder"]["bound"], rel=0.01)
    expected = library.load(model).evaluate(load_examples(library.load(model).options).held_out)
    if model != "dvae":  # whose evaluation draws codes
        assert found["pixels"] == pytest.approx(expected["held_out_reconstruction"] / np.log(2), rel=1e-5)
    printed = scratch("bits", model, "--prior", "prior", "--coder", 1).out
    assert "codes and pixels, codes by the prior" in printed and "bit for bit" in printed


@pytest.mark.usefixtures("no_pictures")
def test_what_the_coder_refuses(scratch, prior):
    folder = prior("vqvae")
    assert_one_sentence(scratch("bits", "vqvae", "--coder", 1), "--coder", "--prior")
    assert_one_sentence(scratch("bits", "vqvae", "--prior", folder, "--coder", 1), "squared_error",
                        "--likelihood discretized_logistic")


@pytest.mark.usefixtures("no_pictures")
def test_two_levels_are_not_continued(scratch, prior):
    assert_one_sentence(scratch("complete", prior("vqvae2"), "--rows", 2), "learns several grids")


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("model", ["vqvae", "vqvae2"])
def test_both_sides_are_compared(torch_ref, prior, model):  # noqa: F811
    prior(model)
    for more in ([], ["--dropout", 0], ["--given", "caption"]):
        found = json.loads(torch_ref("compare", "prior", "--of", model, *SIZES[:6], *more, "--steps", 8, "--json").out)
        assert found["ok"], found["checks"]


def test_a_caption_comes_before_the_codes(scratch, prior):
    run = library.load(prior("vqvae", "--given", "caption"))
    length, merges = run.options["text_length"], run.run.config["data"]["merges"]
    assert run.model.text_length == length > 5 and len(merges) > 20
    examples = load_examples(run.options)
    assert examples.train.shape == (40, 1 + length + 16) and examples.tokenizer.merges == [tuple(m) for m in merges]
    captions = captions_of(load_examples(library.load("vqvae").options), run.options["seed"])
    for split, texts in zip((examples.train, examples.held_out), captions, strict=True):
        assert [run.text_of(row[1 : 1 + length]) for row in split] == texts
        assert np.array_equal(run.tokens_of(texts), split[:, 1 : 1 + length])
    first, last = read_metrics(run.run.folder)
    assert last["image"] < first["image"]
    found = run.evaluate(examples.held_out)
    weights = {"text": 1 / (8 * length), "image": 7 / (8 * 16)}
    assert found["held_out_loss"] == pytest.approx(sum(found[f"held_out_{name}"] * w for name, w in weights.items()))
    assert found["held_out_bits"] == pytest.approx(run.bits_of(examples.held_out).mean(), rel=1e-5)


def test_text_says_what_is_drawn(scratch, prior):
    folder = prior("vqvae", "--given", "caption")
    run = library.load(folder)
    images = run.sample(2, seed=3, text="a red square")
    assert images.shape == (2, 16, 16, 3) and np.array_equal(images, run.sample(2, seed=3, text=["a red square"] * 2))
    assert run.write_captions(3, seed=1).shape == (3, run.model.text_length)
    assert run.write(2).shape == (2, 4, 4)  # it writes the captions, too
    for options in (["--text", "a red square"], []):
        result = scratch("sample", folder, "--count", 4, "--out", "s.png", *options)
        assert result.status == 0 and Path("s.png").exists(), result.err
        Path("s.png").unlink()
    for options in (["--text", "a red square"], []):
        result = scratch("complete", folder, "--rows", 2, "--index", 0, 3, "--count", 1, "--out", "c.png", *options)
        assert result.status == 0, result.err
    assert_one_sentence(scratch("sample", folder, "--text", " "), "--text is empty", "at least one word")
    guided = ["--guidance", 3, "--against", "a shape"]
    for command in (["sample", folder, "--text", "a red square", "--count", 3],
                    ["complete", folder, "--rows", 1, "--index", 0, 1]):
        result = scratch(*command, *guided, "--out", "guided.png")
        assert result.status == 0, result.err
    run, text = library.load(folder), "a red square"
    plain = run.write(4, seed=3, text=text)
    assert np.array_equal(run.write(4, seed=3, text=text, guidance=3, against=text), plain)
    assert not np.array_equal(run.write(4, seed=3, text=text, guidance=9, against="a shape"), plain)
    for options, words in (
            (["--text", "red", "--guidance", 2], ["--guidance is 2", "give that as against"]),
            (["--text", "red", "--against", "a shape"], ["--against is the caption", "guidance other than 1"]),
            (guided, ["--against is the caption", "give a text"]),
            (["--text", "red", "--guidance", 2, "--against", " "], ["--against is empty"]),
            (["--text", "red", "--guidance", -1, "--against", "a"], ["--guidance", "≥ 0"])):
        assert_one_sentence(scratch("sample", folder, *options), *words)
    assert_one_sentence(scratch("sample", folder, "--text", "a very " * 50), "--text is 'a very", "expected at most")
    for wrong in (3, ["a"], [1, 2]):
        with pytest.raises(InputError, match="expected a text, or a list of 2 of them"):
            run.write(2, text=wrong)
    assert_one_sentence(scratch("sample", "vqvae", "--text", "x"), "--text is an option of learned priors")


@pytest.mark.usefixtures("no_pictures")
def test_any_text_has_tokens(prior):
    run = library.load(prior("vqvae", "--given", "caption"))
    tokens = run.tokens_of(["é→"])  # two and three bytes, and no space
    assert run.text_of(tokens[0]) == "é→" and (tokens < 256).sum() == 5


@pytest.mark.usefixtures("no_pictures")
def test_what_text_is_refused(scratch, prior, trained):
    prior("vqvae")
    assert_one_sentence(scratch("sample", "prior", "--text", "a"), "trained without captions", "given captions")
    assert_one_sentence(scratch("sample", "prior", "--guidance", 2, "--against", "a"), "--against", "without captions")
    shutil.rmtree("prior"), shutil.rmtree("vqvae")
    folder = prior("vqvae", "--given", "caption")
    short = ["train", "prior", "--of", "vqvae", "--given", "caption", "--text-length", 3, "--out", "x"]
    assert_one_sentence(scratch(*short), "--given is caption, and one of the captions is", "expected at most 3")
    config = json.loads(Path("prior", "config.json").read_text())
    config["data"]["merges"] = [[0, 1], [900, 2]]
    Path("prior", "config.json").write_text(json.dumps(config))
    result = scratch("sample", folder, "--text", "a")
    assert_one_sentence(result, "the pair 1 of the tokenizer", "restore its config.json")


@pytest.mark.usefixtures("no_pictures")
def test_a_prior_of_captions_resumes_bit_for_bit(scratch, prior):
    whole = prior("vqvae", "--given", "caption")
    scratch("train", "prior", "--of", "vqvae", *SIZES, "--given", "caption", "--epochs", 1, "--out", "parts")
    result = scratch("train", "--resume", "parts", "--epochs", 2)
    assert result.status == 0, result.err
    assert same_weights(whole, "parts")


@pytest.mark.usefixtures("no_pictures")
def test_more_shapes_are_drawn_for_the_prior(scratch, prior):
    run = library.load(prior("vqvae", "--given", "caption", "--drawn", 50, "--without", "red"))
    examples = load_examples(run.options)
    assert 30 < len(examples.train) < 50 and len(examples.held_out) == 40
    texts = [run.text_of(row[1 : 1 + run.model.text_length]) for row in examples.train]
    assert not any(meaning(text).get("colour") == "red" for text in texts)
