"""The error messages in the source of an installed client, to be listed in its `messages.txt`.

`python -m support.vectordb.client_messages DATABASE` prints those that are not listed yet, with
`{}` for each value. Which of them are a `{number}`, a `{name}` or a `{message}` is for the reader
to say: only a value that cannot be content may be.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from sidelight.instrumentation.messages import NOT_CAPTURED, Messages
from sidelight.instrumentation.vectordb.registry import LIBRARIES

# Modules that observed methods reach, by the package that they are in.
MODULES = {
    "pymilvus": r"client/(?!bloom|roaring|embed)|decorators|exceptions|milvus_client/",
    "qdrant_client": r"(?!async|local/async|migrate|.*fastembed)(common|conver|http|hybrid|local)",
    "chromadb": r"api/(?!coll.*_config)|base_types|errors|execution/expression",
}


def messages_of(package: str) -> set[str]:
    """The messages that a package raises; a package that is not installed has none."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        return set()
    root = Path(spec.origin).parent
    return {
        message
        for path in root.rglob("*.py")
        if re.match(MODULES[package], str(path.relative_to(root)))
        for message in _raised(ast.parse(path.read_text("utf-8")))
        # A single word is no message, but the code of one.
        if len(message.replace("{}", "").split()) >= 2
    }


def unlisted(database: str) -> list[str]:
    """Messages of the installed client that its database does not list."""
    (library,) = (each for each in LIBRARIES if each.database.name == database)
    known = Messages.of(library.errors.folder, library.errors.words)
    return sorted(
        message
        for message in messages_of(library.database.client.package)
        # One that begins with another message is kept only with that.
        if known.kept(message.replace("{}", "\0")) == NOT_CAPTURED and message[:2] != "{}"
    )


def _raised(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            for argument in (*node.exc.args, *(word.value for word in node.exc.keywords)):
                yield from _text(argument)
        elif isinstance(node, ast.ClassDef) and node.name.endswith("Message"):
            for line in node.body:
                if isinstance(line, ast.Assign):
                    yield from _text(line.value)


def _text(node: ast.expr) -> Iterator[str]:
    """The text that an expression makes, if it is a text with values in it."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        # `{%s}` has braces of its own.
        form = r"%[srd]" if re.search(r"%[srd]", node.value) else r"\{[^{}]*\}"
        yield re.sub(form, "{}", node.value)
    elif isinstance(node, ast.JoinedStr):
        yield "".join(
            str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values
        )
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod):
        yield from _text(node.left)


if __name__ == "__main__":
    sys.stdout.writelines(f"{message!r}\n" for message in unlisted(sys.argv[1]))
