"""The doctor's check of Langfuse: it answers and accepts the keys."""

from __future__ import annotations

import json

from sidelight.base.check import Check
from sidelight.base.configuration.section import ConfigError
from sidelight.base.executor import run_in_thread
from sidelight.base.http_client.client import NoAnswerError
from sidelight.collector.destinations.langfuse.config import LangfuseDestination
from sidelight.collector.destinations.langfuse.exporter import PROJECTS_PATH, credentials


async def check(name: str, config: LangfuseDestination) -> Check:
    """Ask for the project of the keys."""
    keys = credentials(config)
    client = config.http_client(config.url, config.timeout_seconds)
    try:
        answer = await client.get(
            PROJECTS_PATH, await run_in_thread(keys.headers, "sidelight-secrets")
        )
    except ConfigError as error:
        advice = "Create keys in Langfuse under Settings, API Keys."
        return Check(name, "fail", str(error), advice)
    except NoAnswerError as error:
        advice = "Check that Langfuse runs. The url is its base URL, without /api."
        return Check(name, "fail", str(error), advice)
    finally:
        client.close()
    if answer.status in (401, 403):
        return Check(
            name,
            "fail",
            f"{config.url} answered {answer.status}: the keys are not valid",
            f"Check {keys.sources}. Keys belong to one project on one host: Langfuse's EU cloud, "
            "its US cloud and your own Langfuse have different keys.",
        )
    try:
        # Keys belong to one project, so there is one entry.
        project = json.loads(answer.body)["data"][0]
        link = f"{config.url}/project/{project['id']}/traces/<trace id>"
        return Check(name, "ok", f"project {project['name']!s}, traces at {link}")
    except (ValueError, KeyError, IndexError, TypeError):
        return Check(
            name,
            "fail",
            f"{config.url}{PROJECTS_PATH} answered {answer.status}, unlike Langfuse",
            "Correct the url: it is the base URL of Langfuse, without /api.",
        )
