"""Decoded images are made once, and made again when they are damaged."""

import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.data.datasets import decoded
from benchmarks.data.datasets.decoded import Decoded, decode_once
from benchmarks.data.datasets.loading import load_dataset
from benchmarks.data.sources.source import Contents, EncodedImage, Part, Source
from splitters.methods.protocol import Progress, ignore_progress


class _Counting(Source):
    """Two classes of flat images; counts how often it is read."""

    def __init__(self, *, content: int = 0, count: int = 6, size: int = 4) -> None:
        self.reads = 0
        self._content, self._count, self._size = content, count, size

    def fingerprint(self) -> str:
        return f"{self._content} {self._count}"

    def read(self) -> Contents:
        self.reads += 1
        return Contents(("a", "b"), self._part("train"), self._part("test"), "counting")

    def _part(self, name: str) -> Part:
        def images() -> Iterator[EncodedImage]:
            for i in range(self._count):
                yield np.full((self._size, self._size), (self._content + i) % 256, dtype=np.uint8)

        return Part(name, np.arange(self._count, dtype=np.int64) % 2, images, lambda i: f"image {i}")


def _decode(source: Source, folder: Path, shape: tuple[int, int, int] = (1, 4, 4)) -> Decoded:
    return decode_once(source, input_shape=shape, folder=folder, progress=ignore_progress)


def test_the_second_time_nothing_is_decoded(tmp_path: Path) -> None:
    source = _Counting()
    first, second = _decode(source, tmp_path), _decode(source, tmp_path)
    assert source.reads == 1
    assert first.content_hash == second.content_hash
    assert np.array_equal(first.train.images, second.train.images)
    assert (first.reused, second.reused) == (False, True)
    assert first.seconds == second.seconds > 0


def test_another_content_or_shape_is_another_entry(tmp_path: Path) -> None:
    hashes = {
        _decode(_Counting(), tmp_path).content_hash,
        _decode(_Counting(content=9), tmp_path).content_hash,
        _decode(_Counting(), tmp_path, (3, 4, 4)).content_hash,
    }
    assert len(hashes) == 3


def test_more_images_than_one_block_keep_their_order(tmp_path: Path) -> None:
    count = 128 * 4 * torch.get_num_threads() + 300
    decoded = _decode(_Counting(count=count), tmp_path)
    assert decoded.train.images[:, 0, 0, 0].tolist() == [i % 256 for i in range(count)]


def test_large_images_are_decoded_by_several_threads_in_the_same_way(tmp_path: Path) -> None:
    decoded = _decode(_Counting(count=300, size=70), tmp_path)
    assert decoded.train.images[:, 0, 3, 3].tolist() == [i % 256 for i in range(300)]


def _truncate(folder: Path) -> None:
    path = next(folder.glob("*/train-images.bin"))
    path.write_bytes(path.read_bytes()[:-1])


def _garble(folder: Path) -> None:
    next(folder.glob("*/facts.json")).write_text('{"train": 6')


def _remove(folder: Path) -> None:
    next(folder.glob("*/test-labels.bin")).unlink()


@pytest.mark.parametrize("damage", [_truncate, _garble, _remove])
def test_a_damaged_entry_is_made_again(damage: Callable[[Path], None], tmp_path: Path) -> None:
    source = _Counting()
    before = _decode(source, tmp_path)
    damage(tmp_path)
    after = _decode(source, tmp_path)
    assert source.reads == 2
    assert after.content_hash == before.content_hash
    assert after.train.images[5, 0, 0, 0] == 5


def test_a_stopped_decoding_leaves_nothing_in_use(tmp_path: Path) -> None:
    def stop(progress: Progress) -> None:
        raise KeyboardInterrupt

    source = _Counting()
    with pytest.raises(KeyboardInterrupt):
        decode_once(source, input_shape=(1, 4, 4), folder=tmp_path, progress=stop)
    assert not [path for path in tmp_path.iterdir() if path.suffix != ".lock"]
    assert len(_decode(source, tmp_path).train.labels) == 6


def test_when_two_decode_the_same_both_get_the_first_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoded, "file_lock", lambda *_args, **_options: nullcontext())
    source = _Counting()
    others: list[Decoded] = []
    calls = count()

    def overtaken(progress: Progress) -> None:
        if next(calls) == 0:
            others.append(_decode(source, tmp_path))

    late = decode_once(source, input_shape=(1, 4, 4), folder=tmp_path, progress=overtaken)
    assert source.reads == 2
    assert late.seconds == others[0].seconds
    assert np.array_equal(late.train.images, others[0].train.images)
    assert len(list(tmp_path.iterdir())) == 1


def test_two_who_need_the_same_decode_it_once(tmp_path: Path) -> None:
    source = _Counting(count=500)
    threads = [threading.Thread(target=_decode, args=(source, tmp_path)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert source.reads == 1


def test_writing_to_the_images_warns_nobody_and_alters_no_file(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        digits = load_dataset("digits", input_shape=(1, 8, 8), data_root=None, cache=tmp_path)
    original = digits.train.images[0].clone()
    digits.train.images[0] = 7
    again = load_dataset("digits", input_shape=(1, 8, 8), data_root=None, cache=tmp_path)
    assert torch.equal(again.train.images[0], original)
    assert again.content_hash == digits.content_hash
