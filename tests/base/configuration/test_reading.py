"""Configurations that cannot be used: every fault in one line with its place."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Discriminator, Field, Tag

from sidelight.base.configuration.environment import overlay
from sidelight.base.configuration.reading import validated
from sidelight.base.configuration.renames import Renames
from sidelight.base.configuration.section import ConfigError, HttpUrl, Secret, Section
from sidelight.base.configuration.yaml_file import read


class Serve(Section):
    """A section."""

    host: str = "127.0.0.1"
    port: int = Field(9464, le=65535)
    api_key: Secret | None = None
    url: HttpUrl | None = None


class Cat(Section):
    """An item of one type."""

    type: Literal["cat"] = "cat"
    name: str
    lives: int | None = None
    values: tuple[int | bool, ...] = ()


class Dog(Section):
    """An item of another type."""

    type: Literal["dog"] = "dog"
    tags: dict[str, int] = Field(default_factory=dict)
    dog: str | None = None


PublicKey = Annotated[
    Annotated[str, Tag("value")] | Annotated[Secret, Tag("secret")],
    Discriminator(lambda value: "value" if isinstance(value, str) else "secret"),
]


class Root(Section):
    """The whole file."""

    serve: Serve = Serve()
    animals: tuple[Annotated[Cat | Dog, Field(discriminator="type")], ...] = ()
    who: PublicKey | None = None
    count: int = 1


RENAMES = Renames(
    keys={
        "listen": "serve",
        "listen.token": "auth.tokens",
        "listen.user": "auth.user",
        "serve.hostname": "serve.host",
    },
    types={"animals": {"kitten": "cat"}},
)


def faults(folder: Path, text: str | None, **environ: str) -> list[str]:
    """What is said of a file with this text and of these variables."""
    file = None
    if text is not None:
        (folder / "f.yaml").write_text(text)
        file = read(folder / "f.yaml")
    with pytest.raises(ConfigError) as caught:
        validated(Root, file, environ, RENAMES)
    assert caught.value.__cause__ is None
    return str(caught.value).replace(f"{folder}/", "").splitlines()


class TestPlaces:
    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("serve:\n  port: 70000", "f.yaml:2: serve.port (is 70000): input should be less than"),
            ("a: 1", "f.yaml:1: a: unknown key; known keys: animals, count, serve, who"),
            ("serve:\n  prot: 1", "f.yaml:2: serve.prot: unknown key; known keys: api_key, host,"),
            ("serve: 3", "f.yaml:1: serve (is 3): must be a mapping; known keys: api_key, host,"),
            ("animals:\n- type: cow", "f.yaml:2: animals.0.type: must be one of cat, dog"),
            ("animals:\n- {}", "f.yaml:2: animals.0.type: must be one of cat, dog"),
            ("animals:\n\n- cat", "f.yaml:3: animals.0 (is 'cat'): must be a mapping; see docs/"),
            ("animals:\n- type: cat", "f.yaml:2: animals.0.name: field required"),
            (
                "animals:\n- type: cat\n  name: a\n  purr: 1",
                "f.yaml:4: animals.0.purr: unknown key; known keys: lives, name, type, values",
            ),
            (
                "animals:\n- type: dog\n  dog: 1",
                "f.yaml:3: animals.0.dog (is 1): input should be a valid string",
            ),
            (
                "animals:\n- type: dog\n  tags:\n    a: 1\n    b: x",
                "f.yaml:5: animals.0.tags.b (is 'x'): input should be a valid integer",
            ),
            (
                "animals:\n- {type: cat, name: a, values: [1, x]}",
                "f.yaml:2: animals.0.values.1 (is 'x'): input should be a valid integer, unable to "
                "parse string as an integer or input should be a valid boolean",
            ),
            ("animals: cat", "f.yaml:1: animals (is 'cat'): must be a list; in the environment"),
            ("who: {nev: K}", "f.yaml:1: who.nev: unknown key; known keys: env, file"),
            ("- a", "f.yaml: must be a mapping of keys, not a list"),
            ("hunter2", "f.yaml: must be a mapping of keys, not a single value"),
        ],
    )
    def test_a_fault_has_line_key_value_and_what_is_allowed(
        self, tmp_path: Path, text: str, said: str
    ) -> None:
        """In one line."""
        first, *_ = faults(tmp_path, text)
        assert first.startswith(said)

    def test_every_fault_is_told(self, tmp_path: Path) -> None:
        """Of the file and of variables, with old names among them."""
        assert faults(tmp_path, "listen: {port: 1}\ncount: x\n", SIDELIGHT_SERVE__PORT="many") == [
            "f.yaml:1: listen: renamed to serve",
            "environment: SIDELIGHT_SERVE__PORT: serve.port (is 'many'): input should be a valid "
            "integer, unable to parse string as an integer",
            "f.yaml:2: count (is 'x'): input should be a valid integer, unable to parse string as "
            "an integer",
        ]


class TestEnvironment:
    def test_the_file_stays_as_it_is(self) -> None:
        """Sections are copied before a variable changes them: an alias may share them."""
        values = {"serve": {"port": 1}}
        laid = overlay(values, {"SIDELIGHT_SERVE__PORT": "2"}, ("serve",))
        assert (values, laid.values) == ({"serve": {"port": 1}}, {"serve": {"port": "2"}})

    @pytest.mark.parametrize(
        ("variable", "value", "said"),
        [
            ("SIDELIGHT_SERVE__PROT", "1", ": serve.prot: unknown key; known keys: api_key"),
            ("SIDELIGHT_ANIMALS", "[{", ": not valid JSON: "),
            ("SIDELIGHT_ANIMALS", "[" * 100_000, ": not valid JSON: nested too deeply"),
            ("SIDELIGHT_ANIMALS", '[{"type": "cat"}]', ": animals.0.name: field required"),
            ("SIDELIGHT_ANIMALS__0__NAME", "x", ": animals is not a mapping of keys"),
            ("SIDELIGHT_SERVE__PORT__X", "1", ": port is not a mapping of keys"),
            ("SIDELIGHT_NO__KEY", "1", ": no: unknown key; known keys: animals"),
        ],
    )
    def test_a_fault_names_the_variable(
        self, tmp_path: Path, variable: str, value: str, said: str
    ) -> None:
        """And not the file, which is right."""
        text = "serve: {port: 1}\nanimals: [{type: dog}]"
        (line,) = faults(tmp_path, text, **{variable: value})
        assert line.startswith(f"environment: {variable}{said}")

    def test_the_file_is_named_for_its_own_keys(self, tmp_path: Path) -> None:
        """Beside a variable of the same section."""
        (line,) = faults(tmp_path, "serve:\n  prot: 1", SIDELIGHT_SERVE__PORT="1")
        assert line.startswith("f.yaml:2: serve.prot: unknown key")

    def test_without_a_file(self, tmp_path: Path) -> None:
        """The variable is named, or the environment."""
        (line,) = faults(tmp_path, None, SIDELIGHT_SERVE__URL="x")
        assert line.startswith("environment: SIDELIGHT_SERVE__URL: serve.url (is 'x'): must be an")


class TestSecrets:
    @pytest.mark.parametrize(
        "text",
        [
            "serve: {api_key: hunter2}",
            "serve: {api_key: {value: hunter2}}",
            "serve: {url: 'http://user:hunter2@h'}",
            "serve: {url: 'http://user:hunter2/x@h'}",
            "serve: {url: 'ftp://h/?token=hunter2'}",
            "who: {env: [hunter2]}",
            "animals: [{type: dog, tags: {token: hunter2}}]",
            "animals: [{type: dog, tags: {password: hunter2}}]",
            "password: hunter2",
            "serve: {port: 70000, port: hunter2}",
        ],
    )
    def test_a_value_that_may_be_one_is_not_repeated(self, tmp_path: Path, text: str) -> None:
        """Neither by us nor in what pydantic says."""
        (tmp_path / "f.yaml").write_text(text)
        with pytest.raises(ConfigError) as caught:
            validated(Root, read(tmp_path / "f.yaml"))
        assert "hunter2" not in str(caught.value)


class TestRenames:
    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("listen:\n  port: 1", ["f.yaml:1: listen: renamed to serve"]),
            ("listen:", ["f.yaml:1: listen: renamed to serve"]),
            ("listen: {}", ["f.yaml:1: listen: renamed to serve"]),
            (
                "listen:\n  port: 1\n  token: x",
                [
                    "f.yaml:1: listen: renamed to serve",
                    "f.yaml:3: listen.token: renamed to auth.tokens",
                ],
            ),
            ("listen:\n  token: x", ["f.yaml:2: listen.token: renamed to auth.tokens"]),
            ("serve:\n  hostname: x", ["f.yaml:2: serve.hostname: renamed to serve.host"]),
            (
                "animals:\n- {type: cat, name: a}\n- type: kitten\n  name: b",
                ["f.yaml:3: animals.1.type (is 'kitten'): renamed to cat"],
            ),
            (
                "animals:\n- type: kitten\n  purr: 1",
                [
                    "f.yaml:2: animals.0.type (is 'kitten'): renamed to cat",
                    "f.yaml:2: animals.0.name: field required",
                    "f.yaml:3: animals.0.purr: unknown key; known keys: lives, name, type, values",
                ],
            ),
        ],
    )
    def test_an_old_name_says_its_new_one(self, tmp_path: Path, text: str, said: list[str]) -> None:
        """A section is told unless all that it holds has moved elsewhere."""
        assert faults(tmp_path, text) == said

    @pytest.mark.parametrize(
        ("variable", "new"),
        [
            ("SIDELIGHT_LISTEN", "SIDELIGHT_SERVE"),
            ("SIDELIGHT_LISTEN__PORT", "SIDELIGHT_SERVE__PORT"),
            ("SIDELIGHT_LISTEN__TOKEN", "SIDELIGHT_AUTH__TOKENS"),
            ("SIDELIGHT_SERVE__HOSTNAME", "SIDELIGHT_SERVE__HOST"),
        ],
    )
    def test_a_variable_says_its_new_name(self, tmp_path: Path, variable: str, new: str) -> None:
        """The whole of it, ready to be copied."""
        value = "{}" if variable.endswith("LISTEN") else "x"
        assert faults(tmp_path, "", **{variable: value}) == [
            f"environment: {variable}: renamed to {new}"
        ]

    def test_an_old_type_in_a_variable(self, tmp_path: Path) -> None:
        """As in the file."""
        assert faults(tmp_path, None, SIDELIGHT_ANIMALS='[{"type": "kitten", "name": "a"}]') == [
            "environment: SIDELIGHT_ANIMALS: animals.0.type (is 'kitten'): renamed to cat"
        ]
