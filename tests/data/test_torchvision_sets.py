"""torchvision's sets, read from small fabricated files, and from the real ones where they are at hand."""

import gzip
import os
import pickle
import struct
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from data_utils import DataError, load, set_files
from data_utils.torchvision_sets import CLASS_NAMES, CLASSES

RNG = np.random.default_rng(0)
TRAIN, TEST = 6, 4  # images in the fabricated sets


@pytest.fixture
def datasets():
    return pytest.importorskip("torchvision.datasets", reason="torchvision is not installed")


def random_images(count, *shape):
    return RNG.integers(0, 256, (count, *shape), dtype=np.uint8)


def write_idx(path, array):
    """The format of MNIST's files: two zeros, type 8 (bytes), number of axes, their lengths, the bytes."""
    path.write_bytes(struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes())


@pytest.fixture
def unpublished(monkeypatch):
    """Within a test the files need not be the published ones."""
    monkeypatch.setattr(set_files, "CHECKSUMS", {name: {} for name in set_files.CHECKSUMS})


@pytest.fixture(params=["mnist", "fashion-mnist"])
def mnist(request, tmp_path, unpublished):
    """A small set in the form of MNIST: its name, its folder, and for each split images and labels."""
    raw = tmp_path / CLASSES[request.param] / "raw"
    raw.mkdir(parents=True)
    splits = {}
    for split, count in (("train", TRAIN), ("t10k", TEST)):
        images, labels = random_images(count, 28, 28), RNG.integers(0, 10, count, dtype=np.uint8)
        write_idx(raw / f"{split}-images-idx3-ubyte", images)
        write_idx(raw / f"{split}-labels-idx1-ubyte", labels)
        splits[split] = images, labels
    return request.param, tmp_path, splits


def test_mnist_and_its_like(mnist):
    name, root, splits = mnist
    data = load(name, root=root)
    assert data.describe() == f"{name}: {TRAIN} training and {TEST} held-out images of 28×28×1"
    assert data.train.dtype == data.held_out.dtype == np.uint8
    np.testing.assert_array_equal(data.train[..., 0], splits["train"][0])
    np.testing.assert_array_equal(data.held_out[..., 0], splits["t10k"][0])
    np.testing.assert_array_equal(data.factors["label"], splits["train"][1])
    np.testing.assert_array_equal(data.held_out_factors["label"], splits["t10k"][1])


def test_the_folder_is_data_unless_given(mnist, monkeypatch):
    name, root, splits = mnist
    (root / "data").mkdir()
    next(root.glob("*MNIST")).rename(root / "data" / CLASSES[name])
    monkeypatch.chdir(root)
    np.testing.assert_array_equal(load(name).train[..., 0], splits["train"][0])


@pytest.mark.parametrize("limit", [1, 5, 100])
def test_a_limit_keeps_the_first_of_each_split(mnist, limit):
    name, root, _ = mnist
    full, part = load(name, root=root), load(name, root=root, limit=limit)
    np.testing.assert_array_equal(part.train, full.train[:limit])
    np.testing.assert_array_equal(part.held_out, full.held_out[:limit])
    np.testing.assert_array_equal(part.factors["label"], full.factors["label"][:limit])
    np.testing.assert_array_equal(part.held_out_factors["label"], full.held_out_factors["label"][:limit])


def test_grey_images_are_resized(mnist):
    name, root, _ = mnist
    full, small = load(name, root=root), load(name, root=root, image_size=1)
    assert small.describe().endswith("1×1×1")
    # One pixel for all 784: about their mean, which for noise is near the middle.
    np.testing.assert_allclose(small.train.ravel(), full.train.mean(axis=(1, 2, 3)), atol=12)
    np.testing.assert_array_equal(load(name, root=root, image_size=28).train, full.train)
    assert load(name, root=root, image_size=32).train.shape == (TRAIN, 32, 32, 1)


@pytest.fixture
def cifar10(tmp_path, unpublished):
    """A small CIFAR-10: five training batches of two images, one test batch; returns folder, images, labels."""
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    images, labels = random_images(12, 3, 32, 32), RNG.integers(0, 10, 12)
    names = [f"data_batch_{number}" for number in range(1, 6)] + ["test_batch"]
    for index, name in enumerate(names):
        part = slice(2 * index, 2 * index + 2)
        content = {"data": images[part].reshape(2, 3072), "labels": labels[part].tolist()}
        (folder / name).write_bytes(pickle.dumps(content))
    return tmp_path, images, labels


