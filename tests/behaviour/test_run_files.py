"""The files of a run: whatever they hold, they are read, or refused in one sentence before anything is changed."""

import copy
import errno
import json
import math
import os
import stat
import struct
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from data_utils import printable
from scratch.options.errors import InputError
from scratch.runs import descriptions as described
from scratch.runs import files
from scratch.runs.latents import read_latents
from scratch.runs.run import Run
from scratch.runs.schema import Array, Either, Listed, Mismatch, Real, Record, Text, Whole
from scratch.runs.trained import Trained
from scratch.training.make import make_model, make_trainer
from tests.cli.test_errors import assert_one_sentence
from tests.support.command_line import MODELS, SMALL, finished_runs, scratch, trained  # noqa: F401

WRONG = [None, True, -1, 0, 1.5, math.nan, math.inf, 10**30, "x", "16", "", [], [1, "x"], {}, {"a": 1}]


def snapshot(folder):
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def one_sentence(error, *parts):
    text = str(error.value if hasattr(error, "value") else error)
    assert text.endswith(".") and "\n" not in text and "Traceback" not in text
    for part in parts:
        assert str(part) in text, text


def mutations(value, where=()):
    """(where, changed copy) for every entry of JSON: without it, and with each wrong value in its place."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, entry in list(entries):
        without = copy.copy(value)
        del without[key]
        yield (*where, key), without
        for wrong in WRONG:
            changed = copy.copy(value)
            changed[key] = wrong
            yield (*where, key), changed
        for place, changed_entry in mutations(entry, (*where, key)):
            changed = copy.copy(value)
            changed[key] = changed_entry
            yield place, changed
    if isinstance(value, dict):
        yield (*where, "new"), {**value, "new": [1]}


# --- kinds ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind, right, wrong, sentence", [
    (Whole(1), 1, 0, "a.b is 0; expected an integer ≥ 1"),
    (Whole(0, 9), 9, 10, "a.b is 10; expected an integer from 0 to 9"),
    (Whole(), 3, True, "a.b is true; expected an integer ≥ 0"),
    (Whole(), 3, 3.0, "a.b is 3.0; expected an integer ≥ 0"),
    (Real(0), 0, math.inf, "a.b is inf; expected a finite number ≥ 0"),
    (Real(), 10**30, 10**400, "a.b is 100000000000000000000000000000000000 ...; expected a finite number"),
    (Real(), 1e300, math.nan, "a.b is nan; expected a finite number"),
    (Real(finite=False), math.inf, math.nan, "a.b is nan; expected a number"),
    (Real(), 1, "1", "a.b is '1'; expected a finite number"),
    (Text(("x", "y")), "y", "z\n\x1b", "a.b is 'z\\n\\x1b'; expected 'x' or 'y'"),
    (Either((Whole(), None)), None, [], "a.b is a list of 0; expected an integer ≥ 0 or null"),
    (Listed(Whole(), length=2), [1, 2], [1], "a.b is a list of 1; expected a list of 2, each an integer ≥ 0"),
    (Listed(Whole()), [], [1, None], "a.b[1] is null; expected an integer ≥ 0"),
    (Record({"c": Whole()}), {"c": 1}, {}, "a.b.c is missing; expected an integer ≥ 0"),
    (Record({"c": Whole()}), {"c": 1}, {"c": 1, "d": 2}, "a.b.d is unknown; expected an entry such as c"),
    (Record(others=Whole()), {"c": 1}, {"c\n": "x"}, "a.b.c\\n is 'x'; expected an integer ≥ 0"),
])
def test_a_kind_says_where_and_what(kind, right, wrong, sentence):
    Record({"a": Record({"b": kind})}).check({"a": {"b": right}})
    with pytest.raises(Mismatch) as error:
        Record({"a": Record({"b": kind})}).check({"a": {"b": wrong}})
    assert str(error.value) == sentence


@pytest.mark.parametrize("array, sentence", [
    (np.zeros((2, 3)), "w is float64 (2, 3); expected float32 (2, 2)"),
    (np.zeros((2, 2), np.uint8), "w is uint8 (2, 2); expected float32 (2, 2)"),
    (np.array([[0, 1], [np.nan, 0]], np.float32), "w is not finite; expected finite numbers"),
    (np.array([[0, 1], [-np.inf, 0]], np.float32), "w is not finite; expected finite numbers"),
    (np.array([[0, 1], [-3, 0]], np.float32), "w is -3.0 in one place; expected numbers ≥ 0"),
])
def test_an_array_says_what_it_is(array, sentence):
    with pytest.raises(Mismatch) as error:
        Record({"w": Array("float32", (2, 2), least=0)}).check({"w": array})
    assert str(error.value) == sentence


def test_names_are_shown_on_one_line():
    assert printable("a\nb\x1b[31m\u202ec\udc80 ü∂") == "a\\nb\\x1b[31m\\u202ec\\udc80 ü∂"


# --- whole files ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content, part", [
    (b"\xff\xfe", "utf-8"),
    (b"", "Expecting value"),
    (b"[" * 100_000, "more than 20 levels"),
    (b"[" * 100_000 + b"]" * 100_000, "more than 20 levels"),
    (b'{"a":' * 30 + b"1" + b"}" * 30, "more than 20 levels"),
    (b"1" * 5000, "digits"),
    (b"[1]", "the content is a list of 1; expected an object"),
    (b"\x00" * 50, "not JSON"),
])
@pytest.mark.parametrize("name", ["config.json", "metrics.jsonl", "steps.jsonl", "evaluation.json"])
def test_no_json_or_another_kind_of_it(tmp_path, name, content, part):
    (tmp_path / name).write_bytes(content + b"\n")
    with pytest.raises(InputError) as error:
        if name == "config.json":
            Run.open(tmp_path)
        elif name == "evaluation.json":
            described.EVALUATION.read(tmp_path / name)
        else:
            Run(tmp_path, {}).read_lines(name)
    one_sentence(error, tmp_path / name, part)


def not_files(folder):
    """(what, path) of things that are not regular files."""
    folder.mkdir()
    os.mkfifo(folder / "pipe")
    (folder / "folder").mkdir()
    (folder / "zero").symlink_to("/dev/zero")
    with open(folder / "huge", "wb") as file:
        file.truncate(4 * 2**30)
    (folder / "dangling").symlink_to("nowhere")
    (folder / "circle").symlink_to("circle")
    return {name: folder / name for name in ("pipe", "folder", "zero", "huge", "dangling", "circle")}


@pytest.mark.parametrize("name, command", [
    ("config.json", ["evaluate", "ae"]),
    ("checkpoint.safetensors", ["evaluate", "ae"]),
    ("resume.safetensors", ["train", "--resume", "ae", "--epochs", 3]),
    ("metrics.jsonl", ["train", "--resume", "ae", "--epochs", 3]),
    ("steps.jsonl", ["train", "--resume", "ae", "--epochs", 3]),
    ("metrics.jsonl", ["curves", "ae", "--out", "c.png"]),
    ("codes.npz", ["decode", "ae", "ae/codes.npz"]),
])
def test_what_is_no_file_or_far_too_large_is_refused_at_once(scratch, trained, tmp_path, name, command):  # noqa: F811
    folder = Path(trained("ae"))
    for what, path in not_files(tmp_path / "others").items():
        target = folder / name
        if target.is_symlink() or target.exists():
            target.unlink()
        target.symlink_to(path)
        before = {path.name for path in folder.iterdir()}
        started = time.monotonic()
        assert_one_sentence(scratch(*command), name)
        assert time.monotonic() - started < 5, what
        assert {path.name for path in folder.iterdir()} == before


def test_names_with_control_characters_stay_on_one_line(scratch, trained):  # noqa: F811
    odd = "a\nb\x1b[31m"
    os.rename(trained("ae"), odd)
    command = ["train", "ae", *SMALL, *MODELS["ae"], "--out"]
    for argv in (["evaluate", f"{odd}x"], ["train", "--resume", f"{odd}x"], [*command, odd],
                 [*command, f"{odd}/x\n/y\0"], ["decode", odd, "c\n.npz"],
                 ["encode", odd, "--out", f"{odd}/config.json"]):
        assert_one_sentence(scratch(*argv), "\\n")
    Path(odd, "checkpoint.safetensors").write_bytes(b"")
    assert_one_sentence(scratch("evaluate", odd), "a\\nb\\x1b[31m/checkpoint.safetensors")
    (Path(odd) / "resume.safetensors").unlink()
    (Path(odd) / "checkpoint.safetensors").unlink()
    assert_one_sentence(scratch("train", "--resume", odd), "never saved", "a\\nb")


def test_a_folder_that_cannot_be_read_is_not_empty(scratch, trained, monkeypatch):  # noqa: F811
    """The tests may run as root, who may read everything, so the system's calls are replaced."""
    folder = trained("ae")

    def denied(path, *arguments, **options):
        if str(path).startswith("ae"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path, *arguments, **options)

    for name, command in (("open", ["evaluate", folder]), ("lstat", ["evaluate", folder]),
                          ("lstat", ["train", "--resume", folder]),
                          ("listdir", ["train", "ae", *SMALL, *MODELS["ae"], "--out", folder])):
        real = getattr(os, name)
        with monkeypatch.context() as patch:
            patch.setattr(os, name, denied)
            assert_one_sentence(scratch(*command), "ae", "Permission denied")


