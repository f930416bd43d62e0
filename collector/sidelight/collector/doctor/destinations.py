"""Whether each destination is there and takes our keys."""

from __future__ import annotations

import gzip
import json
import time

from sidelight.base.configuration.section import ConfigError
from sidelight.base.http_client.transport import NoAnswerError, Transport
from sidelight.collector.app.detect import phoenix_version
from sidelight.collector.delivery.build import build
from sidelight.collector.destinations.common.answer import with_words
from sidelight.collector.destinations.common.outcome import Delivered, Refused, Retry
from sidelight.collector.destinations.file.config import FileDestination
from sidelight.collector.destinations.langfuse import exporter as langfuse
from sidelight.collector.destinations.langfuse.config import LangfuseDestination
from sidelight.collector.destinations.otlp_grpc.config import OtlpGrpcDestination
from sidelight.collector.destinations.otlp_http.config import OtlpDestination
from sidelight.collector.destinations.phoenix.config import PhoenixDestination
from sidelight.collector.destinations.prometheus_remote_write.config import RemoteWriteDestination
from sidelight.collector.destinations.registry import AnyDestination
from sidelight.collector.doctor import disk
from sidelight.collector.doctor.check import Check
from sidelight.collector.log.record import Record
from sidelight.otlp.signals import SIGNALS, Signal


def check(config: AnyDestination, timeout_seconds: float) -> Check:
    """Ask it what can be asked without storing anything."""
    seconds = min(config.timeout_seconds, timeout_seconds)
    hasty = config.model_copy(update={"timeout_seconds": seconds})
    name = f"{config.type} {config.name}" if config.name != config.type else config.name
    match hasty:
        case PhoenixDestination():
            return _phoenix(name, hasty)
        case LangfuseDestination():
            return _langfuse(name, hasty)
        case OtlpDestination():
            return _otlp(name, hasty)
        case OtlpGrpcDestination():
            return _otlp_grpc(name, hasty)
        case RemoteWriteDestination():
            return _remote_write(name, hasty)
        case FileDestination():
            return _file(name, hasty)


def _phoenix(name: str, config: PhoenixDestination) -> Check:
    version = phoenix_version(config.url, config.timeout_seconds)
    try:
        troubles = _export_nothing(config, ("traces",))
    except ConfigError as error:
        return Check(name, "fail", str(error), "Correct it in the configuration.")
    trouble = next(iter(troubles), "")
    if str(config.api_key) in trouble:
        advice = f"Put an API key of Phoenix (Settings, API Keys) into {config.api_key}."
        return Check(name, "fail", trouble, advice)
    if version is None:
        if trouble:
            # It says itself to start what does not listen, or to correct the url.
            return Check(name, "fail", trouble, "Phoenix is started with: phoenix serve")
        found = f"{config.url}: what answers there is no Phoenix"
        return Check(name, "fail", found, "Correct the destination's url.")
    if trouble:
        return Check(name, "fail", trouble, "See Phoenix's own log and its disk.")
    project = f", project {config.project}" if config.project else ""
    return Check(name, "ok", f"Phoenix {version} at {config.url}{project} takes traces")


def _langfuse(name: str, config: LangfuseDestination) -> Check:
    keys = langfuse.credentials(config)
    transport = Transport(config.url, config.timeout_seconds)
    try:
        answer = transport.get(langfuse.PROJECTS_PATH, keys.headers())
    except ConfigError as error:
        return Check(name, "fail", str(error), "Langfuse shows keys under Settings, API Keys.")
    except NoAnswerError as error:
        return Check(
            name, "fail", str(error), "The url is Langfuse's base, without /api; is Langfuse up?"
        )
    finally:
        transport.close()
    if answer.status in (401, 403):
        return Check(
            name,
            "fail",
            f"{config.url} answered {answer.status}: it does not accept the keys",
            f"Check {keys.sources}. Keys belong to one project on one host: "
            "an EU, a US and an own Langfuse have different ones.",
        )
    try:
        project = json.loads(answer.body)["data"][0]
        link = f"{config.url}/project/{project['id']}/traces/<trace id>"
        return Check(name, "ok", f"project {project['name']!s}, traces at {link}")
    except (ValueError, KeyError, IndexError, TypeError):
        return Check(
            name,
            "fail",
            f"{config.url}{langfuse.PROJECTS_PATH} answered {answer.status}, not as Langfuse does",
            "Correct the destination's url: it is Langfuse's base, without /api.",
        )


def _otlp(name: str, config: OtlpDestination) -> Check:
    try:
        troubles = _export_nothing(config, config.signals)
    except ConfigError as error:
        return Check(name, "fail", str(error), "Correct it in the configuration.")
    if troubles:
        return Check(
            name,
            "fail",
            "; ".join(troubles),
            "The url is the base, to which /v1/traces and the like are added; "
            "signals names what the endpoint takes.",
        )
    return Check(name, "ok", f"{config.url} takes {', '.join(config.signals)}")


def _otlp_grpc(name: str, config: OtlpGrpcDestination) -> Check:
    try:
        troubles = _export_nothing(config, config.signals)
    except ConfigError as error:
        return Check(name, "fail", str(error), "Correct it in the configuration.")
    if troubles:
        advice = "The url is host and port; https:// for TLS; signals names what it takes."
        return Check(name, "fail", "; ".join(troubles), advice)
    return Check(name, "ok", f"{config.url} takes {', '.join(config.signals)} over gRPC")


def _remote_write(name: str, config: RemoteWriteDestination) -> Check:
    try:
        troubles = _export_nothing(config, ("metrics",))
    except ConfigError as error:
        return Check(name, "fail", str(error), "Correct it in the configuration.")
    if troubles:
        advice = (
            "The url is the endpoint itself, at Prometheus <base>/api/v1/write, which it "
            "serves if started with --web.enable-remote-write-receiver."
        )
        return Check(name, "fail", "; ".join(troubles), advice)
    return Check(name, "ok", f"{config.url} takes remote write")


def _file(name: str, config: FileDestination) -> Check:
    directory = config.directory.absolute()
    try:
        disk.probe(disk.nearest(directory))
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        advice = "Let this user write there, or set the destination's directory to another."
        return Check(name, "fail", f"{directory} cannot be written: {reason}", advice)
    return Check(name, "ok", f"{directory} is writable")


def _export_nothing(config: AnyDestination, signals: tuple[Signal, ...]) -> list[str]:
    """What goes wrong with an empty export of each signal, sent as a real one is."""
    destination = build(config)
    troubles = []
    try:
        for signal in SIGNALS:
            if signal not in signals:
                continue
            match destination.send(Record(signal, gzip.compress(b""), 0, time.time_ns())):
                case Retry(reason=reason):
                    troubles.append(reason)
                case Refused(reason=reason, said=said):
                    # Nothing was sent that it could quote.
                    troubles.append(with_words(reason, said))
                case Delivered():
                    pass
    finally:
        destination.close()
    return list(dict.fromkeys(troubles))