def test_cifar10_has_its_channels_last(cifar10):
    root, images, labels = cifar10
    data = load("cifar10", root=root)
    assert data.describe() == "cifar10: 10 training and 2 held-out images of 32×32×3"
    np.testing.assert_array_equal(data.train, images[:10].transpose(0, 2, 3, 1))
    np.testing.assert_array_equal(data.held_out, images[10:].transpose(0, 2, 3, 1))
    np.testing.assert_array_equal(data.factors["label"], labels[:10])
    np.testing.assert_array_equal(data.held_out_factors["label"], labels[10:])


def test_colour_images_are_resized_channel_by_channel(cifar10):
    root, images, _ = cifar10
    small = load("cifar10", root=root, image_size=1)
    np.testing.assert_allclose(small.train[:, 0, 0], images[:10].mean(axis=(2, 3)), atol=12)


@pytest.fixture
def svhn(tmp_path, datasets, monkeypatch):
    """A small SVHN: scipy's reader is replaced, since it need not be installed; returns folder, images, labels."""
    contents = {}
    for split, count in (("train", TRAIN), ("test", TEST)):
        images, labels = random_images(count, 32, 32, 3), RNG.integers(1, 11, count, dtype=np.uint8)
        labels[0] = 10  # how the files write the digit 0
        contents[f"{split}_32x32.mat"] = images, labels
        (tmp_path / f"{split}_32x32.mat").touch()

    def loadmat(path):
        images, labels = contents[Path(path).name]
        return {"X": images.transpose(1, 2, 3, 0), "y": labels[:, None].copy()}

    scipy = types.ModuleType("scipy")
    scipy.io = types.ModuleType("scipy.io")
    scipy.io.loadmat = loadmat
    monkeypatch.setitem(sys.modules, "scipy", scipy)
    monkeypatch.setitem(sys.modules, "scipy.io", scipy.io)
    monkeypatch.setattr(datasets.svhn, "check_integrity", lambda path, md5: os.path.isfile(path))
    return tmp_path, contents


def test_svhn_has_its_channels_last(svhn):
    root, contents = svhn
    data = load("svhn", root=root)
    assert data.describe() == f"svhn: {TRAIN} training and {TEST} held-out images of 32×32×3"
    for images, factors, split in (
        (data.train, data.factors, "train"),
        (data.held_out, data.held_out_factors, "test"),
    ):
        np.testing.assert_array_equal(images, contents[f"{split}_32x32.mat"][0])
        np.testing.assert_array_equal(factors["label"], contents[f"{split}_32x32.mat"][1] % 10)


# --- refusals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "download"), [
    ("cifar10", True), ("mnist", True), ("fashion-mnist", True), ("svhn", True), ("svhn", False)])