# --- config and position ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["vae", "vqvae"])
def test_every_mutation_of_a_config_is_refused_or_builds_a_model(trained, model):  # noqa: F811
    folder = Path(trained(model))
    whole = json.loads((folder / "config.json").read_text())
    accepted = {}
    for where, config in mutations(whole):
        (folder / "config.json").write_text(json.dumps(config))
        try:
            run = Run.open(folder)
        except InputError as error:
            one_sentence(error, folder / "config.json")
            continue
        accepted.setdefault(".".join(map(str, where)), []).append(run)
        if run.config != whole and where[0] != "data" and run.options["device"] == "cpu":
            try:
                make_model(run.options, run.config["data"]["image_shape"])
            except InputError as error:
                one_sentence(error)
    for name, runs in accepted.items():
        for run in runs:
            before, now = whole["options"].get(name[8:]), run.options.get(name[8:])
            numbers = isinstance(before, int | float) and isinstance(now, int | float)
            assert now is None or before is None or type(now) is type(before) or numbers, (name, now)
    never = {"program", "options", "options.model", "options.dtype", "data", "data.image_shape", "options.likelihood"}
    assert not never & accepted.keys()


@pytest.mark.parametrize("where, value, part", [
    ("options.limit", "x", "options.limit expected an integer ≥ 1 and ≤ 1000000000, got 'x': restore"),
    ("options.latent_dim", "16", "options.latent_dim expected an integer ≥ 1, got '16'"),
    ("options.latent_dim", 10**30, "options.latent_dim expected an integer ≤ 2147483647, got 10000"),
    ("options.dtype", "int32", "options.dtype expected float32 or float64, got 'int32'"),
    ("options.channels", [4, 0], "options.channels expected an integer ≥ 1, got 0"),
    ("options.lr", "linear:1", "options.lr expected a number or a schedule"),
    ("options.zzz", 3, "options: unknown option 'zzz': restore"),
    ("options.model", "gan", "options: unknown model 'gan': choose ae, vae, dvae, vqvae, vqvae2, prior or judge"),
    ("options.model", ["ae"], "options: unknown model ['ae']"),
    ("data.image_shape", None, "data.image_shape is null; expected a list of 3, each an integer from 1 to 65536"),
    ("data.image_shape", [16, 16], "data.image_shape is a list of 2"),
    ("program", "another", "program is 'another'; expected 'scratch' or 'torch_ref'"),
])
def test_a_config_says_where_what_and_what_to_do(scratch, trained, where, value, part):  # noqa: F811
    folder = Path(trained("ae"))
    config = json.loads((folder / "config.json").read_text())
    *path, name = where.split(".")
    inner = config
    for key in path:
        inner = inner[key]
    inner[name] = value
    (folder / "config.json").write_text(json.dumps(config))
    assert_one_sentence(scratch("evaluate", folder), "ae/config.json: ", part, "restore it, or train again")


