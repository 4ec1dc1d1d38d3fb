"""Two machines made of one: each has its own processes, its own name, its own home and Ray folder, and an sshd."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

HEAD, WORKER = "10.200.0.1", "10.200.0.2"
_PROGRAMS = ("sshd", "ssh", "ssh-keygen", "rsync", "ip", "unshare", "mount", "hostname")
_SPACE = "splitbench-e2e"
_LINK, _LINK_INSIDE = "sb-e2e-0", "sb-e2e-1"


@dataclass
class Machine:
    """A machine.

    Args:
        address: Its address.
        process: The first of its processes, which all others end with.
    """

    address: str
    process: subprocess.Popen[bytes]

    def programs(self) -> list[str]:
        """Return the command lines of what runs on it, but for the sshd and shells that make it a machine."""
        space = self._space()
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdecimal():
                continue
            try:
                words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
                if os.readlink(entry / "ns" / "pid") == space and words and "sshd" not in words:
                    found.append(words)
            except OSError:
                continue
        return found

    def _space(self) -> str:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return os.readlink(f"/proc/{children[0]}/ns/pid")


class Machines:
    """The two machines, and the key that opens them.

    Args:
        folder: Where everything of theirs lies.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key = folder / "key"
        self._run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.key))
        self._run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "host_key"))
        self._connect()
        self.head = self._start(HEAD, "head")
        self.worker = self._start(WORKER, "worker", "ip", "netns", "exec", _SPACE)

    def close(self) -> None:
        """End everything that runs on the machines, and the net between them."""
        for name in ("head", "worker"):
            machine: Machine | None = getattr(self, name, None)
            if machine is not None:
                os.killpg(machine.process.pid, signal.SIGKILL)
                machine.process.wait()
        for command in (("link", "delete", _LINK), ("netns", "delete", _SPACE)):
            subprocess.run(["ip", *command], capture_output=True, check=False)

    def _connect(self) -> None:
        for command in (
            ("netns", "add", _SPACE),
            ("link", "add", _LINK, "type", "veth", "peer", "name", _LINK_INSIDE),
            ("link", "set", _LINK_INSIDE, "netns", _SPACE),
            ("address", "add", f"{HEAD}/24", "dev", _LINK),
            ("link", "set", _LINK, "up"),
            ("-n", _SPACE, "address", "add", f"{WORKER}/24", "dev", _LINK_INSIDE),
            ("-n", _SPACE, "link", "set", _LINK_INSIDE, "up"),
            ("-n", _SPACE, "link", "set", "lo", "up"),
        ):
            self._run("ip", *command)

    def _start(self, address: str, name: str, *prefix: str) -> Machine:
        own, home = self.folder / name, Path(os.path.expanduser("~root"))
        for part in ("ray", "disk"):
            (own / part).mkdir(parents=True)
        config = self.folder / f"sshd-{name}"
        config.write_text(
            f"ListenAddress {address}:22\nHostKey {self.folder / 'host_key'}\nPidFile none\n"
            f"AuthorizedKeysFile {self.key}.pub\nStrictModes no\nPermitRootLogin prohibit-password\n"
            "PasswordAuthentication no\nUsePAM no\nPrintMotd no\n"
        )
        Path("/run/sshd").mkdir(exist_ok=True)
        Path("/tmp/ray").mkdir(exist_ok=True)
        # Ray's folder is the machine's own, and what it writes into its home; and so are its processes: 'ray stop' sees
        # no others.
        script = (
            'hostname "$1" && mount --bind "$2/ray" /tmp/ray && mount -t tmpfs none "$2/disk" '
            '&& mkdir "$2/disk/home" "$2/disk/work" && touch "$2/disk/home/.bashrc" '
            '&& mount -t overlay -o "lowerdir=$3,upperdir=$2/disk/home,workdir=$2/disk/work" none "$3" '
            '&& exec "$4" -D -e -f "$5"'
        )
        command = [
            *prefix, "unshare", "--pid", "--fork", "--mount-proc", "--uts", "--kill-child",
            "sh", "-c", script, "machine", f"sb-{name}", str(own), str(home), str(shutil.which("sshd")), str(config),
        ]  # fmt: skip
        with (self.folder / f"sshd-{name}.log").open("wb") as log:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        machine = Machine(address, process)
        setattr(self, name, machine)
        self._await_sshd(machine, self.folder / f"sshd-{name}.log")
        return machine

    @staticmethod
    def _await_sshd(machine: Machine, log: Path) -> None:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            if machine.process.poll() is not None:
                break
            with socket.socket() as probe:
                probe.settimeout(1)
                if probe.connect_ex((machine.address, 22)) == 0:
                    return
            time.sleep(0.1)
        raise RuntimeError(f"no sshd on {machine.address}: {log.read_text()}")

    @staticmethod
    def _run(*command: str) -> None:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")


def make_machines(folder: Path) -> Machines:
    """Return two machines, or skips the test and says why there can be none."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("two machines are made of one by root on Linux only")
    missing = [name for name in _PROGRAMS if shutil.which(name) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)} (apt-get install openssh-server rsync iproute2)")
    machines = Machines.__new__(Machines)
    try:
        machines.__init__(folder)  # type: ignore[misc]
    except RuntimeError as error:
        machines.close()
        pytest.skip(f"this machine makes no second one: {error}")
    return machines
