"""The cluster files of the project are valid and pinned to what the tests run with; wrong ones are refused plainly."""

from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

from harness.clusters.cluster_file import read_cluster_file
from harness.clusters.ray_checks import provider_keys
from splitters.errors import ConfigurationError

ROOT = Path(__file__).resolve().parents[3]
FOLDER = ROOT / "docs" / "clusters"
RAY_FILES = [ROOT / "cluster.yaml", *(FOLDER / f"{name}.yaml" for name in ("gcp", "local"))]
PINNED = [*RAY_FILES, FOLDER / "Dockerfile", FOLDER / "slurm.sh"]
_PIN = re.compile(r"'([\w-]+)(?:\[[\w,]+\])?==([\d.]+)'")
_ON_THE_HEAD_ALONE = {"google-api-python-client"}


def pins(path: Path) -> dict[str, str]:
    found = _PIN.findall(path.read_text())
    return {name: version for name, version in found if name not in _ON_THE_HEAD_ALONE}


@pytest.mark.parametrize("path", RAY_FILES, ids=lambda path: path.name)
def test_ray_takes_the_file(path: Path) -> None:
    cluster = read_cluster_file(path)
    assert cluster.workers
    assert cluster.notes.results


@pytest.mark.parametrize("path", PINNED, ids=lambda path: path.name)
def test_every_direct_dependency_is_pinned_as_pyproject_allows(path: Path) -> None:
    tomllib = pytest.importorskip("tomllib", reason="Python 3.10 cannot read TOML")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    entries = [Requirement(text) for text in project["dependencies"]]
    wanted = {entry.name: entry.specifier for entry in entries if entry.marker is None or entry.marker.evaluate()}
    assert set(pins(path)) == set(wanted)
    for name, version in pins(path).items():
        assert wanted[name].contains(version), f"{name} {version} is not what pyproject.toml asks for"


def test_all_files_pin_the_same_versions() -> None:
    assert {path.name: pins(path) for path in PINNED} == {path.name: pins(PINNED[0]) for path in PINNED}


@pytest.mark.parametrize("name", ["ray", "torch", "pyarrow", "pydantic"])
def test_the_pinned_versions_are_those_that_the_tests_run_with(name: str) -> None:
    here, pinned = Version(metadata.version(name)), Version(pins(PINNED[0])[name])
    if here > pinned:
        pytest.skip(f"this environment has {name} {here}, newer than {pinned}, which the cluster files were tried with")
    assert here == pinned


@pytest.mark.parametrize("path", [*PINNED, FOLDER / "rayjob.yaml"], ids=lambda path: path.name)
def test_images_and_rays_version_agree_with_the_pin(path: Path) -> None:
    text, ray = path.read_text(), pins(PINNED[0])["ray"]
    named = re.findall(r"rayproject/ray:([\d.]+)-|rayVersion: ([\d.]+)", text)
    assert {version for pair in named for version in pair if version} <= {ray}


@pytest.mark.parametrize("path", RAY_FILES, ids=lambda path: path.name)
def test_nothing_listens_to_the_world_and_the_token_is_on(path: Path) -> None:
    values = yaml.safe_load(path.read_text())
    (head,) = [line for line in values["head_start_ray_commands"] if "ray start" in line]
    (worker,) = [line for line in values["worker_start_ray_commands"] if "ray start" in line]
    assert "--dashboard-host=127.0.0.1" in head
    assert "RAY_AUTH_MODE=token" in head
    assert "RAY_AUTH_MODE=token" in worker
    assert values["file_mounts"] == {"~/.ray/auth_token": "~/.ray/auth_token"}


@pytest.mark.parametrize("path", [*PINNED, FOLDER / "rayjob.yaml"], ids=lambda path: path.name)
def test_no_secret_is_in_a_file(path: Path) -> None:
    assert re.search(r"AKIA[0-9A-Z]{12}|aws_secret|BEGIN [A-Z ]*PRIVATE KEY|password", path.read_text()) is None


