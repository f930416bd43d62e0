"""Publishing over Grafana's API, against a stand-in: no Grafana server can be had here."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from click.testing import CliRunner, Result

from sidelight.collector.cli.main import sidelight
from sidelight.dashboards.boards.published import BOARDS
from support.ports import free_port

TOKEN = "glsa_test"


@dataclass
class GrafanaStandIn:
    """Folders and dashboards as Grafana's API keeps them, and which calls changed something."""

    address: str = ""
    folders: dict[str, str] = field(default_factory=dict)
    boards: dict[str, tuple[dict[str, Any], str]] = field(default_factory=dict)
    writes: list[str] = field(default_factory=list)

    def answer(self, method: str, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """The status and the document that Grafana would give."""
        uid = path.rpartition("/")[2]
        if method == "GET" and path.startswith("/api/dashboards/uid/"):
            if uid not in self.boards:
                return 404, {"message": "Dashboard not found"}
            board, folder = self.boards[uid]
            return 200, {"dashboard": board, "meta": {"folderUid": folder}}
        if method == "GET" and path.startswith("/api/folders/"):
            found = self.folders.get(uid)
            return (200, {"uid": uid, "title": found}) if found else (404, {"message": "not found"})
        self.writes.append(path)
        if path == "/api/folders":
            self.folders[body["uid"]] = body["title"]
            return 200, {}
        board, folder = body["dashboard"], body["folderUid"]
        if folder and folder not in self.folders:
            return 400, {"message": "folder not found"}
        version = 1 + self.boards.get(board["uid"], ({"version": 0}, ""))[0]["version"]
        self.boards[board["uid"]] = (board | {"id": 7, "version": version}, folder)
        return 200, {"status": "success"}


@pytest.fixture
def grafana() -> Iterator[GrafanaStandIn]:
    """A stand-in that is empty."""
    state = GrafanaStandIn()

    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self.headers["Authorization"] != f"Bearer {TOKEN}":
                status, document = 401, {"message": "Invalid API key"}
            else:
                status, document = state.answer(self.command, self.path, json.loads(body or b"{}"))
            text = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def do_GET(self) -> None:
            self._serve()

        def do_POST(self) -> None:
            self._serve()

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    state.address = f"http://127.0.0.1:{server.server_address[1]}"
    yield state
    server.shutdown()
    server.server_close()
    thread.join()


def _push(address: str, *options: str, token: str = TOKEN) -> Result:
    command = ["dashboards", "push", "--grafana", address, *options]
    return CliRunner().invoke(sidelight, command, env={"GRAFANA_TOKEN": token})


def test_all_boards_are_created_in_a_folder(grafana: GrafanaStandIn) -> None:
    """The folder first, because a board cannot be in one that is missing."""
    answer = _push(grafana.address)
    assert answer.exit_code == 0, answer.output
    assert grafana.folders == {"sidelight": "Sidelight"}
    assert set(grafana.boards) == {board.uid for board in BOARDS}
    assert {folder for _, folder in grafana.boards.values()} == {"sidelight"}


def test_a_second_push_saves_nothing(grafana: GrafanaStandIn) -> None:
    """Grafana's ids and versions are no difference."""
    _push(grafana.address)
    grafana.writes.clear()
    answer = _push(grafana.address)
    assert grafana.writes == []
    assert {line.split()[0] for line in answer.output.splitlines()} == {"keep"}


def test_a_changed_board_is_replaced_where_it_is(grafana: GrafanaStandIn) -> None:
    """A board that was moved stays in its new folder; the others are left alone."""
    _push(grafana.address)
    grafana.folders["team"] = "Team"
    board, _ = grafana.boards["sidelight-fleet"]
    grafana.boards["sidelight-fleet"] = (board | {"title": "Old"}, "team")
    grafana.writes.clear()
    answer = _push(grafana.address)
    assert "update sidelight-fleet" in answer.output
    assert grafana.writes == ["/api/dashboards/db"]
    board, folder = grafana.boards["sidelight-fleet"]
    assert (board["title"], folder) == ("Sidelight / Fleet", "team")


def test_a_dry_run_shows_the_lines_and_saves_nothing(grafana: GrafanaStandIn) -> None:
    """Also where everything is to be created."""
    assert "create sidelight-overview" in _push(grafana.address, "--dry-run").output
    assert grafana.writes == []
    _push(grafana.address)
    board, folder = grafana.boards["sidelight-fleet"]
    grafana.boards["sidelight-fleet"] = (board | {"title": "Old"}, folder)
    answer = _push(grafana.address, "--dry-run")
    assert '- "title": "Old"' in answer.output
    assert '+ "title": "Sidelight / Fleet"' in answer.output
    assert grafana.boards["sidelight-fleet"][0]["title"] == "Old"


def test_a_wrong_token_is_one_sentence(grafana: GrafanaStandIn) -> None:
    """It says what token is needed, and does not repeat the one that was given."""
    answer = _push(grafana.address, token="glsa_wrong")
    assert answer.exit_code == 1
    [line] = answer.output.splitlines()
    assert "status 401; give a token of a service account" in line
    assert "glsa_wrong" not in line


def test_an_address_that_does_not_answer_is_one_sentence() -> None:
    """It names the address."""
    address = f"http://127.0.0.1:{free_port()}"
    answer = _push(address)
    assert answer.exit_code == 1
    assert answer.output.strip().endswith("correct the address")
    assert address in answer.output
