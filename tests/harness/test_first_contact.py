"""Stores and clusters that never answer end a command within its limit, and can be interrupted before."""

from __future__ import annotations

import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from click.testing import Result

from benchmarks.cache.locations import network_timeout
from harness import first_contact
from harness.execution.ray import cluster
from harness.first_contact import (
    LIMIT_VARIABLE,
    limit_seconds,
    require_cluster_answers,
    require_server_answers,
)
from splitters.errors import ConfigurationError

Call = Callable[..., Result]


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """A port that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as server:
        yield server


@pytest.fixture
def free_port() -> int:
    """A port at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def s3_at(port: int) -> str:
    return f"s3://key:secret@bucket/x?scheme=http&region=us-east-1&endpoint_override=127.0.0.1%3A{port}"


def gs_at(port: int) -> str:
    return f"gs://anonymous@bucket/x?scheme=http&endpoint_override=127.0.0.1%3A{port}"


@pytest.mark.parametrize("uri", [s3_at, gs_at])
def test_a_store_that_never_answers_is_refused_by_its_address(
    call: Call, silent: socket.socket, uri: Callable[[int], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(LIMIT_VARIABLE, "1.5")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://elsewhere")
    location = uri(silent.getsockname()[1])
    result = call("leaderboard", location)
    assert result.exit_code == 2
    assert f"the results at {location}, AWS_ENDPOINT_URL=http://elsewhere cannot be reached" in result.stderr
    assert f"no answer within 1.5 s ({LIMIT_VARIABLE} changes this limit)" in result.stderr


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_command_that_waits_for_a_store_can_be_interrupted(
    silent: socket.socket, environment: dict[str, str], name: str
) -> None:
    command = [sys.executable, "-m", "harness", "leaderboard", s3_at(silent.getsockname()[1])]
    process = subprocess.Popen(command, env={**environment, LIMIT_VARIABLE: "500"}, stderr=subprocess.PIPE, text=True)
    silent.settimeout(60)
    # The command waits for an answer as soon as it has called.
    with silent.accept()[0]:
        process.send_signal(signal.Signals[name])
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert stderr == "Interrupted.\n"


def test_a_cluster_that_never_answers_is_refused_with_the_address_and_where_it_came_from(
    silent: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = f"127.0.0.1:{silent.getsockname()[1]}"
    monkeypatch.setattr(cluster.ray, "is_initialized", lambda: False)
    monkeypatch.setattr(cluster.ray, "init", lambda **keys: pytest.fail("Ray was asked"))
    monkeypatch.setenv(LIMIT_VARIABLE, "0.2")
    with pytest.raises(ConfigurationError, match=f"at '{address}', from --address: no answer within 0.2 s"):
        cluster.connection(address).__enter__()
    monkeypatch.setenv("RAY_ADDRESS", f"ray://{address}")
    with pytest.raises(ConfigurationError, match=f"at 'ray://{address}', from the environment variable RAY_ADDRESS"):
        cluster.connection(None).__enter__()


def test_a_cluster_at_a_closed_port_is_refused_at_once(free_port: int) -> None:
    with pytest.raises(ConfigurationError, match=r"from --address: .*refused"):
        require_cluster_answers(f"127.0.0.1:{free_port}", source="--address")


@pytest.mark.parametrize("address", ["local", "auto", "somewhere", "anyscale://x/y"])
def test_addresses_without_a_port_are_left_to_ray(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ray._private.services.find_gcs_addresses", set)
    monkeypatch.setattr("ray._private.services.find_bootstrap_address", lambda folder: None)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    require_cluster_answers(address, source="--address")


def test_the_cluster_that_auto_stands_for_is_contacted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster.ray, "is_initialized", lambda: False)
    monkeypatch.setattr(cluster.ray, "init", lambda **keys: pytest.fail("Ray was asked"))
    monkeypatch.setenv(LIMIT_VARIABLE, "0.2")
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    with socket.create_server(("0.0.0.0", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setattr("ray._private.services.find_gcs_addresses", lambda: {address})
        monkeypatch.setattr("ray._private.services.find_bootstrap_address", lambda folder: address)
        message = rf"at 'auto', which is \S+:{silent.getsockname()[1]}, from the environment variable RAY_ADDRESS: no"
        with pytest.raises(ConfigurationError, match=message):
            cluster.connection(None).__enter__()


@pytest.mark.ray
def test_a_cluster_that_lives_answers(ray_cluster: None) -> None:
    import ray

    require_cluster_answers(ray.get_runtime_context().gcs_address, source="--address")


@pytest.mark.parametrize("text", ["", "0", "-1", "nan", "inf", "soon"])
def test_a_limit_that_is_no_time_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LIMIT_VARIABLE, text)
    with pytest.raises(ConfigurationError, match=f"{LIMIT_VARIABLE}={text}: a number of seconds"):
        limit_seconds()


def test_a_shared_cache_that_does_not_answer_is_refused(
    call: Call, write_suite: Callable[..., Path], silent: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(LIMIT_VARIABLE, "1.5")
    result = call("run", write_suite(), "--backend", "inline", "--shared-cache", s3_at(silent.getsockname()[1]))
    assert result.exit_code == 2
    assert "the shared cache at s3://" in result.stderr
    assert "no answer within 1.5 s" in result.stderr


def test_a_server_that_never_answers_is_refused_and_any_answer_will_do(
    silent: socket.socket, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(LIMIT_VARIABLE, "0.2")
    with pytest.raises(ConfigurationError, match=r"the MLflow server at http://.* no answer within 0.2 s"):
        require_server_answers(f"http://127.0.0.1:{silent.getsockname()[1]}", what="MLflow server")
    with pytest.raises(ConfigurationError, match="Connection refused"):
        require_server_answers(f"http://127.0.0.1:{free_port}", what="MLflow server")
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        answering = threading.Thread(target=server.handle_request)
        answering.start()
        monkeypatch.setenv(LIMIT_VARIABLE, "30")
        require_server_answers(f"http://127.0.0.1:{server.server_port}", what="MLflow server")
        answering.join()
    require_server_answers("sqlite:///x.db", what="MLflow server")


def test_a_server_is_contacted_without_the_users_password_and_whoever_signed_its_certificate(
    free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(
        ConfigurationError, match=rf"the MLflow server at http://127.0.0.1:{free_port} cannot"
    ) as caught:
        require_server_answers(f"http://me:secret@127.0.0.1:{free_port}", what="MLflow server")
    assert "secret" not in str(caught.value)

    def refuse(uri: str, timeout: float) -> None:
        raise URLError(ssl.SSLCertVerificationError("self-signed certificate"))

    monkeypatch.setattr(first_contact, "urlopen", refuse)
    require_server_answers("https://here", what="MLflow server")


def test_a_download_that_stops_is_given_up(silent: socket.socket) -> None:
    with network_timeout(0.2), pytest.raises(OSError, match="timed out"):
        urlopen(f"http://127.0.0.1:{silent.getsockname()[1]}")
    assert socket.getdefaulttimeout() is None


def test_whatever_a_client_raises_at_the_first_request_is_a_refusal(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("huggingface_hub")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nobody answers there
    result = call("status", "hf://datasets/someone/results")
    assert result.exit_code == 2
    assert "the results at hf://datasets/someone/results cannot be reached: " in result.stderr
