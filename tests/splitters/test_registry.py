"""The registry of names."""

import sys
from importlib.metadata import EntryPoint

import pytest

from splitters import registry as registry_module
from splitters.errors import ConfigurationError, SplitbenchError, UnknownNameError, nearest_name
from splitters.methods.protocol import SPLITTERS, Splitter, SplitterReference, make_splitter
from splitters.registry import Registry


def test_registered_entries_are_found_under_their_name() -> None:
    names: Registry[int] = Registry("number")
    assert names.register("one")(1) == 1
    assert names.get("one") == 1
    assert list(names) == ["one"]
    assert "one" in names
    assert "two" not in names


def test_the_same_entry_may_register_again_but_no_other() -> None:
    names: Registry[str] = Registry("word")
    word = "entry"
    names.register("a")(word)
    names.register("a")(word)
    with pytest.raises(ConfigurationError, match="the word 'a' is registered twice"):
        names.register("a")("another")


def test_an_unknown_name_gets_the_nearest_and_the_list() -> None:
    with pytest.raises(UnknownNameError) as error:
        SPLITTERS.get("gradspliter", where="suite.yaml: splitter")
    message = str(error.value)
    assert message.startswith("suite.yaml: splitter: unknown splitter 'gradspliter'. Did you mean 'gradsplitter'?")
    assert "Known:" in message
    assert isinstance(error.value, SplitbenchError)
    assert {"full", "gradsplitter", "importance", "random"} <= set(error.value.choices)


def test_without_a_similar_name_only_the_list_is_given() -> None:
    assert str(UnknownNameError("colour", "zzz", ["red", "blue"])) == "unknown colour 'zzz'. Known: blue, red."
    assert str(UnknownNameError("colour", "zzz", [])) == "unknown colour 'zzz'. Known: none."
    assert nearest_name("REED", ["red", "blue"]) == "red"


def test_modules_are_imported_on_first_use(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lazy_home.py").write_text("from __main__ import lazy_names\nlazy_names.register('late')('found')\n")
    names: Registry[str] = Registry("word", homes={"late": "lazy_home"})
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys.modules["__main__"], "lazy_names", names, raising=False)
    assert "late" in names
    assert "lazy_home" not in sys.modules
    assert names.get("late") == "found"


def test_installed_packages_offer_entries(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("offered", "collections:OrderedDict", "splitbench.words")

    def found(*, group: str) -> list[EntryPoint]:
        return [point] if group == point.group else []

    monkeypatch.setattr(registry_module, "entry_points", found)
    names: Registry[object] = Registry("word", entry_point_group="splitbench.words")
    assert list(names) == ["offered"]
    assert names.get("offered").__name__ == "OrderedDict"
    with pytest.raises(UnknownNameError):
        names.get("other")


def test_every_splitter_can_be_made_with_defaults() -> None:
    for name in ("full", "random", "importance", "gradsplitter"):
        splitter = make_splitter(name, {})
        assert isinstance(splitter, Splitter)
        assert type(splitter) is SPLITTERS.get(name)
        assert splitter.settings == splitter.Settings()


def test_an_entry_that_is_not_a_splitter_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SPLITTERS._entries, "wrong", dict)
    with pytest.raises(ConfigurationError, match="must be a subclass of"):
        make_splitter("wrong", {})


def test_a_reference_is_completed_with_defaults_and_version() -> None:
    reference = SplitterReference(name="random", settings={"retention": 0.25})
    assert reference.settings == {"retention": 0.25, "like": None}
    assert reference.version == SPLITTERS.get("random").version
    assert SplitterReference.model_validate(reference.model_dump()) == reference
    with pytest.raises(UnknownNameError, match="Did you mean 'random'"):
        SplitterReference(name="randon")
