"""A time limit on the first contact with object stores and Ray clusters, which may never answer.

Their clients would wait for many minutes in native code, deaf to Ctrl-C. So a store is contacted by a separate process,
which can be killed, and a cluster's port is contacted before Ray is.
"""

from __future__ import annotations

import json
import os
import re
import socket
import ssl
import subprocess
import sys
from contextlib import suppress
from http.client import HTTPException
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import urlopen

from splitters.errors import ConfigurationError

LIMIT_VARIABLE = "SPLITBENCH_CONTACT_SECONDS"
_LIMIT_SECONDS = 30.0

_LOCAL = ("file", "mock")
_ENDPOINT_VARIABLES = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "CLOUD_STORAGE_EMULATOR_ENDPOINT")
"""Variables from which the clients of S3 and GCS read an endpoint."""

# Only silence and failing requests count; whoever opens the URI reports what is wrong with the URI itself.
_CONTACT_STORE = """
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
    except Exception as error:
        reason = str(error)
        time.sleep(attempt)
print(reason)
"""

_HTTP2_GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
"""The preface and empty settings of HTTP/2, which every gRPC server answers."""


def limit_seconds() -> float:
    """Return the time limit on the first answer of a store or cluster.

    Raises:
        ConfigurationError: If the environment variable holds no positive number.
    """
    text = os.environ.get(LIMIT_VARIABLE, str(_LIMIT_SECONDS))
    with suppress(ValueError):
        if 0 < float(text) < float("inf"):
            return float(text)
    raise ConfigurationError(f"{LIMIT_VARIABLE}={text}: a number of seconds above 0 is needed, for example 30.")


def require_store_answers(location: str, *, what: str = "results") -> None:
    """Check that a remote store answers, whatever the answer is.

    Args:
        location: Folder or URI; local ones are not contacted.
        what: What is there, for the message.

    Raises:
        ConfigurationError: If it does not answer in time, or three requests fail.
    """
    if "://" not in location or location.partition("://")[0] in _LOCAL:
        return
    limit = limit_seconds()
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-c", _CONTACT_STORE],
            input=json.dumps([location, sys.path]),
            capture_output=True,
            text=True,
            timeout=limit,
        )
    except subprocess.TimeoutExpired:
        reason = f"no answer within {limit:g} s ({LIMIT_VARIABLE} changes this limit)"
    else:
        reason = done.stdout.strip()
    if reason:
        endpoint = "".join(f", {name}={os.environ[name]}" for name in _ENDPOINT_VARIABLES if name in os.environ)
        raise ConfigurationError(
            f"the {what} at {location}{endpoint} cannot be reached: {reason}. "
            "Check the address, the network, and the credentials in the environment."
        )


def require_server_answers(uri: str, *, what: str) -> None:
    """Check that an HTTP server answers, whatever the answer is.

    Args:
        uri: Its address; others than ``http:`` and ``https:`` are not contacted.
        what: What is there, for the message.

    Raises:
        ConfigurationError: If it does not answer in time.
    """
    if not uri.lower().startswith(("http://", "https://")):
        return
    limit = limit_seconds()
    parts = urlsplit(uri)
    uri = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()  # without a user's name and password
    try:
        urlopen(uri, timeout=limit).close()
    except HTTPError:
        return
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        if isinstance(reason, ssl.SSLError):
            return  # It has answered; whose certificates are trusted is the client's setting.
        if isinstance(reason, TimeoutError):
            reason = f"no answer within {limit:g} s ({LIMIT_VARIABLE} changes this limit)"
        raise ConfigurationError(f"the {what} at {uri} cannot be reached: {reason}.") from None


def require_cluster_answers(address: str, *, source: str) -> None:
    """Check that something speaks gRPC at a cluster's address.

    Args:
        address: As Ray accepts it. ``HOST:PORT`` and ``ray://HOST:PORT`` are contacted, and so is what ``auto`` stands
            for; Ray itself reports what is wrong with any other address.
        source: Where the address comes from, for the message.

    Raises:
        ConfigurationError: If nothing answers there in time.
    """
    meant = _cluster_of_auto() if address == "auto" else address
    parts = re.fullmatch(r"(?:ray://)?\[?(?P<host>[^/\[\]]+?)\]?:(?P<port>\d{1,5})", meant)
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
    where = repr(address) if meant == address else f"{address!r}, which is {meant}"
    raise ConfigurationError(
        f"no Ray cluster can be used at {where}, from {source}: {reason}. Start one with 'ray start --head', "
        "name another with --address, or use --backend inline."
    )


def _cluster_of_auto() -> str:
    """Return the address that Ray would connect to for ``auto``; empty if it finds none."""
    # Ray has no public function for this; 'ray.init' itself calls this one.
    from ray._private.services import canonicalize_bootstrap_address

    try:
        return canonicalize_bootstrap_address("auto") or ""
    except (ConnectionError, ValueError, OSError):
        return ""