def test_on_clouds_the_head_takes_no_cells_and_idle_machines_are_terminated() -> None:
    for path in RAY_FILES[:2]:
        cluster, values = read_cluster_file(path), yaml.safe_load(path.read_text())
        assert (cluster.head.cpus, cluster.head.gpus) == (0, 0)
        assert values["provider"]["cache_stopped_nodes"] is False
        assert values["idle_timeout_minutes"] <= 10
        assert all(worker.price for worker in cluster.workers)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "max_workers: 8\nupscaling",
            "max_worker: 8\nupscaling",
            "unknown key 'max_worker'. Did you mean 'max_workers'",
        ),
        ("region:", "regoin:", "unknown key 'regoin'. Did you mean 'region'"),
        ("    min_workers: 0", "    min_worker: 0", r"available_node_types.gpu_worker.*min_worker"),
        ("cluster_name:", "clustername:", "unknown key 'clustername'. Did you mean 'cluster_name'"),
        ("price_per_hour:", "price_per_hours:", "unknown key 'price_per_hours'. Did you mean 'price_per_hour'"),
        ("gpu_worker: 0.526", "gpu_workers: 0.526", "unknown node type 'gpu_workers'. Did you mean 'gpu_worker'"),
        (
            "gpu_worker: 0.526",
            "gpu_worker: -1",
            "price_per_hour.gpu_worker: Input should be greater than or equal to 0",
        ),
        ("head_node_type: head", "head_node_type: haed", "unknown node type 'haed'. Did you mean 'head'"),
        ("max_workers: 8\nupscaling", "max_workers: eight\nupscaling", "line 14: max_workers: 'eight' is not of type"),
        ("ssh_user:", "ssh_usr:", "auth: Additional properties.*ssh_usr"),
    ],
)
def test_a_typo_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    text = (ROOT / "cluster.yaml").read_text()
    assert old in text
    path = tmp_path / "cluster.yaml"
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(ConfigurationError, match=message):
        read_cluster_file(path)


def changed_file(folder: Path, provider: str, /, **changes: Any) -> Path:
    """Write a small file of one head and one kind of worker, with other keys; None leaves one out."""
    kinds = {name: {"node_config": {"InstanceType": "m5.large"}} for name in ("head", "worker")}
    usual = {
        "cluster_name": "small",
        "provider": {"type": provider, "region": "us-west-2"},
        "available_node_types": kinds,
        "head_node_type": "head",
    }
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump({key: value for key, value in {**usual, **changes}.items() if value is not None}))
    return path


def test_what_ray_fills_in_need_not_be_written(tmp_path: Path) -> None:
    (worker,) = read_cluster_file(changed_file(tmp_path, "aws")).workers
    assert (worker.cpus, worker.gpus, worker.most) == (None, None, 2), "Ray's own max_workers, and sizes from the cloud"
    small = {"node_config": {"InstanceType": "m5.large"}, "resources": {"CPU": 2, "GPU": 0}}
    kinds = {"head": small, "worker": {**small, "max_workers": 7}}
    (worker,) = read_cluster_file(changed_file(tmp_path, "aws", available_node_types=kinds, max_workers=5)).workers
    assert (worker.cpus, worker.gpus, worker.most) == (2, 0, 5)
    default = read_cluster_file(changed_file(tmp_path, "aws", available_node_types=None, head_node_type=None))
    assert (default.head.name, [kind.name for kind in default.workers]) == ("ray.head.default", ["ray.worker.default"])
    old = changed_file(tmp_path, "aws", min_workers=0, head_node={}, worker_nodes={})
    assert len(read_cluster_file(old).workers) == 1


def test_workers_may_be_of_the_heads_type(tmp_path: Path) -> None:
    kind = {"node_config": {"InstanceType": "g4dn.xlarge"}, "resources": {"CPU": 4, "GPU": 1}, "max_workers": 3}
    changes = {"available_node_types": {"node": kind}, "head_node_type": "node", "max_workers": 8}
    cluster = read_cluster_file(changed_file(tmp_path, "aws", **changes))
    assert (cluster.head.name, cluster.head.most) == ("node", 1)
    assert [(worker.name, worker.gpus, worker.most) for worker in cluster.workers] == [("node", 1, 3)]


