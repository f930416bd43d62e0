"""The Python environments of their own that tests need, by the names that marks give them."""

from __future__ import annotations

from pathlib import Path

from sidelight.demo import environments
from sidelight.demo.environments import Environment
from support.waiting import waiting_for

REQUIREMENTS = Path(__file__).with_name("requirements")
VECTORDB_REQUIREMENTS = Path(__file__).with_name("vectordb") / "requirements"


def definition(name: str) -> Environment:
    """What an environment is made of: the tests' own, or one that the demo carries.

    Raises `KeyError` for other names.
    """
    for folder, prefix in ((VECTORDB_REQUIREMENTS, "vectordb"), (REQUIREMENTS, "tests")):
        requirements = folder / f"{name}.txt"
        if requirements.is_file():
            return Environment(f"{prefix}-{name}", requirements)
    return environments.known(name)


def python_of(name: str) -> Path:
    """The Python of an environment, which is built first unless this machine has it."""
    with waiting_for(f"the {name} environment"):
        return environments.ensure(definition(name))
