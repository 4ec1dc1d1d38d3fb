"""Data sets by name: what there is, and what is said when there is none."""

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.data.datasets import DATASETS, check_dataset, load_dataset
from benchmarks.data.datasets.registry import DatasetEntry, open_dataset
from benchmarks.data.sources.source import Location, Source
from splitters.errors import ConfigurationError, DataError, UnknownNameError


def test_every_dataset_has_a_one_line_description() -> None:
    names = set(DATASETS)
    assert names >= {"digits", "cifar10", "cifar100", "svhn", "mnist", "fashion_mnist"}
    assert names >= {"parquet:FOLDER", "folder:FOLDER"}
    for name in names:
        assert DATASETS.get(name).description
        assert "\n" not in DATASETS.get(name).description


@pytest.mark.parametrize(
    "name",
    [
        "digits",
        "cifar10",
        "parquet:cifar10",
        "parquet:/data/a b",
        "folder:../x",
        "folder:C:/x",
        "parquet:year=2020/x",
        "parquet:x:label=coarse_label:image=img:train=a:test=b",
        "folder:x:train=early:test=late",
        "union:digits+cifar10",
        "union:digits + parquet:x:label=y+folder:z",
    ],
)
def test_known_names_pass_without_their_files(name: str) -> None:
    check_dataset(name)


@pytest.mark.parametrize(
    "name",
    ["digit", "parquet", "parquet:", "folder: ", "digits:", "digits:x", "zip:x", "", "union:", "union:digits+digit"],
)
def test_an_unknown_name_lists_the_known_ones(name: str) -> None:
    with pytest.raises(
        UnknownNameError, match=r"^suite\.yaml: dataset: unknown data set .*Known: cifar10, cifar100, digits"
    ):
        check_dataset(name, where="suite.yaml: dataset")


def test_a_folders_name_alone_gets_the_kinds_of_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pets").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UnknownNameError, match="The folder of that name is called folder:pets or parquet:pets"):
        check_dataset("pets")


@pytest.mark.parametrize("name", ["parquet:x:labels=y", "folder:x:label=y"])
def test_an_unknown_option_of_a_name_is_refused(name: str) -> None:
    with pytest.raises(UnknownNameError, match=r"^suite\.yaml: dataset: unknown option of '.*' 'labels?'.*Known: "):
        check_dataset(name, where="suite.yaml: dataset")


def test_a_misspelt_name_gets_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'cifar100'"):
        load_dataset("cifar-100", input_shape=(3, 32, 32), data_root=None, cache=Path("unused"))


@pytest.mark.parametrize("shape", [(2, 8, 8), (4, 8, 8), (3, 0, 8), (3, 8, -1)])
def test_an_impossible_input_shape_is_refused(shape: tuple[int, int, int], tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="channels must be 1 or 3"):
        load_dataset("digits", input_shape=shape, data_root=None, cache=tmp_path)


def test_digits_have_a_fixed_stratified_test_set(tmp_path: Path) -> None:
    digits = load_dataset("digits", input_shape=(1, 8, 8), data_root=None, cache=tmp_path)
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    assert len(digits.train) + len(digits.test) == 1797
    assert digits.class_names == tuple("0123456789")
    assert not digits.flips
    shares = torch.bincount(digits.test.labels) / torch.tensor(np.bincount(labels))
    assert bool(((shares - 0.2).abs() < 0.01).all())
    fifth_zero = np.flatnonzero(labels == 0)[4]
    expected = np.rint(images[fifth_zero].reshape(8, 8) / 16 * 255)
    first_zero_in_test = int(torch.nonzero(digits.test.labels == 0)[0])
    assert digits.test.images[first_zero_in_test, 0].tolist() == expected.tolist()


def test_digits_become_the_input_shape(tmp_path: Path) -> None:
    digits = load_dataset("digits", input_shape=(3, 32, 24), data_root=None, cache=tmp_path)
    assert digits.train.input_shape == (3, 32, 24)
    assert torch.equal(digits.train.images[:, 0], digits.train.images[:, 2])
    assert digits.train.normalisation.mean == (0.485, 0.456, 0.406)


def test_grey_images_are_normalised_by_the_luma_of_imagenet(tmp_path: Path) -> None:
    digits = load_dataset("digits", input_shape=(1, 8, 8), data_root=None, cache=tmp_path)
    assert digits.train.normalisation.mean == pytest.approx((0.458971,))
    batch, _ = digits.train.batch(torch.tensor([0]))
    assert batch.shape == (1, 1, 8, 8)


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "svhn", "mnist", "fashion_mnist"])
def test_absent_data_say_what_to_type(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"{name}: there is no .* under .*--data-root DIR.*--download"):
        load_dataset(name, input_shape=(3, 32, 32), data_root=tmp_path / "data", cache=tmp_path)


