"""What an example configuration names and a test machine lacks: certificates and secrets."""

from __future__ import annotations

import re
from pathlib import Path

from support.certificates import Authority

_SECRET = "a-secret-of-the-tests"


def provide(text: str, directory: Path) -> tuple[str, dict[str, str]]:
    """The configuration with its files below `directory`, and the variables that it names.

    Langfuse's variables are always among them: they are defaults.
    """
    files = Authority(directory, "authority").issue("pair")
    contents = {
        "cert": files.certificate.read_bytes(),
        "key": files.key.read_bytes(),
        "ca": (directory / "authority.pem").read_bytes(),
    }

    def below(match: re.Match[str]) -> str:
        key, path = match[1], Path(match[2])
        kind = {"certificate": "cert", "key": "key", "ca": "ca", "client_ca": "ca"}.get(key)
        file = directory / path.relative_to("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(contents[kind] if kind else _SECRET.encode())
        return f"{key}: {file}"

    text = re.sub(r"\b(certificate|key|ca|client_ca|file): (/[\w./-]+)", below, text)
    variables = ["LANGFUSE_PUBLIC_KEY", "LANGFUSE_SECRET_KEY", *re.findall(r"env: (\w+)", text)]
    return text, dict.fromkeys(variables, _SECRET)
