"""A limit on the first contact with what may never answer: object stores and Ray clusters.

Their clients wait for many minutes in native code, deaf to Ctrl-C. So a store is asked by a process of its own, which
can be killed, and a cluster's port is asked before Ray is.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from contextlib import suppress

from splitters.errors import ConfigurationError

LIMIT_VARIABLE = "SPLITBENCH_CONTACT_SECONDS"
_LIMIT_SECONDS = 30.0

_REMOTE = ("s3", "gs", "gcs", "hdfs", "viewfs", "abfs", "abfss")
_ENDPOINT_VARIABLES = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "CLOUD_STORAGE_EMULATOR_ENDPOINT")
"""What the clients of S3 and GCS read an endpoint from."""

# Only silence and requests that fail count; what is wrong with the URI itself is reported by who opens it.
_ASK_STORE = """
import json, sys, time
uri, sys.path = json.load(sys.stdin)
from pyarrow import fs
try:
    filesystem, root = fs.FileSystem.from_uri(uri)
except Exception:
    sys.exit(0)
for attempt in range(3):
    try:
        filesystem.get_file_info(root)
        sys.exit(0)
    except (PermissionError, FileNotFoundError):
        sys.exit(0)
    except OSError as error:
        reason = str(error)
        time.sleep(attempt)
print(reason)
"""

_HTTP2_GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
"""HTTP/2's preface and empty settings, which every gRPC server answers."""


def limit_seconds() -> float:
    """Returns how long the first answer of a store or cluster may take.

    Raises:
        ConfigurationError: If the environment names no positive number.
    """
    text = os.environ.get(LIMIT_VARIABLE, str(_LIMIT_SECONDS))
    with suppress(ValueError):
        if 0 < float(text) < float("inf"):
            return float(text)
    raise ConfigurationError(f"{LIMIT_VARIABLE}={text}: a number of seconds above 0 is needed, for example 30.")


def require_store_answers(location: str) -> None:
    """Checks that a remote store answers, whatever it says.

    Args:
        location: Folder or URI; local ones are not asked.

    Raises:
        ConfigurationError: If it does not answer in time, or not to any of three requests.
    """
    if location.partition("://")[0] not in _REMOTE or "://" not in location:
        return
    limit = limit_seconds()
    try:
        asked = subprocess.run(
            [sys.executable, "-I", "-c", _ASK_STORE],
            input=json.dumps([location, sys.path]),
            capture_output=True,
            text=True,
            timeout=limit,
        )
    except subprocess.TimeoutExpired:
        reason = f"no answer within {limit:g} s ({LIMIT_VARIABLE} changes this limit)"
    else:
        reason = asked.stdout.strip()
    if reason:
        endpoint = "".join(f", {name}={os.environ[name]}" for name in _ENDPOINT_VARIABLES if name in os.environ)
        raise ConfigurationError(
            f"the results at {location}{endpoint} cannot be reached: {reason}. "
            "Check the address, the network, and the credentials in the environment."
        )


def require_cluster_answers(address: str, *, source: str) -> None:
    """Checks that something speaks gRPC at a cluster's address.

    Args:
        address: As Ray takes it; only ``HOST:PORT`` and ``ray://HOST:PORT`` can be asked.
        source: Where the address comes from, for the message.

    Raises:
        ConfigurationError: If nothing answers there in time.
    """
    parts = re.fullmatch(r"(?:ray://)?\[?(?P<host>[^/\[\]]+?)\]?:(?P<port>\d{1,5})", address)
    if parts is None:
        return
    limit = limit_seconds()
    try:
        with socket.create_connection((parts["host"], int(parts["port"])), timeout=limit) as connection:
            connection.sendall(_HTTP2_GREETING)
            connection.recv(1)
    except TimeoutError:
        reason = f"no answer within {limit:g} s ({LIMIT_VARIABLE} changes this limit)"
    except (OSError, OverflowError) as error:
        reason = str(error)
    else:
        return
    raise ConfigurationError(
        f"no Ray cluster can be used at {address!r}, from {source}: {reason}. Start one with 'ray start --head', "
        "name another with --address, or use --backend inline."
    )