def test_without_torchvision_the_way_to_install_it_is_told(name, download, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(DataError, match=f"{name} needs a package .*torchvision.*: pip install torch torchvision"):
        load(name, root=tmp_path, download=download)


def test_without_scipy_the_way_to_install_it_is_told(svhn, monkeypatch):
    root, _ = svhn
    monkeypatch.setitem(sys.modules, "scipy.io", None)
    monkeypatch.setitem(sys.modules, "scipy", None)
    with pytest.raises(DataError, match=r"svhn needs a package .*scipy.*: pip install torch torchvision scipy"):
        load("svhn", root=root)


@pytest.mark.parametrize("name", ["cifar10", "mnist", "fashion-mnist"])
def test_missing_data(name, tmp_path):
    with pytest.raises(DataError) as caught:
        load(name, root=tmp_path / "nowhere")
    for hint in (name, str(tmp_path / "nowhere"), "--download", "--data-root DIR"):
        assert hint in str(caught.value)


def test_missing_svhn(svhn):
    root, _ = svhn
    (root / "test_32x32.mat").unlink()
    with pytest.raises(DataError, match=r"svhn is missing .*--download"):
        load("svhn", root=root)


@pytest.mark.parametrize("download", [False, True])
@pytest.mark.parametrize("kept", [0, 10, 1000])
def test_damaged_files(mnist, download, kept, datasets):
    name, root, _ = mnist
    file = next(root.glob("*/raw/t10k-images*"))
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(DataError, match="delete its files" if download else "or damaged") as caught:
        load(name, root=root, download=download)
    assert str(root) in str(caught.value)
    assert caught.value.__cause__ is not None


def test_a_failed_download_tells_its_cause(tmp_path, datasets, monkeypatch):
    def no_network(*args, **kwargs):
        raise OSError("the network\nis down")

    monkeypatch.setattr(datasets.mnist, "download_and_extract_archive", no_network)
    with pytest.raises(DataError, match=r"could not be fetched .*\(the network is down\): check the connection"):
        load("mnist", root=tmp_path, download=True)


# --- files that torchvision reads, and that do not fit together ------------------------------------------------------


def assert_unfit(name, root, *parts):
    """Loading is refused in one sentence with these parts, which names the folder and says what to do."""
    with pytest.raises(DataError) as caught:
        load(name, root=root)
    message = str(caught.value)
    assert message.startswith(f"the files of {name} in the folder {str(root)!r} hold ")
    assert message.endswith(": delete them and fetch them again with --download")
    assert all(part in message for part in parts), message


IMAGES, LABELS = RNG.integers(0, 256, (6, 28, 28), dtype=np.uint8), np.arange(6, dtype=np.uint8)


@pytest.mark.parametrize(("split", "said"), [("train", "in its training split"), ("t10k", "in its test split")])
@pytest.mark.parametrize(
    ("images", "labels", "problem"),
    [
        (IMAGES, LABELS[:5], "6 images and 5 labels"),
        (IMAGES[:5], LABELS, "5 images and 6 labels"),
        (IMAGES[:, :20], LABELS, "images of 20×28 pixels, which are not square,"),
        (IMAGES, LABELS + 5, "the label 10, which is not from 0 to 9,"),
        (IMAGES, LABELS + 250, "the label 250, which is not from 0 to 9,"),
    ],
)
def test_idx_files_that_do_not_fit_together(mnist, split, said, images, labels, problem):
    name, root, _ = mnist
    raw = next(root.glob("*/raw"))
    write_idx(raw / f"{split}-images-idx3-ubyte", images)
    write_idx(raw / f"{split}-labels-idx1-ubyte", labels)
    assert_unfit(name, root, f"{problem} {said}")


@pytest.mark.parametrize("split", ["train", "t10k"])
@pytest.mark.parametrize(
    ("images", "labels", "problem"),
    [(IMAGES, LABELS[:0], "6 images and 0 labels"), (IMAGES[:0], LABELS[:0], "no images"),
     (IMAGES[:, :0], LABELS, "no images")],
)
def test_empty_idx_files(mnist, split, images, labels, problem):
    name, root, _ = mnist
    raw = next(root.glob("*/raw"))
    write_idx(raw / f"{split}-images-idx3-ubyte", images)
    write_idx(raw / f"{split}-labels-idx1-ubyte", labels)
    assert_unfit(name, root, problem)


def pack(path):
    """Replace a file by itself compressed, and return the new path."""
    packed = path.with_name(f"{path.name}.gz")
    packed.write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    return packed


def test_compressed_idx_files(mnist):
    name, root, splits = mnist
    before = load(name, root=root)
    for path in next(root.glob("*/raw")).iterdir():
        pack(path)
    after = load(name, root=root)
    np.testing.assert_array_equal(after.train, before.train)
    np.testing.assert_array_equal(after.held_out_factors["label"], before.held_out_factors["label"])


@pytest.mark.parametrize("change", [
    lambda content: content[:-9], lambda content: content[:20], lambda content: b"", lambda content: b"x" + content[1:],
    lambda content: content[:40] + bytes([content[40] ^ 255]) + content[41:]])
def test_damaged_compressed_files(mnist, change):
    name, root, _ = mnist
    packed = pack(next(root.glob("*/raw/train-images*")))
    packed.write_bytes(change(packed.read_bytes()))
    with pytest.raises(DataError, match=f"{name} is missing from the folder .* or damaged"):
        load(name, root=root)


@pytest.mark.parametrize(("head", "said"), [
    (b"\0\0\x08\x01", "is no idx file of bytes with 3 axes"), (b"\0\0\x0d\x03", "is no idx file of bytes with 3 axes"),
    (b"\0\0\x08\x03\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", "4294967295×4294967295×4294967295")])
def test_idx_files_that_promise_something_else(mnist, head, said):
    name, root, _ = mnist
    path = next(root.glob("*/raw/train-images*"))
    path.write_bytes(head + path.read_bytes()[len(head):])
    with pytest.raises(DataError, match=f"damaged .*train-images-idx3-ubyte .*{said}"):
        load(name, root=root)


@pytest.mark.parametrize("name", set_files.CHECKSUMS)
def test_a_file_that_is_not_the_published_one_is_not_read(name, tmp_path):
    folder = tmp_path / ("cifar-10-batches-py" if name == "cifar10" else f"{CLASSES[name]}/raw")
    folder.mkdir(parents=True)
    first = next(iter(set_files.CHECKSUMS[name]))
    (folder / first).write_bytes(b"something else")
    with pytest.raises(DataError, match=f"{first} is not the published file: its MD5 is not [0-9a-f]{{32}}\\)"):
        load(name, root=tmp_path)


class RunsAProgram:
    def __reduce__(self):
        return os.mkdir, ("ran",)


@pytest.mark.parametrize("content", [
    RunsAProgram(), {"data": np.zeros((2, 3072), np.uint8), "labels": [0, 1], "more": RunsAProgram()},
    {"labels": {1}}, [1, 2], {"data": [1, 2], "labels": [1, 2]}, {"data": np.zeros((2, 9), np.uint8), "labels": [1, 2]},
    {"data": np.zeros((2, 3072), np.uint8), "labels": 7}, {"data": np.zeros((2, 3072), np.uint8)}])
def test_pickles_that_hold_something_else_are_not_read(cifar10, content, monkeypatch, tmp_path):
    root, _, _ = cifar10
    monkeypatch.chdir(tmp_path)
    (root / "cifar-10-batches-py" / "data_batch_2").write_bytes(pickle.dumps(content))
    with pytest.raises(DataError, match=r"cifar10 is missing from the folder .* or damaged \(data_batch_2 "):
        load("cifar10", root=root)
    assert not os.path.exists("ran")


def test_they_are_read_without_pytorch(mnist):
    name, root, _ = mnist
    program = (f"import sys; from data_utils import load, set_files; set_files.CHECKSUMS = {{{name!r}: {{}}}}; "
               f"load({name!r}, root={str(root)!r}); sys.exit('torch' in sys.modules or 'torchvision' in sys.modules)")
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_splits_of_different_sizes(mnist):
    name, root, _ = mnist
    write_idx(next(root.glob("*/raw")) / "t10k-images-idx3-ubyte", random_images(TEST, 20, 20))
    assert_unfit(name, root, "training images of 28×28×1 and test images of 20×20×1")


def test_a_limit_hides_no_damage(mnist):
    """The whole files are checked before the first images are taken."""
    name, root, _ = mnist
    write_idx(next(root.glob("*/raw")) / "train-labels-idx1-ubyte", LABELS[:5])
    with pytest.raises(DataError, match="6 images and 5 labels in its training split"):
        load(name, root=root, limit=2)


@pytest.mark.parametrize(
    ("file", "content", "problem"),
    [
        ("data_batch_2", {"labels": [1]}, "10 images and 9 labels in its training split"),
        ("test_batch", {"labels": [1, 2, 3]}, "2 images and 3 labels in its test split"),
        ("test_batch", {"labels": [1, 10]}, "the label 10, which is not from 0 to 9, in its test split"),
        ("test_batch", {"labels": [-1, 1]}, "the label -1, which is not from 0 to 9, in its test split"),
        ("test_batch", {"labels": [0.5, 1.0]}, "labels of type float64 instead of integers in its test split"),
        ("test_batch", {"labels": ["cat", "dog"]}, "labels of type <U3 instead of integers in its test split"),
        ("test_batch", {"labels": [[1, 2], [3, 4]]}, "2 images and an array (2, 2) of labels in its test split"),
        ("test_batch", {"data": np.zeros((0, 3072), np.uint8), "labels": []}, "no images in its test split"),
        ("test_batch", {"data": np.zeros((2, 3072))}, "(2, 32, 32, 3) and type float64 instead of bytes of images"),
    ],
)
def test_pickles_that_do_not_fit_together(cifar10, file, content, problem):
    root, _, _ = cifar10
    path = root / "cifar-10-batches-py" / file
    path.write_bytes(pickle.dumps({**pickle.loads(path.read_bytes()), **content}))
    assert_unfit("cifar10", root, problem)


@pytest.fixture
def svhn_files(tmp_path, datasets, monkeypatch):
    """SVHN as .mat files that scipy itself writes and reads: write(split, images (N, H, W, C), labels)."""
    io = pytest.importorskip("scipy.io", reason="SciPy is not installed")
    monkeypatch.setattr(datasets.svhn, "check_integrity", lambda path, md5: os.path.isfile(path))

    def write(split, images, labels):
        labels = np.asarray(labels)[:, None]
        io.savemat(tmp_path / f"{split}_32x32.mat", {"X": images.transpose(1, 2, 3, 0), "y": labels})

    for split in ("train", "test"):
        write(split, random_images(4, 32, 32, 3), np.arange(1, 5, dtype=np.uint8))
    return tmp_path, write


def test_mat_files(svhn_files):
    root, write = svhn_files
    images = random_images(2, 32, 32, 3)
    write("test", images, np.array([10, 9], np.uint8))
    data = load("svhn", root=root)
    np.testing.assert_array_equal(data.held_out, images)
    assert data.held_out_factors["label"].tolist() == [0, 9]


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize(
    ("shape", "labels", "problem"),
    [
        ((4, 32, 32, 3), [1, 2, 3], "4 images and 3 labels"),
        ((4, 32, 24, 3), [1, 2, 3, 4], "images of 32×24 pixels, which are not square,"),
        ((4, 32, 32, 3), [1, 2, 3, 11], "the label 11, which is not from 0 to 9,"),
        ((2, 32, 32, 3), [[1, 2], [3, 4]], "2 images and an array (2, 2) of labels"),
    ],
)
def test_mat_files_that_do_not_fit_together(svhn_files, split, shape, labels, problem):
    root, write = svhn_files
    write(split, random_images(*shape), labels)
    assert_unfit("svhn", root, f"{problem} in its {'training' if split == 'train' else 'test'} split")


def test_mat_files_of_different_sizes(svhn_files):
    root, write = svhn_files
    write("test", random_images(4, 16, 16, 3), [1, 2, 3, 4])
    assert_unfit("svhn", root, "training images of 32×32×3 and test images of 16×16×3")


def test_a_root_that_no_file_system_holds():
    with pytest.raises(DataError, match=r"mnist is missing from the folder '.*a\\x00b' or damaged"):
        load("mnist", root="a\x00b")


# --- the real sets --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "train", "shape", "mean"),
    [("mnist", 60_000, (28, 28, 1), 0.1307), ("cifar10", 50_000, (32, 32, 3), 0.4734)],
)
def test_real_data(name, train, shape, mean):
    root = os.environ.get("AUTOENCODERS_DATA")
    if not root:
        pytest.skip("AUTOENCODERS_DATA does not name a folder that holds the real MNIST and CIFAR-10")
    data = load(name, root=root)
    assert data.train.shape == (train, *shape)
    assert data.held_out.shape == (10_000, *shape)
    assert data.train.mean() / 255 == pytest.approx(mean, abs=1e-4)  # the well-known mean of the training pixels
    assert np.bincount(data.held_out_factors["label"]).sum() == 10_000
    assert set(data.factors["label"]) == set(range(10))


