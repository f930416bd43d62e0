"""Certificates that cannot be used are found at the start; files are looked at now and then."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sidelight.base.configuration.section import ConfigError
from sidelight.base.tls import watched
from support.certificates import Authority, Files
from support.collector import run_to_end, settings
from support.replacing import replace_text
from support.secured import secured_settings
from support.waiting import eventually


def _no_pem(files: Files) -> None:
    files.certificate.write_text("not a certificate")


def _foreign_key(files: Files) -> None:
    other = Authority(files.key.parent, "unrelated").issue("unrelated")
    files.key.write_bytes(other.key.read_bytes())


def _encrypted(files: Files) -> None:
    text = files.key.read_text().splitlines()
    files.key.write_text("\n".join([text[0], "Proc-Type: 4,ENCRYPTED", *text[1:]]))


@pytest.mark.parametrize("section", ["receivers.otlp_http", "receivers.otlp_grpc", "serve"])
@pytest.mark.parametrize(
    ("fault", "key", "words"),
    [
        (lambda files: files.certificate.unlink(), "certificate", "No such file"),
        (_no_pem, "certificate", "does not hold a certificate in PEM"),
        (_foreign_key, "key", "does not belong to the certificate"),
        (_encrypted, "key", "without a passphrase"),
    ],
)
def test_faults_at_the_start_name_key_file_and_remedy(
    tmp_path: Path, section: str, fault: Callable[[Files], None], key: str, words: str
) -> None:
    """Exit code 2 and one line, before anything listens."""
    server = Authority(tmp_path).issue("server")
    fault(server)
    tls = {"certificate": str(server.certificate), "key": str(server.key)}
    config = settings(tmp_path)
    part: dict[str, Any] = config
    for name in section.split("."):
        part = part[name]
    part["tls"] = tls
    code, messages = run_to_end(config, tmp_path)
    assert code == 2
    (line,) = [each for each in messages if f"{section}.tls.{key}" in each]
    assert words in line
    assert str(getattr(server, key)) in line


def test_a_client_ca_that_is_none_is_a_fault(tmp_path: Path) -> None:
    """It would let nobody in, or everybody."""
    server = Authority(tmp_path).issue("server")
    broken = tmp_path / "broken.pem"
    broken.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    code, messages = run_to_end(secured_settings(tmp_path, server, broken), tmp_path)
    assert code == 2
    assert any(
        f"tls.client_ca: {broken} does not hold a valid certificate" in each for each in messages
    )


def test_files_are_looked_at_by_a_thread(tmp_path: Path) -> None:
    """Using the value never waits for the disk; what is made of files is made when they change."""
    file = tmp_path / "file"
    file.write_text("1")
    makers: list[str] = []

    def make() -> str:
        makers.append(threading.current_thread().name)
        return file.read_text()

    made = watched.Watched([file], make)
    assert made.current() == "1"
    replace_text(file, "22")
    eventually(lambda: made.current() == "22")
    assert makers == [threading.main_thread().name, "sidelight-files"]


def test_a_file_that_cannot_be_used_leaves_the_value(tmp_path: Path) -> None:
    """And a later one that can is used."""
    file = tmp_path / "file"
    file.write_text("1")
    attempts: list[str] = []

    def make() -> str:
        attempts.append(text := file.read_text())
        if text == "bad":
            raise ConfigError("bad")
        return text

    made = watched.Watched([file], make)
    replace_text(file, "bad")
    eventually(lambda: "bad" in attempts)
    assert made.current() == "1"
    replace_text(file, "good")
    eventually(lambda: made.current() == "good")


def test_what_is_used_no_more_is_not_looked_at(tmp_path: Path) -> None:
    """A reload makes new ones."""
    file = tmp_path / "file"
    file.write_text("1")
    made = weakref.ref(watched.Watched([file], file.read_text))
    gc.collect()
    assert eventually(lambda: made() is None)
