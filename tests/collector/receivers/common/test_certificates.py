"""Certificates that cannot be used are found at the start; files are looked at now and then."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sidelight.base.tls import watched
from support.certificates import Authority, Files
from support.collector import run_to_end, settings
from support.secured import secured_settings


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


def test_files_are_looked_at_once_a_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often they are asked for; what is made of them is made when they change."""
    file = tmp_path / "file"
    file.write_text("1")
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    made = watched.Watched([file], lambda: file.read_text())
    looks = 0
    look = made._look

    def counted() -> Any:
        nonlocal looks
        looks += 1
        return look()

    monkeypatch.setattr(made, "_look", counted)
    file.write_text("22")
    assert [made.current() for _ in range(100)] == ["1"] * 100
    now += 1.0
    assert [made.current() for _ in range(100)] == ["22"] * 100
    assert looks == 1
