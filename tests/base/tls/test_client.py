"""One context for each distinct set of certificates, built once and off the loop."""

from __future__ import annotations

import asyncio
import os
import ssl
import threading
import time
from pathlib import Path

import pytest

from sidelight.base.tls.client import ClientContexts, TlsFileError
from sidelight.base.tls.config import ClientCertificate
from support.certificates import Authority


@pytest.fixture
def built_on(monkeypatch: pytest.MonkeyPatch) -> list[threading.Thread]:
    """The threads on which contexts were built."""
    threads: list[threading.Thread] = []
    create = ssl.create_default_context

    def count(*arguments: object, **options: object) -> ssl.SSLContext:
        threads.append(threading.current_thread())
        return create(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(ssl, "create_default_context", count)
    return threads


async def test_the_same_certificates_share_a_context(built_on: list[threading.Thread]) -> None:
    """Fifty https routes that start at the same time build it once."""
    contexts = ClientContexts()
    made = await asyncio.gather(*(contexts.get() for _ in range(50)))
    assert len(set(map(id, made))) == 1
    assert len(built_on) == 1
    assert built_on[0] is not threading.main_thread()


async def test_other_certificates_have_a_context_of_their_own(tmp_path: Path) -> None:
    """By CA and by client certificate."""
    authority = Authority(tmp_path)
    files = authority.issue()
    pair = ClientCertificate(certificate=files.certificate, key=files.key)
    contexts = ClientContexts()
    made = [
        await contexts.get(),
        await contexts.get(authority.certificate),
        await contexts.get(authority.certificate, pair),
        await contexts.get(None, pair),
    ]
    assert len(set(map(id, made))) == 4


async def test_a_private_authority_need_not_be_strict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python 3.13 asks for extensions that the authority of many a Kubernetes cluster lacks."""
    create = ssl.create_default_context

    def of_python_3_13(*arguments: object, **options: object) -> ssl.SSLContext:
        context = create(*arguments, **options)  # type: ignore[arg-type]
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        return context

    monkeypatch.setattr(ssl, "create_default_context", of_python_3_13)
    contexts = ClientContexts()
    private = await contexts.get(Authority(tmp_path).certificate)
    assert not private.verify_flags & ssl.VERIFY_X509_STRICT
    assert private.verify_mode is ssl.CERT_REQUIRED
    assert private.check_hostname
    assert (await contexts.get()).verify_flags & ssl.VERIFY_X509_STRICT


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", None])
async def test_files_that_change_are_read_again(
    variable: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A renewed CA counts for the next connection."""
    ca = tmp_path / "trusted.pem"
    ca.write_bytes(Authority(tmp_path, "first").certificate.read_bytes())
    if variable is not None:
        monkeypatch.setenv(variable, str(ca))
    configured = None if variable else ca
    contexts = ClientContexts()
    before = await contexts.get(configured)
    assert await contexts.get(configured) is before
    first = before.get_ca_certs()[0]["serialNumber"]
    ca.write_bytes(Authority(tmp_path, "second").certificate.read_bytes())
    # The clock of a file system may stand still for some milliseconds.
    os.utime(ca, (time.time() + 1, time.time() + 1))
    after = await contexts.get(configured)
    assert after.get_ca_certs()[0]["serialNumber"] != first


async def test_what_cannot_be_used_is_named(tmp_path: Path) -> None:
    """The key of the configuration, the file, and what is wrong with it."""
    contexts = ClientContexts()
    missing, wrong = tmp_path / "missing.pem", tmp_path / "wrong.pem"
    wrong.write_text("nothing")
    pair = ClientCertificate(certificate=wrong, key=wrong)
    with pytest.raises(TlsFileError, match=f"ca: {missing} cannot be used: no such file"):
        await contexts.get(missing)
    with pytest.raises(TlsFileError, match=f"ca: {wrong} cannot be used: "):
        await contexts.get(wrong)
    with pytest.raises(
        TlsFileError, match=f"client_certificate: {wrong} and {wrong} cannot be used"
    ):
        await contexts.get(None, pair)


async def test_a_key_with_a_passphrase_is_refused_without_a_question(tmp_path: Path) -> None:
    """OpenSSL would ask for it on the terminal and wait."""
    from cryptography.hazmat.primitives import serialization

    files = Authority(tmp_path).issue()
    key = serialization.load_pem_private_key(files.key.read_bytes(), None)
    files.key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    with pytest.raises(TlsFileError, match="client_certificate"):
        await ClientContexts().get(
            None, ClientCertificate(certificate=files.certificate, key=files.key)
        )
