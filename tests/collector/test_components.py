"""What every receiver and destination must have, by walking the registries."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from sidelight.base.check import Check
from sidelight.base.configuration.section import ConfigError
from sidelight.collector.app.configuration.loading import load
from sidelight.collector.app.configuration.pages import pages
from sidelight.collector.app.configuration.schema import schema
from sidelight.collector.destinations import registry as destinations
from sidelight.collector.destinations.common.type import DestinationType
from sidelight.collector.receivers import registry as receivers
from sidelight.collector.receivers.common.type import CheckContext, ReceiverType
from sidelight.otlp.signals import SIGNALS
from support.commands import command
from support.named_files import provide
from support.paths import DOCS, TESTS

COMPONENTS: list[DestinationType | ReceiverType] = [
    *destinations.TYPES.values(),
    *receivers.TYPES.values(),
]
NAMES = [f"{Path(each.page).parent.parent.name}/{each.name}" for each in COMPONENTS]


def example(component: DestinationType | ReceiverType) -> str:
    """The example on the component's page."""
    (text,) = re.findall(r"```yaml\n(.*?)```", component.page.read_text(), re.DOTALL)
    return str(text)


def of_example(component: DestinationType | ReceiverType, tmp_path: Path) -> Any:
    """The component's configuration in its example."""
    path = tmp_path / "sidelight.yaml"
    path.write_text(example(component))
    config = load(path)
    if isinstance(component, ReceiverType):
        return getattr(config.receivers, component.name)
    assert config.destinations is not None
    return config.destinations[0]


@pytest.mark.parametrize("component", COMPONENTS, ids=NAMES)
class TestEachComponent:
    def test_the_folder_has_its_name(self, component: DestinationType | ReceiverType) -> None:
        """Its page, its code and its tests are found by the name in the configuration."""
        folder = component.page.parent
        assert folder.name == component.name
        assert (folder / "config.py").exists()
        mirrored = TESTS / "collector" / folder.parent.name / component.name
        assert list(mirrored.glob("test_*.py")), f"no tests in {mirrored}"

    def test_the_page_is_published(self, component: DestinationType | ReceiverType) -> None:
        """The committed page is what `make config-docs` makes."""
        made = {str(path): text for path, text in pages(schema())}
        path = f"{component.page.parent.parent.name}/{component.name}.md"
        assert (DOCS / path).read_text() == made[path]

    def test_config_check_accepts_the_example(
        self, component: DestinationType | ReceiverType, tmp_path: Path
    ) -> None:
        """As a user would try it, with the certificates and secrets that it names."""
        text, variables = provide(example(component), tmp_path)
        path = tmp_path / "sidelight.yaml"
        path.write_text(text)
        done = command("config", "check", "-c", path, cwd=tmp_path, variables=variables)
        assert done.returncode == 0, done.stderr
        assert component.name in done.stdout

    def test_unknown_keys_are_refused(
        self, component: DestinationType | ReceiverType, tmp_path: Path
    ) -> None:
        """With the key in the message."""
        values = yaml.safe_load(example(component))
        if isinstance(component, ReceiverType):
            values["receivers"][component.name]["colour"] = "blue"
        else:
            values["destinations"][0]["colour"] = "blue"
        path = tmp_path / "sidelight.yaml"
        path.write_text(yaml.safe_dump(values))
        with pytest.raises(ConfigError, match=r"colour: unknown key"):
            load(path)

    def test_it_has_signals(
        self, component: DestinationType | ReceiverType, tmp_path: Path
    ) -> None:
        """Told by the configuration; nothing is built for it."""
        signals = component.signals(of_example(component, tmp_path))
        assert signals
        assert set(signals) <= set(SIGNALS)


@pytest.mark.parametrize("destination", destinations.TYPES.values(), ids=destinations.TYPES)
async def test_a_destination_can_be_checked(destination: DestinationType, tmp_path: Path) -> None:
    """The doctor's check answers, whether or not anything listens."""
    config = of_example(destination, tmp_path).model_copy(update={"timeout_seconds": 0.5})
    if "url" in type(config).model_fields:
        config = config.model_copy(update={"url": "http://127.0.0.1:9"})
    if "directory" in type(config).model_fields:
        config = config.model_copy(update={"directory": tmp_path})
    check = await destination.check("name", config)
    assert isinstance(check, Check)
    assert check.name == "name"
    assert check.status == "ok" or check.advice


@pytest.mark.parametrize("receiver", receivers.TYPES.values(), ids=receivers.TYPES)
async def test_a_receiver_can_be_checked(receiver: ReceiverType, tmp_path: Path) -> None:
    """Its example gives the doctor at least one look, which answers."""
    looks = receiver.looks(of_example(receiver, tmp_path), CheckContext(timeout_seconds=0.5))
    assert looks
    for _, look in looks:
        assert isinstance(await look(), Check)