@pytest.mark.parametrize("name", ["mnist", "cifar10"])
def test_the_published_files_are_read_as_torchvision_reads_them(name, datasets):
    root = os.environ.get("AUTOENCODERS_DATA")
    if not root:
        pytest.skip("AUTOENCODERS_DATA does not name a folder that holds the real MNIST and CIFAR-10")
    data = load(name, root=root)
    for train, images, factors in ((True, data.train, data.factors), (False, data.held_out, data.held_out_factors)):
        theirs = getattr(datasets, CLASSES[name])(root, train=train)
        np.testing.assert_array_equal(images.reshape(np.shape(theirs.data)), theirs.data)
        np.testing.assert_array_equal(factors["label"], theirs.targets)


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist", "cifar10"])
def test_checksums_are_those_of_torchvision(name, datasets):
    kind, known = getattr(datasets, CLASSES[name]), set_files.CHECKSUMS[name]
    theirs = dict(kind.train_list + kind.test_list if name == "cifar10" else kind.resources)
    assert theirs.items() <= known.items()


def test_classes_are_called_as_torchvision_calls_them(datasets):
    assert CLASS_NAMES["fashion-mnist"] == tuple(datasets.FashionMNIST.classes)
    root = os.environ.get("AUTOENCODERS_DATA")
    if not root:
        pytest.skip("AUTOENCODERS_DATA names no folder with the real CIFAR-10, whose files name its classes")
    assert CLASS_NAMES["cifar10"] == tuple(datasets.CIFAR10(root).classes)


def test_values_have_names(mnist):
    name, root, *_ = mnist
    data = load(name, root=root)
    assert data.named("label", np.int64(9)) == ("Ankle boot" if name == "fashion-mnist" else "9")
    shapes = load("shapes:square,plus", limit=4, image_size=8)
    assert [shapes.named("shape", value) for value in (0, np.int64(1), 3, 9)] == ["pill", "square", "plus", "9"]
    assert shapes.named("x", 0.25) == "0.25"