def header_of(path):
    """(the header of a safetensors file, the bytes behind it)."""
    content = path.read_bytes()
    size = struct.unpack("<Q", content[:8])[0]
    return json.loads(content[8 : 8 + size]), content[8 + size :]


def write_header(path, header, rest):
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + rest)


def with_header(path, **changes):
    """Write a safetensors file again, with other metadata."""
    header, rest = header_of(path)
    header["__metadata__"] |= changes
    write_header(path, header, rest)


def trainer_for(run):

    return make_trainer(run.options, tuple(run.config["data"]["image_shape"]))[0]


@pytest.fixture
def stopped(scratch, no_pictures):  # noqa: F811
    """A run that was stopped inside an epoch; its file holds sums, code counts and means over steps."""
    command = ["train", "vqvae", *SMALL, *MODELS["vqvae"], "--steps", 4, "--log-steps", 3, "--workers", 1]
    assert scratch(*command, "--out", "stopped").status == 0
    return Path("stopped")


def test_every_mutation_of_a_position_is_refused_and_nothing_changes(stopped):
    whole = (stopped / "resume.safetensors").read_bytes()
    position = Run.resume(stopped)[2]
    accepted = set()
    for where, changed in mutations(position):
        (stopped / "resume.safetensors").write_bytes(whole)
        with_header(stopped / "resume.safetensors", position=json.dumps(changed))
        before = snapshot(stopped)
        try:
            run, tensors, found = Run.resume(stopped)
            with run:
                run.restore(trainer_for(run), tensors, found)
        except InputError as error:
            one_sentence(error, stopped / "resume.safetensors")
            assert snapshot(stopped) == before, where
        else:
            accepted.add(where[:2])
    free = {("totals", "sums"), ("totals", "latest"), ("totals", "seconds"), ("step_means", "sums")}
    free |= {("totals", "pending")}  # of which one wrong value, [], is the right one
    assert {where for where in accepted if where[0] != "environment"} <= free


