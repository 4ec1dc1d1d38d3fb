"""A scenario and a splitter that do whatever a test asks of them; importable in workers as a plugin."""

from __future__ import annotations

import ctypes
import decimal
import errno
import gc
import io
import locale
import logging
import os
import random
import signal
import socket
import sys
import time
import warnings
from pathlib import Path
from typing import NoReturn

import numpy as np
import torch
from torch.backends import cuda, cudnn, mkldnn

from benchmarks.cache.artifacts import ArtifactCache
from benchmarks.cache.shared_cache import SharedCache
from benchmarks.cells import Cell
from benchmarks.pipeline.workspace import Workspace
from benchmarks.rows.row import Metrics, StageRecord
from benchmarks.scenarios.scenario import SCENARIOS, CellSkippedError, Scenario
from splitters.errors import ConfigurationError, SplitFailedError
from splitters.methods.protocol import SPLITTERS, Checkpoint, CheckpointState, Progress, Splitter, SplitterReference
from splitters.settings import Settings

KEPT: list[torch.inference_mode] = []


def change_process(folder: str) -> None:
    """Changes whatever a method might change in its process."""
    torch.set_default_dtype(torch.float64)
    torch.set_default_device("meta")
    torch.set_grad_enabled(False)
    torch.autograd.set_detect_anomaly(True)
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.set_float32_matmul_precision("medium")
    torch.set_num_threads(torch.get_num_threads() + 1)
    cudnn.benchmark = not cudnn.benchmark
    cudnn.deterministic = not cudnn.deterministic
    torch.manual_seed(99)
    np.random.seed(99)
    random.seed(99)
    os.environ["LEFT_BY_A_CELL"] = "1"
    os.environ.pop("SPLITBENCH_CACHE", None)
    os.chdir(folder)
    sys.path.insert(0, folder)
    warnings.simplefilter("ignore")
    change_torch()
    change_interpreter()


def change_torch() -> None:
    """Changes torch's rarer settings."""
    torch.set_flush_denormal(True)
    torch.set_autocast_enabled("cpu", True)
    torch.utils.deterministic.fill_uninitialized_memory = False
    torch.nn.modules.module.register_module_forward_hook(lambda module, inputs, output: output * 2)
    mkldnn.enabled = False
    cuda.enable_math_sdp(False)
    # From now on, torch raises where older settings of precision are read.
    cudnn.conv.fp32_precision = "ieee"
    cuda.matmul.fp32_precision = "tf32"


def change_interpreter() -> None:
    """Changes what Python and NumPy keep for the whole process."""
    np.seterr(all="raise")
    decimal.getcontext().prec = 3
    locale.setlocale(locale.LC_ALL, "C" if "UTF-8" in locale.setlocale(locale.LC_ALL) else "C.UTF-8")
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.setitimer(signal.ITIMER_VIRTUAL, 1000)
    logging.disable(logging.CRITICAL)
    logging.getLogger().setLevel(logging.DEBUG)
    logging.getLogger().addHandler(logging.NullHandler())
    sys.setrecursionlimit(sys.getrecursionlimit() + 1)
    sys.stdout = io.StringIO()
    gc.disable()
    socket.setdefaulttimeout(1.0)
    os.umask(0o777)


class ToySettings(Settings):
    """Settings of the toy.

    Args:
        behaviour: What a cell does.
        loss: The accuracy loss that it reports; the seed adds a thousandth each.
        folder: Where it leaves marks.
        like: Another splitter.
    """

    behaviour: str = "ok"
    loss: float = 0.02
    folder: str = ""
    like: SplitterReference | None = None


@SPLITTERS.register("toy")
class Toy(Splitter[ToySettings]):
    """A splitter that is only a name."""

    Settings = ToySettings
    version = 3

    def split(self, *args: object, **kwargs: object) -> NoReturn:
        raise NotImplementedError


@SPLITTERS.register("other")
class Other(Toy):
    """Another name."""