def test_sizes_that_ray_reads_off_the_machine_are_unknown(tmp_path: Path) -> None:
    kinds = {"head": {"node_config": {}, "resources": {}}, "worker": {"node_config": {}, "resources": {"CPU": 2.0}}}
    cluster = read_cluster_file(changed_file(tmp_path, "gcp", available_node_types=kinds, max_workers=2.0))
    assert (cluster.head.cpus, cluster.head.gpus) == (None, None)
    (worker,) = cluster.workers
    assert str((worker.cpus, worker.gpus, worker.most)) == "(2, 0, 2)"


def test_what_ray_reads_of_every_provider_is_known(tmp_path: Path) -> None:
    provider = {"type": "aws", "region": "r", "use_internal_ips": True, "use_external_head_ip": True}
    assert read_cluster_file(changed_file(tmp_path, "aws", provider=provider)).provider == "aws"


def test_what_ray_does_not_fill_in_must_be_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="'resources' is a required property; Ray would refuse it"):
        read_cluster_file(changed_file(tmp_path, "gcp"))
    kind = {"node_config": {}, "resources": {"CPU": 2}, "min_workers": 3}
    too_many = changed_file(tmp_path, "gcp", available_node_types={"head": kind, "worker": kind}, max_workers=5)
    with pytest.raises(ConfigurationError, match=r"Ray would refuse it: .*`max_workers` is smaller than the sum"):
        read_cluster_file(too_many)
    kinds = {"head": {"node_config": None, "resources": {}}}
    with pytest.raises(ConfigurationError, match="None is not of type 'object'; Ray would refuse it"):
        read_cluster_file(changed_file(tmp_path, "aws", available_node_types=kinds))
    with pytest.raises(ConfigurationError, match="3 is not of type 'object'; Ray would refuse it"):
        read_cluster_file(changed_file(tmp_path, "aws", available_node_types=3))
    with pytest.raises(ConfigurationError, match="head_node_type: 1 is not of type 'string'; Ray would refuse it"):
        read_cluster_file(changed_file(tmp_path, "aws", head_node_type=1))
    with pytest.raises(ConfigurationError, match="Ray would refuse it: the key 'setup_commands' is missing"):
        read_cluster_file(changed_file(tmp_path, "external"))
    with pytest.raises(ConfigurationError, match="Ray would refuse it: Unsupported node provider: nimbus"):
        read_cluster_file(changed_file(tmp_path, "nimbus"))


LOCAL = {"type": "local", "head_ip": "h", "worker_ips": ["a", "b"]}


def local_file(folder: Path, provider: dict[str, Any] | None, **changes: Any) -> Path:
    return changed_file(folder, "local", provider=provider, available_node_types=None, head_node_type=None, **changes)


def test_of_machines_of_ones_own_the_number_is_known_and_the_size_only_if_it_is_stated(tmp_path: Path) -> None:
    cluster = read_cluster_file(local_file(tmp_path, LOCAL))
    (worker,) = cluster.workers
    assert (worker.cpus, worker.gpus, worker.most) == (None, None, 2)
    notes = {"splitbench": {"cpus_per_worker": 8, "gpus_per_worker": 0}}
    stated = read_cluster_file(
        local_file(tmp_path, {**LOCAL, "external_head_ip": "x"}, max_workers=1, min_workers=0, metadata=notes)
    )
    assert (stated.head.cpus, stated.head.gpus, stated.workers[0].most) == (8, 0, 1)
    coordinator = local_file(tmp_path, {"type": "local", "coordinator_address": "c:1234"}, max_workers=7)
    assert read_cluster_file(coordinator).workers[0].most == 7


