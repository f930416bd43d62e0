"""A reload of a file that was cut short takes nothing away that was in use."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidelight.base.configuration.section import ConfigError
from sidelight.collector.app.configuration.config import Config
from sidelight.collector.app.configuration.cut_short import refuse_if_cut_short
from sidelight.collector.app.configuration.loading import load

_WHOLE = """\
receivers:
  otlp_http: {port: 0, max_connections: 5}
  scrape:
    targets:
      - {url: "http://127.0.0.1:1", preset: vllm}
auth:
  tokens:
    - {env: TOKENS}
processors:
  content:
    default: hashed
    services: {billing: "off"}
  redact:
    enabled: true
log: {max_bytes: 10000000}
destinations:
  - type: otlp_http
    name: team
    url: http://127.0.0.1:1
    only:
      - {services: app}
    drop:
      - {names: health}
  - type: otlp_http
    name: all
    url: http://127.0.0.1:2
"""


def _loaded(directory: Path, text: str) -> Config:
    file = directory / "sidelight.yaml"
    file.write_text(text)
    return load(file)


def _faults(directory: Path, text: str, whole: str = _WHOLE) -> list[str]:
    """Of a reload of `text` where `whole` is in use."""
    running, new = _loaded(directory, whole), _loaded(directory, text)
    # What a supervisor knows of the running configuration has every key.
    dumped = Config.model_validate(running.model_dump(mode="json"))
    found = []
    for known in (running, dumped):
        try:
            refuse_if_cut_short("sidelight.yaml", text, known, new)
        except ConfigError as error:
            found.append(str(error).splitlines())
        else:
            found.append([])
    assert found[0] == found[1]
    return found[0]


def _without(*starts: str) -> str:
    """The whole file without some lines and what is indented below them."""
    kept, hidden = [], -1
    for line in _WHOLE.splitlines(keepends=True):
        depth = len(line) - len(line.lstrip())
        if depth <= hidden or hidden < 0:
            hidden = depth if line.strip().startswith(starts) else -1
        if hidden < 0:
            kept.append(line)
    return "".join(kept)


def test_the_same_file_is_accepted(tmp_path: Path) -> None:
    """And one that says more or other things."""
    assert _faults(tmp_path, _WHOLE) == []
    assert _faults(tmp_path, _WHOLE.replace("hashed", "full").replace("true", "false")) == []
    assert _faults(tmp_path, _WHOLE, whole="{}") == []
    assert _faults(tmp_path, _WHOLE.rstrip()) == []


def test_no_cut_takes_away_by_absence(tmp_path: Path) -> None:
    """Wherever a line ends: the file is refused, or still holds all that is guarded."""
    lines = _WHOLE.splitlines(keepends=True)
    accepted = []
    for count in range(len(lines)):
        text = "".join(lines[:count])
        try:
            new = _loaded(tmp_path, text)
        except ConfigError:
            continue
        if not _faults(tmp_path, text):
            accepted.append(new)
    for new in accepted:
        assert new.destinations
        assert new.processors.redact.enabled
        assert new.processors.content.default == "hashed"
        assert new.receivers.scrape.targets
        assert all(destination.only for destination in new.destinations[:1])


def test_a_destination_goes_if_the_file_ends_with_a_newline(tmp_path: Path) -> None:
    """An edit does; what a full disk has cut off rarely does."""
    text = _WHOLE[: _WHOLE.index("  - type: otlp_http\n    name: all")]
    assert _faults(tmp_path, text) == []
    (fault,) = _faults(tmp_path, text.rstrip())
    assert fault == (
        "sidelight.yaml: all would get nothing more, and the last line has no newline; the file "
        "may be cut short: restore it, or end it with a newline to remove them"
    )


@pytest.mark.parametrize(
    ("key", "fault"),
    [
        ("destinations:", "destinations is gone, and team, all would get nothing more"),
        ("redact:", "processors.redact.enabled is gone"),
        ("services:", "processors.content.services is gone"),
        ("scrape:", "receivers.scrape.targets is gone"),
        ("only:", "only of the destination team is gone"),
        ("drop:", "drop of the destination team is gone"),
    ],
)
def test_a_key_that_is_gone_is_named(tmp_path: Path, key: str, fault: str) -> None:
    """One line for it, and what to write by who means it."""
    (line,) = _faults(tmp_path, _without(key))
    assert line.startswith(f"sidelight.yaml: {fault}")
    assert "the file may be cut short" in line
    assert "write" in line


def test_a_section_that_is_gone_names_all_of_it(tmp_path: Path) -> None:
    """Each key that was in use below it."""
    assert [line.split()[1] for line in _faults(tmp_path, _without("processors:"))] == [
        "processors.content.default",
        "processors.content.services",
        "processors.redact.enabled",
    ]


@pytest.mark.parametrize("empty", ["destinations: []\n", "destinations:\n", "destinations: null\n"])
def test_destinations_go_if_the_list_is_written_empty(tmp_path: Path, empty: str) -> None:
    """A key without a value is what is left of a file that was cut behind the colon."""
    faults = _faults(tmp_path, _without("destinations:") + empty)
    assert bool(faults) == ("[]" not in empty)


@pytest.mark.parametrize("empty", ["processors: {}\n", "processors: {redact: {}, content: {}}\n"])
def test_processors_go_if_they_are_written_empty(tmp_path: Path, empty: str) -> None:
    """At any level."""
    assert _faults(tmp_path, _without("processors:") + empty) == []


def test_other_keys_go_back_to_their_defaults(tmp_path: Path) -> None:
    """Limits and ports lose nothing; tokens stay in use until a restart."""
    assert _faults(tmp_path, _without("log:", "auth:", "otlp_http:")) == []