@SCENARIOS.register("toy")
class ToyScenario(Scenario):
    """Does what ``behaviour`` says."""

    def check(self, cell: Cell) -> None:
        if cell.splitter.settings["behaviour"] == "refused":
            raise ConfigurationError("the toy refuses this cell.")

    def _die_first(self, settings: ToySettings, workspace: Workspace) -> None:
        # The first six attempts fail, whoever makes them.
        with (Path(settings.folder) / "attempts").open("a+") as file:
            file.write("x")
            if file.tell() <= 6:
                raise SplitFailedError("not yet")

    def measure(self, cell: Cell, workspace: Workspace) -> Metrics:
        settings = ToySettings.parse(cell.splitter.settings, where="toy")
        behaviour = getattr(self, f"_{settings.behaviour}", None)
        workspace.progress(Progress("split", 1, 2, {"accuracy": 0.5}))
        if behaviour is not None:
            behaviour(settings, workspace)
        loss = settings.loss + cell.seed / 1000
        return Metrics(
            base_accuracy=0.9,
            composed_accuracy=0.9 - loss,
            accuracy_loss=loss,
            kernel_retention=0.4,
            kernel_retention_union=0.8,
            flops_retention=0.5,
            param_retention=0.45,
            jaccard_distance=0.3,
            split_seconds=1.5,
            stages=[StageRecord(name="split", seconds=1.5)],
            warnings=[f"gpu {os.environ.get('CUDA_VISIBLE_DEVICES', 'unset')}"] if settings.behaviour == "gpu" else [],
        )

    def _raise(self, settings: ToySettings, workspace: Workspace) -> None:
        raise SplitFailedError("no usable modules\nsecond line")

    def _long_reason(self, settings: ToySettings, workspace: Workspace) -> None:
        raise SplitFailedError("x" * 2000)

    def _exit(self, settings: ToySettings, workspace: Workspace) -> None:
        sys.exit(3)

    def _panic(self, settings: ToySettings, workspace: Workspace) -> None:
        raise GeneratorExit("as little an Exception as the panic of a Rust extension")

    def _mute(self, settings: ToySettings, workspace: Workspace) -> None:
        class MuteError(Exception):
            def __str__(self) -> str:
                raise RuntimeError("no text")

        raise MuteError

    def _nan(self, settings: ToySettings, workspace: Workspace) -> None:
        Metrics(accuracy_loss=float("nan"))

    def _memory(self, settings: ToySettings, workspace: Workspace) -> None:
        raise MemoryError("no memory left")

    def _skip(self, settings: ToySettings, workspace: Workspace) -> None:
        raise CellSkippedError("nothing to split here")

    def _polite(self, settings: ToySettings, workspace: Workspace) -> None:
        if settings.folder:
            (Path(settings.folder) / "begun").touch()
        for step in range(600):
            workspace.progress(Progress("split", step, 600))
            time.sleep(0.1)

    def _die_when_asked(self, settings: ToySettings, workspace: Workspace) -> None:
        try:
            self._polite(settings, workspace)
        except BaseException:
            os.kill(os.getpid(), signal.SIGKILL)
            raise

    def _leave_changes(self, settings: ToySettings, workspace: Workspace) -> None:
        change_process(settings.folder)

    def _draw(self, settings: ToySettings, workspace: Workspace) -> None:
        raise SplitFailedError(f"{random.random()} {np.random.rand()} {torch.rand(()).item()}")

    def _enter_inference_mode(self, settings: ToySettings, workspace: Workspace) -> None:
        KEPT.append(torch.inference_mode())
        KEPT[-1].__enter__()

    def _add(self, settings: ToySettings, workspace: Workspace) -> None:
        is_at_home = Path("pyproject.toml").exists()
        if torch.ones(1).dtype is not torch.float32 or "LEFT_BY_A_CELL" in os.environ or not is_at_home:
            raise SplitFailedError("another cell's process")

    def _no_text(self, settings: ToySettings, workspace: Workspace) -> None:
        raise OSError("no caf\udce9 here")

    def _nap(self, settings: ToySettings, workspace: Workspace) -> None:
        time.sleep(0.3)

    def _doze(self, settings: ToySettings, workspace: Workspace) -> None:
        time.sleep(4.0)

    def _block_once(self, settings: ToySettings, workspace: Workspace) -> None:
        mark = Path(settings.folder) / "blocked"
        if not mark.exists():
            _write(mark, str(os.getpid()))
            time.sleep(120)

    def _block_third(self, settings: ToySettings, workspace: Workspace) -> None:
        with (Path(settings.folder) / "count").open("a") as file:
            file.write("x")
            if file.tell() == 3:
                _write(Path(settings.folder) / "blocked", str(os.getpid()))
                time.sleep(120)

    def _polite_once(self, settings: ToySettings, workspace: Workspace) -> None:
        if not (Path(settings.folder) / "begun").exists():
            self._polite(settings, workspace)

    def _disk_full(self, settings: ToySettings, workspace: Workspace) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _no_file(self, settings: ToySettings, workspace: Workspace) -> None:
        Path("/no/such/file").read_text()

    def _native(self, settings: ToySettings, workspace: Workspace) -> None:
        # PyDLL keeps the interpreter's lock: no other thread of the process gets a turn.
        ctypes.PyDLL(None).sleep(120)

    def _glutton_once(self, settings: ToySettings, workspace: Workspace) -> None:
        mark, eaten = Path(settings.folder) / "eaten", []
        while not mark.exists() or eaten:
            mark.touch()
            eaten.append(b"x" * (64 << 20))
            time.sleep(0.05)

    def _home(self, settings: ToySettings, workspace: Workspace) -> None:
        """Goes in steps with a checkpoint in a cache that its machine does not share; blocks once, after five."""
        from ray import get_runtime_context

        node, folder = get_runtime_context().get_node_id(), Path(settings.folder)

        def make(checkpoint: Checkpoint) -> CheckpointState:
            state = checkpoint.load()
            step = 0 if state is None else int(state.values["step"])
            with (folder / "steps").open("a") as file:
                file.write(f"{node} {step}\n")
            while step < 10:
                step += 1
                checkpoint.save(CheckpointState({}, {"step": step}))
                if step == 5 and not (folder / "node").exists():
                    _write(folder / "node", node)
                    time.sleep(120)
            return CheckpointState({}, {"step": step})

        shared_cache = SharedCache(workspace.shared_cache) if workspace.shared_cache else None
        cache = ArtifactCache(workspace.cache / node, shared_cache=shared_cache, checkpoint_every=0.0)
        cache.get_or_make("steps", {"folder": settings.folder}, make)

    def _deaf(self, settings: ToySettings, workspace: Workspace) -> None:
        time.sleep(120)

    def _die(self, settings: ToySettings, workspace: Workspace) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def _die_once(self, settings: ToySettings, workspace: Workspace) -> None:
        mark = Path(settings.folder) / "died"
        if not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)

    def _gpu(self, settings: ToySettings, workspace: Workspace) -> None:
        # Long enough that another cell runs at the same time.
        time.sleep(1.0)


def _write(path: Path, text: str) -> None:
    """Writes a file that appears with its content."""
    half = path.with_name(f"half-{path.name}")
    half.write_text(text)
    half.rename(path)
