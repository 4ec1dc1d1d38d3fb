"""Names and what they stand for."""

import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import NoReturn

import pytest

from splitters import registry as registry_module
from splitters.errors import ConfigurationError, SplitbenchError, UnknownNameError, nearest_name
from splitters.methods.protocol import SPLITTERS, Splitter, SplitterReference, make_splitter
from splitters.registry import Registry
from splitters.settings import Settings
from splitters.source_code import code_fingerprint


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


def test_a_class_whose_definition_runs_again_takes_the_place_of_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    names: Registry[type] = Registry("word")
    # A notebook has no file.
    monkeypatch.delattr(sys.modules["__main__"], "__file__", raising=False)
    fingerprints = set()
    for _ in range(2):

        @names.register("a")
        class Entry:
            __module__ = "__main__"

        assert names.get("a") is Entry
        fingerprints.add(code_fingerprint({"__main__"}))
    assert len(fingerprints) == 2, "its results are not taken for those of the first"


def test_a_plugin_cannot_take_a_built_ins_name_whether_that_was_imported_or_not(
    tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "word_home.py").write_text("from __main__ import word_names\nword_names.register('full')('ours')\n")
    monkeypatch.syspath_prepend(tmp_path)
    for is_imported in (False, True):
        names: Registry[str] = Registry("word", homes={"full": "word_home"})
        monkeypatch.setattr(sys.modules["__main__"], "word_names", names, raising=False)
        sys.modules.pop("word_home", None)
        if is_imported:
            names.get("full")
        with pytest.raises(ConfigurationError, match=r"'full' is registered twice: by word_home.* and by \S*registry"):
            names.register("full")("theirs")
        assert names.get("full") == "ours"


def _offer(monkeypatch: pytest.MonkeyPatch, *points: EntryPoint) -> None:
    monkeypatch.setattr(registry_module, "entry_points", lambda *, group: [p for p in points if p.group == group])


def test_an_installed_package_cannot_take_a_built_ins_name(monkeypatch: pytest.MonkeyPatch) -> None:
    _offer(monkeypatch, EntryPoint("full", "collections:OrderedDict", "words"))
    names: Registry[object] = Registry("word", entry_point_group="words", homes={"full": "textwrap"})
    names._entries["full"] = "ours"
    with pytest.raises(ConfigurationError, match=r"'full' is registered twice: by textwrap.* and by collections"):
        names.get("full")


def test_of_two_packages_that_offer_one_name_neither_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (EntryPoint("a", f"collections:{name}", "words") for name in ("OrderedDict", "Counter"))
    _offer(monkeypatch, first, second)
    names: Registry[object] = Registry("word", entry_point_group="words")
    with pytest.raises(ConfigurationError, match="'a' is registered twice: by collections"):
        names.get("a")
    _offer(monkeypatch, first, first)
    assert Registry("word", entry_point_group="words").get("a").__name__ == "OrderedDict"


def test_an_unknown_name_gets_the_nearest_and_the_list() -> None:
    with pytest.raises(UnknownNameError) as error:
        SPLITTERS.get("gradspliter", where="suite.yaml: splitter")
    message = str(error.value)
    assert message.startswith("suite.yaml: splitter: unknown splitter 'gradspliter'. Did you mean 'gradsplitter'?")
    assert message.endswith(
        "A splitter of your own: install its package, or name its module under 'plugins' in the suite."
    )
    assert isinstance(error.value, SplitbenchError)
    assert {"full", "gradsplitter", "importance", "random"} <= set(error.value.choices)


def test_nothing_alike_gives_the_list_alone() -> None:
    assert str(UnknownNameError("colour", "zzz", ["red", "blue"])) == "unknown colour 'zzz'. Known: blue, red."
    assert str(UnknownNameError("colour", "zzz", [])) == "unknown colour 'zzz'. Known: none."
    assert nearest_name("REED", ["red", "blue"]) == "red"


