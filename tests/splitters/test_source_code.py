"""The fingerprint of code that is not built in changes with it, and with what it imports from beside it."""

from __future__ import annotations

import hashlib
import importlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from splitters.methods.protocol import SPLITTERS, Splitter, SplitterReference
from splitters.registry import Registry
from splitters.source_code import code_fingerprint

Fingerprint = Callable[[str], str]

FILES = {
    "lab_method.py": "from lab_parts import masks\nimport torch\n",
    "lab_parts/__init__.py": "",
    "lab_parts/masks.py": "from . import bits\n",
    "lab_parts/bits.py": "def late():\n    import lab_late\n",
    "lab_late.py": "X = 1\n",
    "lab_unused.py": "Y = 1\n",
}


@pytest.fixture
def fingerprint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fingerprint]:
    """Imports a module of the folder anew and returns its fingerprint."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)

    def forget() -> None:
        for name in [name for name in sys.modules if name.startswith("lab_")]:
            del sys.modules[name]

    def anew(module: str) -> str:
        forget()
        importlib.invalidate_caches()
        importlib.import_module(module)
        return code_fingerprint({module})

    yield anew
    forget()


@pytest.mark.parametrize("name", ["lab_method.py", "lab_parts/__init__.py", "lab_parts/bits.py", "lab_late.py"])
def test_an_edit_of_anything_that_is_imported_counts(name: str, fingerprint: Fingerprint, tmp_path: Path) -> None:
    before = fingerprint("lab_method")
    assert fingerprint("lab_method") == before
    path = tmp_path / name
    path.write_text(path.read_text() + "Z = 2\n")
    assert fingerprint("lab_method") != before


def test_what_is_not_imported_does_not_count(fingerprint: Fingerprint, tmp_path: Path) -> None:
    before = fingerprint("lab_method")
    (tmp_path / "lab_unused.py").write_text("Y = 2\n")
    assert fingerprint("lab_method") == before


def test_an_edit_that_is_not_imported_yet_does_not_run_and_does_not_count(
    fingerprint: Fingerprint, tmp_path: Path
) -> None:
    before = fingerprint("lab_method")
    (tmp_path / "lab_method.py").write_text("X = 3\n")
    assert code_fingerprint({"lab_method"}) == before


def test_the_fingerprint_of_one_file_is_its_hash_whatever_its_line_ends(
    fingerprint: Fingerprint, tmp_path: Path
) -> None:
    assert fingerprint("lab_late") == hashlib.sha256(b"X = 1\n").hexdigest()
    (tmp_path / "lab_late.py").write_bytes(b"X = 1\r\n")
    assert fingerprint("lab_late") == hashlib.sha256(b"X = 1\n").hexdigest()


def test_installed_packages_beside_each_other_are_not_one_anothers_code(
    fingerprint: Fingerprint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site-packages"
    site.mkdir()
    (site / "lab_one.py").write_text("import lab_two\n")
    (site / "lab_two.py").write_text("")
    monkeypatch.syspath_prepend(site)
    before = fingerprint("lab_one")
    (site / "lab_two.py").write_text("X = 1\n")
    assert fingerprint("lab_one") == before


@pytest.mark.parametrize(
    "line",
    [
        "import lab_two",
        "import importlib\nlab = importlib.import_module('lab_two')",
        "from importlib import import_module\nimport_module('lab_two')",
        "def late():\n    __import__('lab_two')",
    ],
)
def test_code_in_another_folder_of_pythons_path_counts(
    line: str, fingerprint: Fingerprint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in {"plugins/lab_one.py": line, "src/lab_two.py": ""}.items():
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(f"{text}\n")
        monkeypatch.syspath_prepend((tmp_path / name).parent)
    before = fingerprint("lab_one")
    (tmp_path / "src" / "lab_two.py").write_text("X = 1\n")
    assert fingerprint("lab_one") != before


def test_a_module_that_is_imported_by_its_place_in_the_package_counts(fingerprint: Fingerprint, tmp_path: Path) -> None:
    (tmp_path / "lab_parts" / "__init__.py").write_text(
        "import importlib\nimportlib.import_module('.masks', __package__)\nimport_module = print\nimport_module('..')\n"
    )
    before = fingerprint("lab_parts")
    (tmp_path / "lab_parts" / "masks.py").write_text("X = 1\n")
    assert fingerprint("lab_parts") != before


def test_code_without_a_file_is_the_same_in_one_process_only() -> None:
    command = "from splitters.source_code import code_fingerprint as f; assert f(['__main__']) == f(['__main__']); "
    found = {
        subprocess.run([sys.executable, "-c", f"{command}print(f(['__main__']))"], capture_output=True).stdout
        for _ in range(2)
    }
    assert len(found) == 2
    assert all(len(output.strip()) == 64 for output in found)


def test_the_class_that_an_entry_extends_counts(fingerprint: Fingerprint, tmp_path: Path) -> None:
    (tmp_path / "lab_base.py").write_text(
        "from splitters import Settings, Splitter\nclass Base(Splitter):\n    Settings = Settings\n    split = None\n"
    )

    def code() -> str:
        fingerprint("lab_base")
        base = sys.modules["lab_base"].Base
        names: Registry[type] = Registry("thing", subclass_of=Splitter)
        names.register("mine")(type("Mine", (base,), {"__module__": __name__}))
        return names.code_fingerprint("mine")

    before = code()
    assert code() == before
    with (tmp_path / "lab_base.py").open("a") as file:
        file.write("X = 2\n")
    assert code() != before


def test_built_in_code_and_pythons_own_have_none() -> None:
    assert code_fingerprint({"splitters.methods.baselines", "json", "", "no.such.module"}) == ""
    assert {SPLITTERS.code_fingerprint(name) for name in ("full", "random", "gradsplitter", "cnnsplitter")} == {""}
    assert "code" not in SplitterReference(name="full").model_dump()


def test_a_registered_entry_has_the_code_of_its_class_and_of_where_it_is_registered(
    fingerprint: Fingerprint,
) -> None:
    fingerprint("lab_method")
    names: Registry[type] = Registry("thing")
    names.register("mine")(type("Mine", (), {"__module__": "lab_method"}))
    assert names.code_fingerprint("mine") not in ("", code_fingerprint({"lab_method"}), code_fingerprint({__name__}))
