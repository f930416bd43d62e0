"""sidelight.yaml and the environment: what is taken, and errors a user can act on."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from sidelight.base.configuration.section import ConfigError, Secret
from sidelight.collector.app.configuration.config import Config
from sidelight.collector.app.configuration.loading import load
from sidelight.collector.destinations.otlp_http.config import OtlpHttpDestination

Load = Callable[[str], Config]


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that this machine has set for Sidelight counts."""
    for variable in list(os.environ):
        if variable.startswith("SIDELIGHT_"):
            monkeypatch.delenv(variable)


@pytest.fixture
def load_text(tmp_path: Path) -> Load:
    """Load a file with this text."""

    def load_it(text: str) -> Config:
        file = tmp_path / "sidelight.yaml"
        file.write_text(text)
        return load(file)

    return load_it


def _fault(load_text: Load, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_text(text)
    return re.sub(r"^\S*sidelight\.yaml(:\d+)*: ", "", str(caught.value), flags=re.MULTILINE)


class TestFile:
    def test_no_file_and_an_empty_file_are_the_defaults(self, load_text: Load) -> None:
        """So is one whose sections have all their keys commented out."""
        assert load(None) == Config()
        assert load_text("") == Config()
        assert load_text("receivers:\n  otlp_http:\n  otlp_grpc:\nserve:\nlog:\n") == Config()

    def test_everything_binds_to_loopback(self) -> None:
        """Unless told otherwise."""
        config = Config()
        hosts = (
            config.receivers.otlp_http.host,
            config.receivers.otlp_grpc.host,
            config.serve.host,
        )
        assert set(hosts) == {"127.0.0.1"}

    def test_values_are_taken(self, load_text: Load) -> None:
        """Numbers, paths and destinations."""
        config = load_text(
            """
            receivers: {otlp_http: {port: 1234}}
            log: {directory: /var/lib/sidelight}
            destinations:
              - {type: phoenix, project: p}
              - {type: otlp_http, name: other, url: "http://host:4318/", headers: {X-Key: {env: K}}}
            dashboards: {directory: ""}
            """
        )
        assert config.receivers.otlp_http.port == 1234
        assert config.log.directory == Path("/var/lib/sidelight")
        assert config.destinations is not None
        assert [each.name for each in config.destinations] == ["phoenix", "other"]
        assert isinstance(config.destinations[1], OtlpHttpDestination)
        assert config.destinations[1].url == "http://host:4318"
        assert config.dashboards.directory is None

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("prot: 1", r"prot: unknown key; known keys: .*destinations.*receive"),
            (
                "receivers: {otlp: {}}",
                r"receivers\.otlp: unknown key; known keys: .*otlp_http",
            ),
            ("serve: {port: 99999}", r"serve\.port \(is 99999\): .*65535"),
            ("serve: {port: many}", r"serve\.port \(is 'many'\): .*integer"),
            (
                "serve: 9464",
                r"serve \(is 9464\): must be a mapping; known keys: host, port, tls, tokens$",
            ),
            (
                "destinations: [{type: phoenix, api_key: 4}]",
                r"destinations\.0\.api_key: must be a mapping; known keys: env, file$",
            ),
            (
                "destinations: [phoenix]",
                r"destinations\.0 \(is 'phoenix'\): must be a mapping; see",
            ),
            (
                "destinations: [{type: otlp_http, name: a, url: 'http://h', headers: 4}]",
                r"destinations\.0\.headers: must be a mapping$",
            ),
            ("1: 2", r"1 \(is 1\): keys should be strings"),
            ("log: {max_age_seconds: -1}", r"log\.max_age_seconds \(is -1\): .*greater than 0"),
            ("logging: {level: loud}", r"logging\.level \(is 'loud'\): .*'debug', 'info'"),
            ("- a", r"must be a mapping of keys, not a list"),
            (
                "destinations: [{type: nowhere}]",
                r"destinations\.0\.type: must be one of phoenix, langfuse, otlp_http, otlp_grpc, "
                r"prometheus_remote_write, splunk_hec, file$",
            ),
            ("destinations: [{name: a}]", r"destinations\.0\.type: must be one of phoenix, "),
            (
                "metrics: {retrieval: {collections: docs-*}}",
                r"metrics\.retrieval\.collections \(is 'docs-\*'\): must be a list; ",
            ),
            ("log: {directory: 7}", r"log\.directory \(is 7\): must be a path$"),
            ("destinations: [{type: otlp_http, url: 'http://h'}]", r"destinations\.0\.name: .*"),
            (
                "destinations: [{type: phoenix}, {type: phoenix}]",
                r"\(whole file\): .*named 'phoenix'; rename one of them",
            ),
            (
                "destinations: [{type: phoenix, prject: p}]",
                r"destinations\.0\.prject: unknown key; known keys: .*project",
            ),
            (
                "destinations: [{type: phoenix, url: 'ftp://h'}]",
                r"destinations\.0\.url \(is 'ftp://h'\): must be an http:// or https://",
            ),
            (
                "destinations: [{type: phoenix, url: 'http://h:99999'}]",
                r"destinations\.0\.url .*: must be a URL; its port, if it has one, from 1 ",
            ),
            (
                "destinations: [{type: phoenix, url: 'http://:80'}]",
                r"destinations\.0\.url .*: must be .* with a host",
            ),
            (
                "destinations: [{type: phoenix, url: 'http://h /x'}]",
                r"destinations\.0\.url .*: must not contain white space",
            ),
        ],
    )
    def test_faults_name_key_value_and_what_is_allowed(
        self, load_text: Load, text: str, said: str
    ) -> None:
        """One line each."""
        message = _fault(load_text, text)
        assert "\n" not in message
        assert re.search(said, message), message

    def test_every_fault_is_told(self, load_text: Load) -> None:
        """All of them at once, a line each, with the file's name and the line."""
        with pytest.raises(ConfigError) as caught:
            load_text("a: 1\nserve: {port: x}\nlog: {b: 2}")
        lines = str(caught.value).splitlines()
        assert len(lines) == 3
        for line, number in zip(lines, (2, 3, 1), strict=True):
            assert f"sidelight.yaml:{number}: " in line

    def test_what_is_no_yaml_is_placed(self, load_text: Load) -> None:
        """Line and column, but not the line itself, which may hold a secret."""
        message = _fault(load_text, "serve:\n  port: [9464\n  token: hunter2: x\n")
        assert re.match(r"not valid YAML: ", message)
        assert "hunter2" not in message

    def test_what_cannot_be_read(self, tmp_path: Path) -> None:
        """A missing file, a folder, and bytes that are no text."""
        with pytest.raises(ConfigError, match=r"no\.yaml: cannot be read: No such file"):
            load(tmp_path / "no.yaml")
        with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
            load(tmp_path)
        (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
        with pytest.raises(ConfigError, match="not valid YAML: not UTF-8 text"):
            load(tmp_path / "bytes.yaml")


class TestEnvironment:
    def test_it_wins_over_the_file(self, load_text: Load, monkeypatch: pytest.MonkeyPatch) -> None:
        """Keys, lists and mappings; the rest of the file stays."""
        monkeypatch.setenv("SIDELIGHT_RECEIVERS__OTLP_HTTP__PORT", "1111")
        monkeypatch.setenv("SIDELIGHT_SHUTDOWN_SECONDS", "2.5")
        monkeypatch.setenv("SIDELIGHT_DESTINATIONS", '[{"type": "phoenix"}]')
        config = load_text("receivers: {otlp_http: {port: 2222, host: 0.0.0.0}}\ndestinations: []")
        assert (config.receivers.otlp_http.port, config.receivers.otlp_http.host) == (
            1111,
            "0.0.0.0",
        )
        assert config.shutdown_seconds == 2.5
        assert config.destinations is not None
        assert config.destinations[0].type == "phoenix"

    def test_other_variables_are_others(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The instrumentation's settings are no keys of the file."""
        monkeypatch.setenv("SIDELIGHT_CAPTURE_CONTENT", "full")
        monkeypatch.setenv("SIDELIGHT_CONFIG", "x.yaml")
        assert load(None) == Config()

    @pytest.mark.parametrize(
        ("variable", "value", "said"),
        [
            ("SIDELIGHT_SERVE__PROT", "1", "serve.prot: unknown key; known keys: host, port"),
            ("SIDELIGHT_SERVE__PORT", "x", "serve.port (is 'x'): "),
            ("SIDELIGHT_DESTINATIONS", "[{", "not valid JSON"),
            ("SIDELIGHT_SERVE__PORT__X", "1", "port is not a mapping of keys"),
        ],
    )
    def test_a_fault_names_the_variable(
        self, load_text: Load, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, said: str
    ) -> None:
        """Not the file, which is right."""
        monkeypatch.setenv(variable, value)
        with pytest.raises(ConfigError) as caught:
            load_text("serve: {port: 9464}")
        assert str(caught.value).startswith(f"environment: {variable}: ")
        assert said in str(caught.value)


class TestSecrets:
    @pytest.mark.parametrize(
        "text",
        [
            "destinations: [{type: phoenix, api_key: hunter2}]",
            "destinations: [{type: langfuse, secret_key: hunter2}]",
            "destinations: [{type: otlp_http, name: o, url: 'http://h', headers: {A: hunter2}}]",
            "destinations: [{type: phoenix, url: 'http://user:hunter2@h'}]",
            "destinations: [{type: otlp_http, name: o, url: 'http://h/?token=hunter2'}]",
            "destinations: [{type: phoenix, api_key: {value: hunter2}}]",
            "password: hunter2",
        ],
    )
    def test_a_literal_is_refused_and_not_repeated(self, load_text: Load, text: str) -> None:
        """The message says where secrets go, and never what stood there."""
        message = _fault(load_text, text)
        assert "hunter2" not in message

    def test_where_secrets_go(self, load_text: Load) -> None:
        """`{env: NAME}` or `{file: PATH}`, exactly one."""
        message = _fault(load_text, "destinations: [{type: phoenix, api_key: literal}]")
        assert "{env: NAME} or {file: PATH}" in message
        for value in ("{}", "{env: A, file: b}"):
            message = _fault(load_text, f"destinations: [{{type: phoenix, api_key: {value}}}]")
            assert "exactly one of env and file" in message

    def test_a_file_is_read_each_time(self, tmp_path: Path) -> None:
        """So a rotated secret needs no restart; white space around it does not count."""
        file = tmp_path / "key"
        secret = Secret(file=file)
        file.write_text("first\n")
        assert secret.read() == "first"
        file.write_text("  second ")
        assert secret.read() == "second"
        file.write_text("\n")
        assert secret.read() is None

    def test_the_environment_is_read_each_time(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Unset and empty are both nothing."""
        secret = Secret(env="SOME_KEY")
        assert secret.read() is None
        monkeypatch.setenv("SOME_KEY", "value ")
        assert secret.read() == "value"
        monkeypatch.setenv("SOME_KEY", "")
        assert secret.read() is None

    def test_a_file_that_cannot_be_read(self, tmp_path: Path) -> None:
        """The path and the reason; nothing of what is in it."""
        with pytest.raises(ConfigError, match=r"secret file .*/no: No such file"):
            Secret(file=tmp_path / "no").read()
        (tmp_path / "bytes").write_bytes(b"\xffhunter2")
        with pytest.raises(ConfigError, match="not UTF-8 text") as caught:
            Secret(file=tmp_path / "bytes").read()
        assert caught.value.__cause__ is None

    def test_a_secret_names_its_place(self) -> None:
        """Wherever it is shown."""
        assert str(Secret(env="A_KEY")) == "$A_KEY"
        assert str(Secret(file=Path("/run/key"))) == "/run/key"


class TestRenamedKeys:
    """A file of an earlier version is refused, with the new name of each key."""

    def test_every_old_key_says_its_new_name(self, load_text: Load) -> None:
        """Sections, keys that moved elsewhere, and the type of a destination."""
        with pytest.raises(ConfigError) as caught:
            load_text(
                "receive:\n  tokens: [{env: A}]\n  langfuse: {}\n  otlp_http: {port: 1}\n"
                "shape: {}\nmeasure: {}\n"
                "destinations: [{type: otlp, name: a, url: 'http://h'}]\n"
            )
        said = [line.partition("sidelight.yaml:")[2] for line in str(caught.value).splitlines()]
        assert sorted(said) == [
            "1: receive: renamed to receivers",
            "2: receive.tokens: renamed to auth.tokens",
            "3: receive.langfuse: renamed to receivers.langfuse_api",
            "5: shape: renamed to processors",
            "6: measure: renamed to metrics",
            "7: destinations.0.type (is 'otlp'): renamed to otlp_http",
        ]

    def test_old_variables_say_their_new_name(
        self, load_text: Load, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As the keys of the file do."""
        monkeypatch.setenv("SIDELIGHT_RECEIVE__OTLP_HTTP__PORT", "1")
        with pytest.raises(ConfigError, match="renamed to SIDELIGHT_RECEIVERS__OTLP_HTTP__PORT"):
            load_text("{}")