def test_mutations_of_a_resumes_config_change_nothing(scratch, stopped):  # noqa: F811
    for changed in ("{", "[]", "[" * 9999, '{"options": {}}', "\ud800"):
        whole = (stopped / "resume.safetensors").read_bytes()
        with_header(stopped / "resume.safetensors", config=changed)
        before = snapshot(stopped)
        assert_one_sentence(scratch("train", "--resume", stopped, "--steps", 9), "stopped/resume.safetensors")
        assert snapshot(stopped) == before
        (stopped / "resume.safetensors").write_bytes(whole)


@pytest.mark.parametrize("name, content", [
    ("metrics.jsonl", b"\xff\n"), ("metrics.jsonl", b"[1]\n"), ("metrics.jsonl", b'{"loss": 1}\n'),
    ("metrics.jsonl", b'{"epoch": 1, "loss": "low"}\n'), ("metrics.jsonl", b'{"epoch": 1, "loss": NaN}\n'),
    ("steps.jsonl", b'{"step": "2"}\n'), ("steps.jsonl", b'{"st\n{"step": 3}\n'), ("steps.jsonl", b"\n"),
])
def test_lines_are_checked_before_anything_is_changed(scratch, stopped, name, content):  # noqa: F811
    (stopped / name).write_bytes(content)
    before = snapshot(stopped)
    assert_one_sentence(scratch("train", "--resume", stopped, "--steps", 9), f"stopped/{name}, line 1", "remove it")
    assert snapshot(stopped) == before
    (stopped / name).unlink()
    assert scratch("train", "--resume", stopped, "--steps", 9).status == 0


def test_curves_of_runs_that_share_no_metric(scratch, trained):  # noqa: F811
    one, two = Path(trained("ae")), Path(trained("vae"))
    (one / "metrics.jsonl").write_text('{"epoch": 1, "x": 1}\n')
    (two / "metrics.jsonl").write_text('{"epoch": 1, "y": 1}\n')
    assert_one_sentence(scratch("curves", one, two, "--out", "c.png"), "share no metric", "--metric")
    (one / "metrics.jsonl").write_text('{"epoch": 1, "held_out_psnr": Infinity}\n')  # of a perfect reconstruction
    assert Run.open(one).metrics() == [{"epoch": 1, "held_out_psnr": math.inf}]


def test_a_run_older_than_most_options_opens(trained):  # noqa: F811
    folder = Path(trained("vqvae"))
    now = Run.open(folder)
    config = json.loads((folder / "config.json").read_text())
    kept = ("model", "preset", "data", "data_root", "seed", "device", "dtype", "likelihood", "channels", "codes",
            "code_dim", "codebook_init", "commitment", "batch_size", "lr", "epochs")
    config["options"] = {name: config["options"][name] for name in kept} | {"beta": 0.1}  # the VAE's, once kept too
    (folder / "config.json").write_text(json.dumps(config))
    then = Run.open(folder)
    differing = {name for name in now.options if then.options[name] != now.options[name]}
    assert then.options.keys() == now.options.keys() and differing == {"image_size", "limit"}
    np.testing.assert_array_equal(
        Trained(then).encode(np.zeros((2, 16, 16, 3), np.float32)),
        Trained(now).encode(np.zeros((2, 16, 16, 3), np.float32)))