def _write_idx(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    header = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
    path.write_bytes(header + array.astype(np.uint8).tobytes())


def _write_mnist(root: Path, name: str) -> None:
    labels = np.arange(20) % 10
    pixels = np.repeat(labels * 20, 28 * 28).reshape(20, 28, 28)
    for part in ("train", "t10k"):
        _write_idx(root / name / "raw" / f"{part}-images-idx3-ubyte", pixels)
        _write_idx(root / name / "raw" / f"{part}-labels-idx1-ubyte", labels)


@pytest.mark.parametrize(
    ("name", "folder", "flips"), [("mnist", "MNIST", False), ("fashion_mnist", "FashionMNIST", True)]
)
def test_torchvision_folders_are_read(name: str, folder: str, flips: bool, tmp_path: Path) -> None:
    _write_mnist(tmp_path, folder)
    dataset = load_dataset(name, input_shape=(1, 28, 28), data_root=tmp_path, cache=tmp_path / "cache")
    assert len(dataset.train) == len(dataset.test) == 20
    assert dataset.train.images[:, 0, 3, 4].tolist() == [(i % 10) * 20 for i in range(20)]
    assert dataset.flips is flips
    assert len(dataset.class_names) == 10
    assert dataset.class_names[:1] == (("0",) if name == "mnist" else ("T-shirt/top",))


def _pickle(path: Path, content: dict[str, object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(content))


def test_cifar_batches_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torchvision.datasets

    monkeypatch.setattr(torchvision.datasets.CIFAR10, "_check_integrity", lambda _self: True)
    monkeypatch.setattr(torchvision.datasets.cifar, "check_integrity", lambda *_args: True)
    folder = tmp_path / "cifar-10-batches-py"
    pixels = np.arange(2 * 3072).reshape(2, 3072).astype(np.uint8)
    for name in [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]:
        _pickle(folder / name, {"data": pixels, "labels": [0, 1]})
    _pickle(folder / "batches.meta", {"label_names": ["cat", "dog"]})
    cifar = load_dataset("cifar10", input_shape=(3, 32, 32), data_root=tmp_path, cache=tmp_path / "cache")
    assert cifar.class_names == ("cat", "dog")
    assert cifar.train.labels.tolist() == [0, 1] * 5
    assert np.array_equal(cifar.test.images.numpy(), pixels.reshape(2, 3, 32, 32))
    assert cifar.flips


def test_house_numbers_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torchvision.datasets
    from scipy.io import savemat  # type: ignore[import-untyped]

    monkeypatch.setattr(torchvision.datasets.SVHN, "_check_integrity", lambda _self: True)
    pixels = np.random.default_rng(0).integers(0, 256, (10, 3, 32, 32), dtype=np.uint8)
    for part in ("train", "test"):
        # The files put the image last, and write the digit 0 as class 10.
        savemat(tmp_path / f"{part}_32x32.mat", {"X": pixels.transpose(2, 3, 1, 0), "y": np.arange(1, 11)[:, None]})
    svhn = load_dataset("svhn", input_shape=(3, 32, 32), data_root=tmp_path, cache=tmp_path / "cache")
    assert svhn.train.labels.tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0]
    assert np.array_equal(svhn.train.images.numpy(), pixels)
    assert not svhn.flips


def test_a_damaged_torchvision_folder_says_what_to_do(tmp_path: Path) -> None:
    _write_mnist(tmp_path, "MNIST")
    images = tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte"
    images.write_bytes(images.read_bytes()[:100])
    with pytest.raises(DataError, match=r"mnist: it could not be read .*--download"):
        load_dataset("mnist", input_shape=(1, 28, 28), data_root=tmp_path, cache=tmp_path / "cache")


def test_download_is_asked_of_torchvision_only_when_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torchvision.datasets

    def download(self: torchvision.datasets.MNIST) -> None:
        _write_mnist(Path(self.root), "MNIST")

    monkeypatch.setattr(torchvision.datasets.MNIST, "download", download)
    dataset = load_dataset("mnist", input_shape=(1, 28, 28), data_root=None, cache=tmp_path, download=True)
    assert len(dataset.train) == 20
    assert (tmp_path / "downloads" / "MNIST" / "raw").is_dir()


def test_a_failed_download_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torchvision.datasets

    def download(self: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(torchvision.datasets.MNIST, "download", download)
    with pytest.raises(DataError, match=r"mnist: it could not be fetched .no route to host"):
        load_dataset("mnist", input_shape=(1, 28, 28), data_root=tmp_path, cache=tmp_path, download=True)


def _raise(text: str, location: Location) -> Source:
    raise KeyError("oops")


@pytest.mark.parametrize(
    ("opening", "message"),
    [
        (_raise, r"'mine' fails: .*test_dataset_names\.py, line \d+: KeyError: 'oops'"),
        (lambda text, location: text, "'mine' opens as ''; it must be a benchmarks.Source"),
    ],
)
def test_a_data_set_of_a_plug_in_that_cannot_be_opened_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, opening: Callable[..., Source], message: str
) -> None:
    monkeypatch.setitem(DATASETS._entries, "mine", DatasetEntry("x", opening))
    with pytest.raises(ConfigurationError, match=message):
        open_dataset("mine", Location(None, tmp_path, False))
