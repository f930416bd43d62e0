"""Whether Langfuse is there and accepts the keys."""

from __future__ import annotations

import json

from sidelight.base.check import Check
from sidelight.base.configuration.section import ConfigError
from sidelight.base.executor import run_in_thread
from sidelight.base.http_client.client import HttpClient, NoAnswerError
from sidelight.collector.destinations.langfuse.config import LangfuseDestination
from sidelight.collector.destinations.langfuse.exporter import PROJECTS_PATH, credentials


async def check(name: str, config: LangfuseDestination) -> Check:
    """Ask for the project that the keys belong to."""
    keys = credentials(config)
    client = HttpClient(config.url, config.timeout_seconds)
    try:
        answer = await client.get(
            PROJECTS_PATH, await run_in_thread(keys.headers, "sidelight-secrets")
        )
    except ConfigError as error:
        return Check(name, "fail", str(error), "Langfuse shows keys under Settings, API Keys.")
    except NoAnswerError as error:
        advice = "The url is Langfuse's base, without /api. Check that Langfuse runs."
        return Check(name, "fail", str(error), advice)
    finally:
        client.close()
    if answer.status in (401, 403):
        return Check(
            name,
            "fail",
            f"{config.url} answered {answer.status}: it does not accept the keys",
            f"Check {keys.sources}. Keys belong to one project on one host: "
            "Langfuse's EU and US clouds and your own Langfuse have different ones.",
        )
    try:
        project = json.loads(answer.body)["data"][0]
        link = f"{config.url}/project/{project['id']}/traces/<trace id>"
        return Check(name, "ok", f"project {project['name']!s}, traces at {link}")
    except (ValueError, KeyError, IndexError, TypeError):
        return Check(
            name,
            "fail",
            f"{config.url}{PROJECTS_PATH} answered {answer.status}, not as Langfuse does",
            "Correct the destination's url: it is Langfuse's base, without /api.",
        )