# --- tensors ----------------------------------------------------------------------------------------------------------

LAYER = "encoder.0.weight"


def replaced(state, name, value):
    return {**state, name: np.ascontiguousarray(value)}


def as_dtype(path, name, dtype, width):
    """Give a tensor of a safetensors file another dtype, of `width` bytes a number, that NumPy does not have."""
    state, metadata = load_file(path), files.read_header(path)
    state[name] = np.zeros((*state[name].shape, width), np.uint8)
    save_file(state, path, metadata=metadata)
    header, rest = header_of(path)
    header[name].update(dtype=dtype, shape=header[name]["shape"][:-1])
    write_header(path, header, rest)


WRONG_TENSORS = {
    "nan": lambda w: np.where(np.arange(w.size).reshape(w.shape) == 5, np.float32(np.nan), w),
    "infinite": lambda w: np.where(np.arange(w.size).reshape(w.shape) == 5, np.float32(np.inf), w),
    "uint8": lambda w: w.astype(np.uint8),
    "bool": lambda w: w > 0,
    "complex64": lambda w: w.astype(np.complex64),
    "float64": lambda w: w.astype(np.float64),
    "float16": lambda w: w.astype(np.float16),
    "int64": lambda w: w.astype(np.int64),
    "shape": lambda w: w[:1],
    "axes": lambda w: w[..., None],
}


@pytest.mark.parametrize("wrong", WRONG_TENSORS)
def test_weights_that_are_no_weights_are_refused_by_name(scratch, trained, wrong):  # noqa: F811
    folder = Path(trained("ae"))
    path = folder / "checkpoint.safetensors"
    state = load_file(path)
    save_file(replaced(state, LAYER, WRONG_TENSORS[wrong](state[LAYER])), path)
    for command in (["evaluate", folder], ["reconstruct", folder], ["sample", folder], ["encode", folder]):
        assert_one_sentence(scratch(*command), path, LAYER, "does not fit the ae")


@pytest.mark.parametrize("dtype, width", [("BF16", 2), ("F8_E4M3", 1), ("F8_E5M2", 1)])
def test_a_checkpoint_in_another_precision(scratch, trained, dtype, width):  # noqa: F811
    for model, name, command in (("ae", "checkpoint.safetensors", ["evaluate", "ae"]),
                                 ("vae", "resume.safetensors", ["train", "--resume", "vae"])):
        path = Path(trained(model), name)
        name = LAYER if model == "ae" else f"model.{LAYER}"
        as_dtype(path, name, dtype, width)
        assert_one_sentence(scratch(*command), path, name, "bfloat16" if dtype == "BF16" else dtype, "expected")


def test_extra_and_missing_tensors(scratch, trained):  # noqa: F811
    folder = Path(trained("ae"))
    state = load_file(folder / "checkpoint.safetensors")
    save_file({**state, "ex\ntra": np.zeros(2, np.float32)}, folder / "checkpoint.safetensors")
    assert_one_sentence(scratch("evaluate", folder), "ex\\ntra is unknown")
    del state[LAYER]
    save_file(state, folder / "checkpoint.safetensors")
    assert_one_sentence(scratch("evaluate", folder), f"{LAYER} is missing")


@pytest.mark.parametrize("name, change, part", [
    (f"optimizer.m.{LAYER}", lambda value: value[:1], "optimizer.m"),
    (f"optimizer.m.{LAYER}", lambda value: value[:1, :1, :1, :1].reshape(()), "optimizer.m"),  # would broadcast
    (f"optimizer.m.{LAYER}", lambda value: value > 0, "bool"),
    (f"optimizer.m.{LAYER}", lambda value: value * np.nan, "not a number"),
    (f"optimizer.v.{LAYER}", lambda value: value - 1, "numbers ≥ 0"),
    (f"optimizer.v.{LAYER}", None, "missing"),
    ("optimizer.w.x", lambda value: np.zeros(1, np.float32), "unknown"),
    (f"model.{LAYER}", lambda value: value * np.inf, "not finite"),
    (f"model.{LAYER}", lambda value: value.astype(np.float64), "float64"),
    ("counts.", lambda value: value - 1000, "-"),
    ("counts.", lambda value: value[:3], "(3,)"),
    ("counts.", lambda value: value.astype(np.float32), "float32"),
    ("counts.", None, "missing"),
    ("counts.x", lambda value: np.zeros(16, np.int64), "unknown"),
    ("x", lambda value: np.zeros(16, np.int64), "unknown"),
])
def test_what_cannot_be_resumed_changes_nothing(scratch, stopped, name, change, part):  # noqa: F811
    path = stopped / "resume.safetensors"
    tensors, metadata = load_file(path), files.read_header(path)
    with np.errstate(invalid="ignore"):
        if change is None:
            del tensors[name]
        else:
            tensors[name] = np.ascontiguousarray(change(tensors.get(name)))
    save_file(tensors, path, metadata=metadata)
    before = snapshot(stopped)
    assert_one_sentence(scratch("train", "--resume", stopped, "--steps", 9), path, name, part)
    assert snapshot(stopped) == before