def test_modules_are_imported_when_their_name_is_asked_for(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_every_splitter_makes_itself_with_its_defaults() -> None:
    for name in ("full", "random", "importance", "gradsplitter"):
        splitter = make_splitter(name, {})
        assert isinstance(splitter, Splitter)
        assert type(splitter) is SPLITTERS.get(name)
        assert splitter.settings == splitter.Settings()


def test_what_is_no_splitter_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SPLITTERS._entries, "wrong", dict)
    with pytest.raises(ConfigurationError, match="must be a subclass of"):
        make_splitter("wrong", {})


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("class Mine: pass", "is <class '.*Mine'>; it must be a subclass of splitters.Splitter"),
        ("class Mine(Splitter): Settings = Settings", r"lacks split\(\)"),
        (
            "class Mine(Splitter):\n    Settings = Settings\n    def split(self, task, graph=None): ...",
            r"has a split\(\) that does not take progress, checkpoint; its callers pass graph, progress, checkpoint by",
        ),
        ("class Mine(Splitter): Settings = dict; split = print", "has <class 'dict'> as its Settings"),
        ("class Mine(Splitter): Settings = Settings; version = '2'; split = print", "has the version '2'"),
        ("class Mine(Splitter): Settings = Settings; version = True; split = print", "has the version True"),
        (
            "class Own(Settings): x: 'Nope' = 1\nclass Mine(Splitter): Settings = Own; split = print",
            "a type that cannot be found: name 'Nope' is not defined",
        ),
        (
            "class Mine(Splitter):\n    Settings = Settings; split = print\n    def __init__(self): pass",
            "cannot be constructed: TypeError",
        ),
    ],
)
def test_a_splitter_that_cannot_be_used_is_refused_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch, lines: str, message: str
) -> None:
    defined = {"Splitter": Splitter, "Settings": Settings, "__name__": __name__}
    exec(lines, defined)
    monkeypatch.setitem(SPLITTERS._entries, "mine", defined["Mine"])
    with pytest.raises(ConfigurationError, match=f"splitter 'mine'.* {message}"):
        make_splitter("mine", {})


def test_the_parentheses_of_register_cannot_be_forgotten() -> None:
    with pytest.raises(ConfigurationError, match=r'under a name: @...register\("mine"\)'):
        SPLITTERS.register(Splitter)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "code",
    [
        "raise RuntimeError('no licence')",
        "raise SystemExit(0)",
        "raise BaseException",
        "raise type('Mute', (Exception,), {'__str__': None})",
    ],
)
def test_an_installed_package_that_cannot_be_imported_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: str
) -> None:
    name = f"broken_{len(code)}"
    (tmp_path / f"{name}.py").write_text(f"\n{code}\n")
    monkeypatch.syspath_prepend(tmp_path)
    registry: Registry[object] = Registry("thing", entry_point_group="things")
    registry.__dict__["_offered"] = {"mine": [EntryPoint("mine", f"{name}:THING", "things")]}
    with pytest.raises(ConfigurationError, match=rf"thing 'mine' cannot be imported: .*{name}\.py, line 2: "):
        registry.get("mine")


def test_a_reference_says_everything_that_determines_the_result() -> None:
    reference = SplitterReference(name="random", settings={"retention": 0.25})
    assert reference.settings == {"retention": 0.25, "like": None, "score": "best", "head_steps": 1000}
    assert reference.version == SPLITTERS.get("random").version
    assert SplitterReference.model_validate(reference.model_dump()) == reference
    with pytest.raises(UnknownNameError, match="Did you mean 'random'"):
        SplitterReference(name="randon")


def test_a_splitter_without_settings_is_refused_in_a_sentence_with_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    class Mine(Splitter):  # type: ignore[type-arg]
        def split(self, *args: object, **keywords: object) -> NoReturn:
            raise NotImplementedError

    monkeypatch.setitem(SPLITTERS._entries, "mine", Mine)
    with pytest.raises(
        ConfigurationError, match=r"test_registry\.py, line \d+: the splitter class Mine lacks 'Settings"
    ):
        make_splitter("mine", {})
    Mine.Settings = Settings
    assert make_splitter("mine", {}).settings == Settings()


def test_an_entry_of_another_package_has_a_fingerprint_before_it_is_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "others_things.py").write_text("THING = object()\n")
    monkeypatch.syspath_prepend(tmp_path)
    registry: Registry[object] = Registry("thing", entry_point_group="things")
    registry.__dict__["_offered"] = {"thing": [EntryPoint("thing", "others_things:THING", "things")]}
    assert registry.code_fingerprint("thing")
