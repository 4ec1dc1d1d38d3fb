from __future__ import annotations

import pytest
import torch

from harness.views.model_card import model_card
from splitters import ImageSet, Module, compose, patch, split
from splitters.testing import tiny_task


@pytest.fixture(scope="module")
def modules() -> list[Module]:
    task = tiny_task()
    return split(task.model, task.train, task.select, "random", retention=0.5).modules()


def with_info(module: Module, **changes: object) -> Module:
    changed = Module(module.network, module.score, module.info.model_copy(update=changes))
    return changed.eval()


def card_of(model: torch.nn.Module) -> str:
    return model_card(model, file_name="cut.safetensors", file_bytes=2_345_678)


def test_a_module_s_card_has_its_class_origin_metrics_licence_size_and_kernels(modules: list[Module]) -> None:
    kept = {"first": (0, 2), "second": (1, 3, 5)}
    origin = {"dataset": {"name": "digits"}, "seed": 7, "part": "split_train"}
    module = with_info(
        modules[1],
        kept=kept,
        metrics={"select_f1": 0.98765},
        licence="CC BY 4.0",
        trained_on=(origin,),
        base_model="net",
    )
    lines = card_of(module).splitlines()
    name = module.info.class_name
    assert lines[:5] == [
        "---", "library_name: splitbench", "pipeline_tag: image-classification", "license: other",
        'license_name: "CC BY 4.0"',
    ]  # fmt: skip
    cost = module.cost()
    for line in (
        "# cut.safetensors",
        f"| class | {name} |",
        "| licence | CC BY 4.0 |",
        f"| size | 2.3 MB, {cost.parameters:,} parameters, {cost.flops:,} FLOPs per image |",
        f"| {name} | net | `{module.info.base_model_hash[:12]}` | random | logit | 5 | 0.9877 |",
        "| first | 2 |",
        "| second | 3 |",
        r"- digits, split\_train images of seed 7",
        'module = load_model("cut.safetensors")  # scores normalised images: module.transform prepares a picture',
    ):
        assert line in lines, line


def test_a_composed_model_s_card_has_a_column_of_kernels_per_module(modules: list[Module]) -> None:
    text = card_of(compose(modules))
    names = [module.info.class_name for module in modules]
    assert f"| classes | {', '.join(names)} |" in text
    assert f"| convolution | {' | '.join(names)} |" in text
    assert "| licence | unknown |" in text
    assert "license" not in text
    assert 'load_model("cut.safetensors").predict_names("photo.jpg")' in text


def test_a_file_name_stands_in_the_code_as_it_is_written(modules: list[Module]) -> None:
    text = model_card(modules[0], file_name='pär "1".safetensors', file_bytes=1)
    assert r'load_model("pär \"1\".safetensors")' in text


def test_a_patched_model_s_card_names_the_class_and_rule_and_claims_no_licence_for_the_network(
    modules: list[Module],
) -> None:
    task = tiny_task()
    text = card_of(patch(task.model, with_info(modules[1], licence="MIT"), task.select))
    assert f"patched with a module for the class {modules[1].info.class_name}." in text
    assert "| fusion rule | temperature |" in text
    assert "| licence | of the module: MIT; of the patched network: unknown |" in text


def test_names_from_files_are_no_markup(modules: list[Module]) -> None:
    name = "a|b <script> [x](y) `c`\n# d"
    names = (name, *modules[0].info.class_names[1:])
    text = card_of(with_info(modules[0], class_name=name, class_names=names, licence='x"\nlicense: mit'))
    assert r"a\|b \<script\> \[x\](y) \`c\`\\n\# d" in text
    assert "license: mit" not in text.splitlines()
    assert "<script>" not in text.replace(r"\<", "")


def test_images_of_unknown_origin_are_said_to_be_unknown(modules: list[Module]) -> None:
    assert card_of(modules[0]).split("## Images it was made with\n\n")[1].startswith("- unknown\n")


def test_the_lines_on_loading_run(modules: list[Module], tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    model = compose(modules)
    model.save("cut.safetensors")
    code = card_of(model).split("```python\n")[1].split("```")[0]
    images = ImageSet.from_arrays(
        torch.zeros(1, *model.input_form.shape, dtype=torch.uint8), torch.zeros(1, dtype=torch.int64),
        normalisation=model.input_form.normalisation, class_names=model.class_names,
    ).images  # fmt: skip
    scope = {"images": images}
    exec(code.replace('load_model("cut', 'names = load_model("cut').replace('"photo.jpg"', "images"), scope)
    assert scope["names"] == model.predict_names(images)