@pytest.mark.parametrize("name", [".running_var", ".num_batches_tracked", ".counts", ".idle"])
def test_a_count_is_never_negative(scratch, name):  # noqa: F811
    options = [*SMALL[2:], *MODELS["vqvae"], "--network", "residual", "--hidden", 8, "--norm", "batch",
               "--codebook-update", "ema", "--restart-after", 5, "--epochs", 1]
    assert scratch("train", "vqvae", *options, "--out", "run").status == 0
    state = load_file("run/checkpoint.safetensors")
    found = next(key for key in state if key.endswith(name))
    save_file({**state, found: np.asarray(state[found] - 1000)}, "run/checkpoint.safetensors")
    assert_one_sentence(scratch("evaluate", "run"), found, "numbers ≥ 0")


# --- writing ----------------------------------------------------------------------------------------------------------


def test_a_place_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "null").symlink_to("/dev/null")
    for name, part in (("no/such/x", "does not exist: make it"), ("file/x", "file is not a folder"),
                       ("file/x/y", "not a folder"), ("folder", "it is a folder"), ("pipe", "it is a named pipe"),
                       ("null", "it is a device"), ("nul\0", "null")):
        for write in (files.write_atomically, files.append):
            with pytest.raises(InputError) as error:
                write(tmp_path / name, b"x")
            one_sentence(error, printable(tmp_path / name), "cannot be written", part)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder", "null", "pipe"]
    for number in (errno.EACCES, errno.EROFS):
        def denied(*arguments, number=number):
            raise OSError(number, os.strerror(number))

        with monkeypatch.context() as patch:
            patch.setattr(os, "open", denied)
            with pytest.raises(InputError) as error:
                files.write_atomically(tmp_path / "x", b"x")
        one_sentence(error, tmp_path / "x", os.strerror(number), "choose another folder")


@pytest.mark.parametrize("function", ["fsync", "replace", "open"])
def test_a_full_disk_names_the_path_and_changes_nothing(tmp_path, monkeypatch, function):
    (tmp_path / "x").write_bytes(b"before")

    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device", str(arguments[0]))

    with monkeypatch.context() as patch:
        patch.setattr(os, function, full)
        with pytest.raises(OSError) as error:
            files.write_atomically(tmp_path / "x", b"after")
    assert error.value.filename == str(tmp_path / "x") and error.value.errno == errno.ENOSPC
    assert snapshot(tmp_path) == {"x": b"before"}


def test_a_line_is_added_whole_or_not_at_all(tmp_path):
    resource = pytest.importorskip("resource", reason="the system sets no limits of resources")
    path = tmp_path / "steps.jsonl"
    files.append(path, b"one\n")
    import signal

    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, limits[1]))  # as a disk with room for ten bytes
        with pytest.raises(OSError) as error:
            files.append(path, b"a longer line\n")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert error.value.filename == str(path) and path.read_bytes() == b"one\n"
    files.append(path, b"two\n")
    assert path.read_bytes() == b"one\ntwo\n"


def test_what_is_written_has_the_usual_permissions_and_long_names_fit(tmp_path):
    umask = os.umask(0o027)
    try:
        files.write_atomically(tmp_path / ("ä" * 120), b"x")
    finally:
        os.umask(umask)
    assert stat.S_IMODE(os.stat(tmp_path / ("ä" * 120)).st_mode) == 0o640