@pytest.mark.parametrize(
    ("provider", "changes", "reason"),
    [
        ({"type": "local", "head_ip": "h"}, {}, "Ray would refuse it: Please supply a `head_ip` and list of"),
        ({"type": "local", "head_ip": "h"}, {"cluster_name": None}, "Please supply a `head_ip` and list of"),
        ({"type": "local", "coordinator_address": "c"}, {}, "The field `max_workers` is required when using"),
        ({**LOCAL, "worker_ips": 3}, {"cluster_name": None}, "provider.worker_ips: 3 is not of type 'array'"),
        ({**LOCAL, "head_pi": "h"}, {}, "provider: unknown key 'head_pi'. Did you mean 'head_ip'"),
        (None, {"cluster_name": None}, "'provider' is a required property"),
    ],
)
def test_the_reason_of_a_refusal_is_rays_own_and_only_ours_is_printed(
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    provider: dict[str, Any] | None,
    changes: dict[str, Any],
    reason: str,
) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(reason)):
        read_cluster_file(local_file(tmp_path, provider, **changes))
    assert capfd.readouterr() == ("", "")


def test_ray_prints_nothing_about_a_file_that_it_takes(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    read_cluster_file(local_file(tmp_path, LOCAL, max_workers=5, min_workers=3))
    read_cluster_file(changed_file(tmp_path, "aws", min_workers=0, head_node={}, worker_nodes={}))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("provider", ["aws", "gcp", "local"])
def test_every_key_that_ray_reads_of_a_provider_is_known(provider: str) -> None:
    from ray.autoscaler._private import constants, providers

    folder = Path(providers.__file__).parent
    text = "".join(path.read_text() for path in (folder / provider).rglob("*.py"))
    read = set(re.findall(r"""provider(?:_config)?(?:"\])?(?:\.get\(|\[)\s*"([a-z]\w*)\"""", text))
    read |= {value for name, value in vars(constants).items() if name.endswith("_KEY") and "LAUNCH" in name}
    assert len(read) > 3
    assert read - provider_keys(provider) == {"list_of_node_ips"} & read, "which Ray writes itself"


@pytest.mark.parametrize(
    ("spelling", "meaning"),
    [
        ("012", "the number 10"),
        ("10:20", "the number 620"),
        ("1_000", "the number 1000"),
        ("yes", "true"),
        ("1e-3", "the text 1e-3"),
        ("2026-02-03", "the date 2026-02-03"),
        ("2026-02-30", "an error"),
    ],
)
def test_what_ray_would_read_otherwise_is_refused(tmp_path: Path, spelling: str, meaning: str) -> None:
    path = tmp_path / "cluster.yaml"
    path.write_text(f"cluster_name: x\nmax_workers: {spelling}\n")
    with pytest.raises(ConfigurationError) as refusal:
        read_cluster_file(path)
    assert str(refusal.value).startswith(f"{path}, line 2: {spelling} is {meaning} to Ray, which reads YAML 1.1; ")


def test_a_boolean_is_no_price(tmp_path: Path) -> None:
    path = tmp_path / "cluster.yaml"
    text = (ROOT / "cluster.yaml").read_text().replace("gpu_worker: 0.526", "gpu_worker: true", 1)
    path.write_text(text)
    line = text[: text.index("price_per_hour:")].count("\n") + 1
    with pytest.raises(ConfigurationError) as refusal:
        read_cluster_file(path)
    message = "metadata.splitbench: price_per_hour: expected a number, not true."
    assert str(refusal.value) == f"{path}, line {line}: {message}"


@pytest.mark.parametrize("data", ["a: ü\n".encode("utf-16"), "a: ü\n".encode("latin-1"), b"a: \x0b\n", b"a: [\n"])
def test_a_file_that_cannot_be_parsed_is_refused_in_one_line(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "cluster.yaml"
    path.write_bytes(data)
    with pytest.raises(ConfigurationError, match=r"^[^\n]*cluster\.yaml, line \d+: [^\n]+$"):
        read_cluster_file(path)


@pytest.mark.parametrize("path", RAY_FILES, ids=lambda path: path.name)
def test_a_file_that_is_not_filled_in_yet_is_not_used(path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"line \d+: .*YOUR-.* is still to be filled in"):
        read_cluster_file(path).require_filled_in()
