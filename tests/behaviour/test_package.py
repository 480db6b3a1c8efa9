"""The package that pip makes of the repository: every room is in it, and it works where there is no clone."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("scratch", "torch_ref", "data_utils")


def pip(*arguments, cwd):
    done = subprocess.run([sys.executable, "-m", "pip", "--disable-pip-version-check", *map(str, arguments)],
                          cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def modules():
    """Every module of the repository's packages: {path below the root}."""
    return {path.relative_to(ROOT).as_posix() for room in ROOMS for path in (ROOT / room).rglob("*.py")}


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    """The wheel of a clean copy: a build in the clone would leave files there, and find those of earlier builds."""
    folder = tmp_path_factory.mktemp("wheel")
    for room in ROOMS:
        shutil.copytree(ROOT / room, folder / "source" / room, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / "source")
    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, folder / "source", cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="session")
def installed(wheel, tmp_path_factory):
    """A folder in which the wheel is installed, and nothing else."""
    target = tmp_path_factory.mktemp("installed")
    pip("install", "--no-deps", "--no-index", "--target", target, wheel, cwd=target.parent)
    return target


def outside(installed, folder, *arguments):
    """Python in a folder outside the clone, with the installed package on its path and the clone not."""
    done = subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": str(installed)})
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_wheel_holds_every_module_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert held == modules()


def test_every_folder_with_modules_is_a_package():
    folders = {(ROOT / path).parent for path in modules()}
    assert len(folders) > 20
    assert [folder for folder in sorted(folders) if not (folder / "__init__.py").exists()] == []


def test_it_needs_what_it_imports(wheel):
    """The light core is enough for `scratch`: its dependencies are those of pyproject.toml."""
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        text = archive.read(metadata).decode()
    needed = {line.split(":")[1].split(">")[0].strip() for line in text.splitlines()
              if line.startswith("Requires-Dist") and "extra ==" not in line}
    assert needed == {"numpy", "matplotlib", "pillow", "safetensors", "threadpoolctl", "tqdm"}


def test_every_module_imports_outside_the_clone(installed, tmp_path):
    names = sorted(path.removesuffix(".py").replace("/", ".").removesuffix(".__init__") for path in modules())
    names = [name for name in names if not name.endswith("__main__")]
    script = ("import importlib, sys\n"
              f"for name in {names!r}:\n"
              "    print(importlib.import_module(name).__file__)\n")
    files = outside(installed, tmp_path, "-c", script).splitlines()
    assert len(files) == len(names) > 150
    assert all(Path(file).is_relative_to(installed) for file in files)


def test_it_trains_outside_the_clone(installed, tmp_path):
    printed = outside(installed, tmp_path, "-m", "scratch", "train", "vqvae", "--limit", "40", "--epochs", "1",
                      "--channels", "4,8,8", "--out", "run")
    assert "epoch 1: loss" in printed
    shown = outside(installed, tmp_path, "-m", "scratch", "evaluate", "run", "--json")
    assert '"images": 40' in shown
    script = "import scratch; print(scratch.__file__, scratch.load('run').options['model'])"
    file, model = outside(installed, tmp_path, "-c", script).split()
    assert Path(file).is_relative_to(installed) and model == "vqvae"


def test_exercises_work_outside_the_clone(installed, tmp_path):
    """The exercises' files are read from the wheel, and the process that checks one finds the same package."""
    assert "learn check exercises/relu.py" in outside(installed, tmp_path, "-m", "scratch", "learn", "start", "relu")
    text = (tmp_path / "exercises/relu.py").read_text()
    assert "dx = ...  # TODO" in text
    (tmp_path / "exercises/relu.py").write_text(text.replace("dx = ...", "dx = dy * (x > 0)"))
    assert outside(installed, tmp_path, "-m", "scratch", "learn", "check", "relu").endswith("relu: all right.\n")
    script = ("from scratch.learn import check\n"
              "print(check('exercises/relu.py').ok, check('relu', lambda dy, x: dy).ok)")
    assert outside(installed, tmp_path, "-c", script) == "True False\n"
