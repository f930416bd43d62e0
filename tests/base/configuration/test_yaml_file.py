"""YAML files: the line of each key, keys that stand twice, and what is not YAML."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sidelight.base.configuration.section import ConfigError
from sidelight.base.configuration.yaml_file import KeyPath, YamlFile, read

# Without control characters and line separators, which YAML does not keep as they are.
PRINTABLE = st.text("aZäß漢1 ~:#-'\"{}[],&*!|>%@`\\")

TEXT = """\
serve:
  port: 9464
defaults: &defaults
  timeout: 1
  pace: 2
list:
  - type: a
    url: x
  - {type: b, headers: {A: 1}}
  - <<: *defaults
    pace: 3
"""


def from_text(folder: Path, text: str) -> YamlFile:
    """A file that holds this text."""
    path = folder / "f.yaml"
    path.write_text(text)
    return read(path)


def fault(folder: Path, text: str) -> str:
    """What is said of a file that holds this text, without its folder."""
    with pytest.raises(ConfigError) as caught:
        from_text(folder, text)
    return str(caught.value).replace(f"{folder}/", "")


class TestLines:
    @pytest.mark.parametrize(
        ("path", "line"),
        [
            (("serve",), 1),
            (("serve", "port"), 2),
            (("list", 0), 7),
            (("list", 0, "url"), 8),
            (("list", 1, "headers", "A"), 9),
            (("list", 2, "pace"), 11),
            (("list", 2, "timeout"), 4),
        ],
    )
    def test_a_key_has_its_line(self, tmp_path: Path, path: KeyPath, line: int) -> None:
        """In block and flow style, in lists, and merged in from an anchor."""
        file = from_text(tmp_path, TEXT)
        assert file.has(path)
        assert file.place(path) == f"{tmp_path}/f.yaml:{line}"

    @pytest.mark.parametrize(
        ("path", "line"),
        [(("serve", "host"), 1), (("list", 1, "name"), 9), (("list", 7), 6), (("serve", 0), 1)],
    )
    def test_what_is_missing_has_the_line_of_what_is_around_it(
        self, tmp_path: Path, path: KeyPath, line: int
    ) -> None:
        """The section or item where it belongs."""
        file = from_text(tmp_path, TEXT)
        assert not file.has(path)
        assert file.place(path) == f"{tmp_path}/f.yaml:{line}"

    def test_the_whole_file_has_no_line(self, tmp_path: Path) -> None:
        """And neither has what is missing at its top."""
        file = from_text(tmp_path, TEXT)
        assert file.place(()) == file.place(("log",)) == f"{tmp_path}/f.yaml"

    @settings(deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | PRINTABLE,
            lambda inner: st.lists(inner) | st.dictionaries(PRINTABLE, inner),
        )
    )
    def test_values_are_those_that_were_written(self, tmp_path: Path, values: object) -> None:
        """Whatever they are, and each key is where the file says it is."""
        file = from_text(tmp_path, yaml.safe_dump(values, allow_unicode=True))
        assert file.values == values
        waiting: list[tuple[KeyPath, object]] = [((), values)]
        while waiting:
            path, value = waiting.pop()
            assert file.has(path)
            if isinstance(value, dict):
                waiting += [((*path, key), inner) for key, inner in value.items()]
            elif isinstance(value, list):
                waiting += [((*path, index), inner) for index, inner in enumerate(value)]


class TestRepeatedKeys:
    def test_all_are_told_with_both_lines(self, tmp_path: Path) -> None:
        """In the order of the file, and without their values."""
        text = (
            "serve:\n  port: 1\n  port: hunter2\nlog: {a: 1, a: 2}\nx:\n- b: 1\n  b: 2\nserve: {}"
        )
        assert fault(tmp_path, text).splitlines() == [
            "f.yaml:3: serve.port: repeated, first in line 2",
            "f.yaml:4: log.a: repeated, first in line 4",
            "f.yaml:7: x.0.b: repeated, first in line 6",
            "f.yaml:8: serve: repeated, first in line 1",
        ]

    def test_what_is_merged_in_may_be_set_again(self, tmp_path: Path) -> None:
        """`<<` brings defaults, which its own keys replace."""
        file = from_text(tmp_path, TEXT)
        assert file.values["list"][2] == {"timeout": 1, "pace": 3}

    def test_keys_of_two_types_are_two(self, tmp_path: Path) -> None:
        """`1` is a number and `"1"` a text."""
        assert from_text(tmp_path, '1: a\n"1": b').values == {1: "a", "1": "b"}


class TestNotYaml:
    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("serve:\n  port: [9464\n  token: hunter2: x\n", "f.yaml:3:8: not valid YAML: "),
            ("a: *hunter2", "f.yaml:1:4: not valid YAML: found undefined alias …"),
            ("a: !hunter2 x", "could not determine a constructor for the tag …"),
            ("a: !!int hunter2", "f.yaml:1:4: not valid YAML: the value does not fit its type"),
            ("a: !!bool hunter2", "the value does not fit its type"),
            ("a: !!timestamp hunter2", "the value does not fit its type"),
            ("a: 1\nb: 2026-13-01", "f.yaml:2:4: not valid YAML: the value does not fit its type"),
            ("a: 1\n---\nb: 2", "but found another document"),
            ("a: 1\n? [hunter2]\n: 2", "f.yaml:2:3: not valid YAML: found unhashable key"),
            ("a: 1\nb: \x01", "f.yaml:2: not valid YAML: a character that YAML does not allow"),
            ("[" * 5000, "f.yaml: not valid YAML: nested too deeply"),
        ],
    )
    def test_it_is_placed_and_not_quoted(self, tmp_path: Path, text: str, said: str) -> None:
        """The line may hold a secret in the wrong place."""
        message = fault(tmp_path, text)
        assert said in message
        assert "hunter2" not in message

    def test_a_circle_of_aliases_ends(self, tmp_path: Path) -> None:
        """A file that holds itself is read; it is for the models to refuse it."""
        assert from_text(tmp_path, "a: &x\n  b: *x").values["a"]["b"]["b"]

    def test_aliases_of_aliases_cost_nothing(self, tmp_path: Path) -> None:
        """Written out they would be 10^15 items."""
        lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
        lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 15)]
        file = from_text(tmp_path, "\n".join(lines))
        assert file.has(("a14", *[9] * 15))

    def test_what_cannot_be_read(self, tmp_path: Path) -> None:
        """A missing file, a folder, and bytes that are not text."""
        with pytest.raises(ConfigError, match=r"no\.yaml: cannot be read: No such file"):
            read(tmp_path / "no.yaml")
        with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
            read(tmp_path)
        (tmp_path / "bytes.yaml").write_bytes(b"a: \xffhunter2")
        with pytest.raises(ConfigError, match="not valid YAML: not UTF-8 text") as caught:
            read(tmp_path / "bytes.yaml")
        assert caught.value.__cause__ is None