# --- latents ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def encoded(scratch, trained):  # noqa: F811
    """encoded(model) -> (its folder, what is in its codes.npz)."""

    def encode(model):
        folder = trained(model)
        assert scratch("encode", folder, "--limit", 6).status == 0
        with np.load(f"{folder}/codes.npz") as file:
            return folder, {name: file[name] for name in file.files}

    return encode


@pytest.mark.parametrize("model, changes, part", [
    ("ae", {"latents": lambda a: a * np.float32(np.nan)}, "latents is not finite"),
    ("ae", {"latents": lambda a: a[:0]}, "latents is float32 (0, 6); expected float32 (N, 6)"),
    ("ae", {"latents": lambda a: a.astype(np.float64)}, "float64"),
    ("ae", {"latents": lambda a: a.astype(complex)}, "complex128"),
    ("ae", {"latents": lambda a: a.astype(object)}, "object"),
    ("ae", {"latents": None}, "latents is missing"),
    ("ae", {"more": lambda a: np.zeros(3)}, "more is unknown"),
    ("vqvae", {"codes": lambda a: a.astype(np.float32)}, "float32 (6, 4, 4); expected uint8 (N, 4, 4)"),
    ("vqvae", {"codes": lambda a: a.astype(np.int8) - 3}, "int8"),
    ("vqvae", {"codes": lambda a: np.full_like(a, 16)}, "16 in one place; expected numbers from 0 to 15"),
    ("vqvae", {"codes": lambda a: a[0]}, "(4, 4)"),
    ("vqvae2", {"codes_top": lambda a: a[:3]}, "unlike numbers of images"),
    ("vqvae2", {"codes_top": None}, "codes_top is missing"),
])
def test_arrays_that_are_no_latents_of_the_run(scratch, encoded, model, changes, part):  # noqa: F811
    folder, arrays = encoded(model)
    for name, change in changes.items():
        if change is None:
            del arrays[name]
        else:
            arrays[name] = change(arrays.get(name))
    np.savez("changed.npz", **arrays)
    assert_one_sentence(scratch("decode", folder, "changed.npz", "--out", "back.npz"), "changed.npz", part)
    assert not Path("back.npz").exists()


def test_what_stands_beside_the_latents(scratch, encoded):  # noqa: F811
    folder, arrays = encoded("vqvae2")
    about = json.loads(str(arrays["about"]))
    trained_run = Trained(Run.open(folder))
    expected = read_latents(f"{folder}/codes.npz", trained_run)
    for _, changed in mutations(about):
        np.savez("changed.npz", **{**arrays, "about": np.array(json.dumps(changed))})
        with pytest.raises(InputError) as error:
            read_latents(Path("changed.npz"), trained_run)
        one_sentence(error, "changed.npz")
    for text in ("", "[" * 99999, "\x00", "{", "é" * 2**19):
        np.savez("changed.npz", **{**arrays, "about": np.array(text)})
        with pytest.raises(InputError) as error:
            read_latents(Path("changed.npz"), trained_run)
        one_sentence(error, "changed.npz", "give decode what encode wrote")
    np.savez("same.npz", **arrays)
    for ours, theirs in zip(read_latents(Path("same.npz"), trained_run), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_archives_that_are_damaged_encrypted_or_compressed_otherwise(encoded):
    folder, arrays = encoded("ae")
    trained_run, whole = Trained(Run.open(folder)), Path(folder, "codes.npz").read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for position in range(0, len(whole), 7):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << int(rng.integers(8))
        Path("damaged.npz").write_bytes(damaged)
        try:
            np.testing.assert_array_equal(read_latents(Path("damaged.npz"), trained_run), arrays["latents"])
        except InputError as error:  # a date may be damaged and nothing is lost; latents may not
            one_sentence(error, "damaged.npz")
            refused += 1
    assert refused > len(whole) // 7 // 2
    for size in range(0, len(whole), 101):
        Path("damaged.npz").write_bytes(whole[:size])
        with pytest.raises(InputError):
            read_latents(Path("damaged.npz"), trained_run)
    for compression in (zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2):
        with zipfile.ZipFile(f"{folder}/codes.npz") as source, zipfile.ZipFile("other.npz", "w", compression) as target:
            for name in source.namelist():
                target.writestr(name, source.read(name))
        np.testing.assert_array_equal(read_latents(Path("other.npz"), trained_run), arrays["latents"])
        damaged = bytearray(Path("other.npz").read_bytes())
        for position in range(60, len(damaged), 11):
            damaged[position] ^= 255
        Path("other.npz").write_bytes(damaged)
        with pytest.raises(InputError):
            read_latents(Path("other.npz"), trained_run)
    for flag, method in ((1, 8), (0, 99)):  # encrypted; a compression that nobody knows
        changed = bytearray(whole)
        for start in (index for index in range(len(whole)) if whole[index : index + 4] in (b"PK\x03\x04", b"PK\1\2")):
            offset = start + (6 if whole[start + 2] == 3 else 8)
            changed[offset : offset + 4] = struct.pack("<HH", flag, method)
        Path("changed.npz").write_bytes(changed)
        with pytest.raises(InputError) as error:
            read_latents(Path("changed.npz"), trained_run)
        one_sentence(error, "changed.npz", "damaged or not a file of")


def test_an_archive_that_would_unpack_to_gigabytes_is_refused_unread(encoded):
    folder, arrays = encoded("ae")
    with zipfile.ZipFile("bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("about", "latents"):
            with archive.open(f"{name}.npy", "w") as file:
                if name == "about":
                    np.lib.format.write_array(file, arrays["about"])
                else:
                    header = {"descr": "<f4", "fortran_order": False, "shape": (10**10, 6)}
                    np.lib.format.write_array_header_1_0(file, header)
                    file.write(bytes(2**20))
    with pytest.raises(InputError) as error:
        read_latents(Path("bomb.npz"), Trained(Run.open(folder)))
    one_sentence(error, "bomb.npz", "more than 2,147,483,648 bytes")


def test_decode_writes_over_nothing_that_it_reads(scratch, encoded):  # noqa: F811
    folder, _ = encoded("ae")
    os.rename(f"{folder}/codes.npz", "c.npz")
    os.symlink("c.npz", "link.npz")
    whole = Path("c.npz").read_bytes()
    for out in ("c.npz", "./c.npz", "link.npz"):
        assert_one_sentence(scratch("decode", folder, "c.npz", "--out", out), "over the file that it reads")
    assert_one_sentence(scratch("decode", folder, "c.npz", "--out", "y.png"), "y.npz")
    assert_one_sentence(scratch("decode", folder, "c.npz", "--out", f"{folder}/resume.safetensors"), "the run itself")
    for command in (["encode", folder], ["sample", folder], ["curves", folder]):
        assert_one_sentence(scratch(*command, "--out", f"{folder}/config.json"), "config.json", "the run itself")
    assert Path("c.npz").read_bytes() == whole and not Path("y.png").exists()
    assert scratch("decode", folder, "c.npz", "--out", "y.npz").status == 0 and Path("y.png").exists()


def test_latents_that_are_not_finite_are_not_written(scratch, encoded, monkeypatch):  # noqa: F811
    folder, _ = encoded("ae")
    before = snapshot(folder)
    encode = Trained.encode
    monkeypatch.setattr(Trained, "encode", lambda self, images: encode(self, images) * np.float32(np.nan))
    assert_one_sentence(scratch("encode", folder), "codes-2.npz is not written", "latents is not finite")
    assert snapshot(folder) == before


def test_encode_leaves_no_half_file(scratch, encoded, monkeypatch):  # noqa: F811
    folder, _ = encoded("ae")
    before = snapshot(folder)

    def full(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    for command in (["encode", folder], ["decode", folder, f"{folder}/codes.npz"], ["sample", folder]):
        result = scratch(*command)
        assert result.status == 2 and "No space left on device" in result.err and folder in result.err
        assert snapshot(folder) == before


# --- sweeps -----------------------------------------------------------------------------------------------------------


def test_every_mutation_of_an_evaluation_is_read_or_refused(tmp_path):
    whole = {"about": {"version": 1, "updates": 9}, "figures": {"psnr": math.inf, "kl": [1.0, 2], "no_elbo": "no"}}
    path = tmp_path / "evaluation.json"
    described.EVALUATION.write(path, whole)
    assert described.EVALUATION.read(path) == whole
    described.EVALUATION.write(path, {**whole, "figures": {"mig": math.nan}})
    assert math.isnan(described.EVALUATION.read(path)["figures"]["mig"])
    for where, changed in mutations(whole):
        path.write_text(json.dumps(changed))
        try:
            found = described.EVALUATION.read(path)
        except InputError as error:
            one_sentence(error, path, "measured again")
        else:
            assert where[0] == "figures" or type(found["about"][where[1]]) is int
