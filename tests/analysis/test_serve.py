"""The live page: what is served to whom, what is shown of running runs, and how it stops."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select

import report_samples as samples
from fovea.analysis.running import running
from fovea.analysis.runs import read_runs
from fovea.analysis.serve import Site, serve
from fovea.analysis.server import Server
from fovea.command import UserError
from in_browser import asked_for, drawn, wait


class Served:
    """A folder of runs, served."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.site = Site([folder])
        self.server = Server(0)
        self.server.thread.start()
        self.look()

    def look(self) -> None:
        """What the command does every few seconds, without waiting."""
        self.site.due = 0.0
        self.site.look()
        self.server.snapshot, self.server.status = self.site.snapshot, self.site.status

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/"

    def get(self, path: str, **headers: str) -> tuple[int, bytes, dict[str, str]]:
        link = http.client.HTTPConnection("127.0.0.1", self.server.server_port, timeout=10)
        link.request("GET", path, headers=headers)
        answer = link.getresponse()
        return answer.status, answer.read(), dict(answer.headers)

    def status(self) -> dict:
        return json.loads(self.get("/status.json")[1])


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    folder = tmp_path / "runs"
    folder.mkdir()
    one = Served(folder)
    yield one
    one.server.stop()


def running_agent(folder: Path) -> Path:
    logged = [(step, {"loss": 1.0, "steps_per_second": 50.0}) for step in range(100, 1100, 100)]
    samples.run(folder, "agent", logged, state="running", step=1000, steps=4000, seconds=20.0)
    return folder


def test_an_empty_folder_waits_for_its_first_run_and_shows_it(served: Served) -> None:
    assert b"No run is here yet" in served.get("/")[1]
    assert served.site.about == "no run yet"
    before = served.status()["version"]
    running_agent(served.folder / "mine")
    served.look()
    assert served.status()["version"] != before
    assert b"mine of three games" in served.get("/")[1]


def test_only_what_the_page_consists_of_is_served_and_only_to_this_machine(served: Served) -> None:
    samples.pretraining(served.folder / "r", "r")
    (served.folder / "r" / "secret").write_text("secret")
    served.look()
    assert served.server.server_address[0] == "127.0.0.1"
    for host in ("evil.example", f"evil.example:{served.server.server_port}", "127.0.0.1"):
        assert served.get("/", Host=host)[0] == 403
    assert served.get("/", Host=f"localhost:{served.server.server_port}")[0] == 200
    for path in ("/r/secret", "/../r/secret", "/%2e%2e/secret", "/etc/passwd", "/assets/../r"):
        assert served.get(path)[0] == 404, path
    status, page, headers = served.get("/")
    assert status == 200
    assert "default-src 'self'" in headers["Content-Security-Policy"]
    assert "Access-Control-Allow-Origin" not in headers
    text = samples.Text(page.decode())
    for link in [a.get("src") or a.get("href") for _, a in text.tags]:
        if link and not link.startswith(("#", "data:")):
            assert served.get(f"/{link}")[0] == 200, link


def test_a_film_is_given_in_parts_so_that_one_can_seek_in_it(served: Served) -> None:
    samples.agent(served.folder / "dqn", "dqn", seed=0)
    served.look()
    path = "/media/dqn-evaluation.webm"
    whole = (served.folder / "dqn" / "media" / "evaluation.webm").read_bytes()
    assert served.get(path)[1] == whole
    status, part, headers = served.get(path, Range="bytes=100-199")
    assert (status, part) == (206, whole[100:200])
    assert headers["Content-Range"] == f"bytes 100-199/{len(whole)}"
    assert served.get(path, Range="bytes=100-")[1] == whole[100:]
    assert served.get(path, Range=f"bytes={len(whole)}-")[0] == 416


def test_only_runs_whose_files_have_changed_are_read_again(served: Served) -> None:
    for name in ("a", "b"):
        running_agent(served.folder / name)
    served.look()
    before = {run.name: run for _, run in served.site.kept.values()}
    version = served.status()["version"]
    served.look()
    assert served.status()["version"] == version
    with open(served.folder / "b" / "metrics.csv", "a") as file:
        file.write("1100,loss,0.5\n")
    served.look()
    after = {run.name: run for _, run in served.site.kept.values()}
    assert after["a"] is before["a"]
    assert after["b"].metrics["loss"].values[-1] == 0.5
    assert served.status()["version"] != version


def test_what_runs_is_shown_with_speed_time_left_and_the_end_of_its_log(served: Served) -> None:
    running_agent(served.folder / "mine")
    samples.pretraining(served.folder / "over", "over")
    served.look()
    (one,) = served.status()["now"]
    assert one["text"] == "step 1,000 of 4,000, 50 steps a second, 1 min 0 s left"
    assert one["share"] == 0.25
    assert "loss 1 at step 1,000" in one["log"]  # where there is no log
    log = served.folder / "mine.log"
    log.write_text("".join(f"line {k}\n" for k in range(5000)) + "agent: 30%\ragent: 31%\n")
    served.look()
    assert served.status()["now"][0]["log"][-3:] == ["line 4999", "agent: 30%", "agent: 31%"]


def test_a_run_that_has_given_no_sign_for_long_is_said_to(tmp_path: Path) -> None:
    running_agent(tmp_path / "mine")
    for name in ("run.json", "metrics.csv"):
        os.utime(tmp_path / "mine" / name, (time.time() - 3600,) * 2)
    (one,) = running(read_runs([tmp_path]))
    assert one["silent"]
    assert "no sign for 1 h 0 min: it may have been killed" in str(one["text"])


@pytest.mark.parametrize(
    "torn",
    [
        "{",
        '{"kind": 3, "step": "x", "history": 7}',
        *(pytest.param(text, marks=pytest.mark.evidence) for text in ("", "[]", "null")),
    ],
)
def test_a_half_written_run_leaves_the_page_standing(served: Served, torn: str) -> None:
    running_agent(served.folder / "good")
    bad = running_agent(served.folder / "bad")
    served.look()
    (bad / "run.json").write_text(torn)
    (bad / "metrics.csv").write_text("step,name,value\n1,loss,\n2,lo")
    served.look()
    status, page, _ = served.get("/")
    assert status == 200
    assert b"good of three games" in page
    assert served.status()["now"][0]["name"] == "good"
    (bad / "run.json").unlink()
    running_agent(bad)  # and it is whole once more
    served.look()
    assert served.status()["trouble"] == ""


def test_a_folder_that_is_taken_away_is_said_so_and_not_the_end(served: Served) -> None:
    running_agent(served.folder / "mine")
    served.look()
    served.folder.rename(served.folder.with_name("elsewhere"))
    served.look()
    assert "is no folder" in served.status()["trouble"]
    assert served.get("/")[0] == 200
    with pytest.raises(UserError, match="is no folder"):
        Site([served.folder]).look()


@pytest.mark.slow
@pytest.mark.browser
def test_the_page_takes_over_what_changed_and_keeps_what_a_reader_did(
    served: Served, browser
) -> None:
    samples.pretraining(served.folder / "vicreg", "vicreg")
    running_agent(served.folder / "mine")
    served.look()
    browser.get("about:blank")
    for kind in ("browser", "performance"):
        browser.get_log(kind)  # what it did before is not this page's
    browser.get(served.url)
    live = browser.find_element(By.CLASS_NAME, "live")
    wait(lambda: "1 running" in live.text, browser)
    assert "1 min 0 s left" in browser.find_element(By.CLASS_NAME, "now").text

    group = browser.find_element(By.CSS_SELECTOR, "#agents-learning .charts, #agents .charts")
    drawn(browser, group)
    Select(group.find_element(By.CSS_SELECTOR, ".lines")).select_by_value("seed")
    search = browser.find_element(By.CSS_SELECTOR, "#runs .search")
    search.send_keys("mine")
    with open(served.folder / "mine" / "metrics.csv", "a") as file:
        file.write("1100,loss,0.25\n")
    served.look()

    last = """arguments[0].scrollIntoView({behavior: 'instant'});
        return arguments[0].querySelector('.chart').data[0].y.at(-1)"""
    wait(lambda: browser.execute_script(last, group) == 0.25, browser)
    assert group.find_element(By.CSS_SELECTOR, ".lines").get_attribute("value") == "seed"
    search = browser.find_element(By.CSS_SELECTOR, "#runs .search")
    assert search.get_attribute("value") == "mine"

    samples.state(samples.run(served.folder / "probes", "probes"))
    served.look()
    wait(lambda: browser.find_elements(By.CSS_SELECTOR, "#probe-state .charts"), browser)
    own = (served.url, "data:", "blob:", "about:")
    assert [url for url in asked_for(browser) if not url.startswith(own)] == []
    links = browser.find_elements(By.CSS_SELECTOR, "nav a")
    assert "State: what can be read off the features" in [a.get_attribute("text") for a in links]
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []
    served.server.stop()
    wait(lambda: "The server has stopped" in live.text, browser)


@pytest.mark.slow
def test_the_command_serves_without_torch_and_stops_cleanly(tmp_path: Path) -> None:
    running_agent(tmp_path / "mine")
    code = (
        "import runpy, sys\n"
        "try: runpy.run_module('fovea', run_name='__main__')\n"
        "finally: print('torch' in sys.modules)"
    )
    arguments = ["analysis", "serve", str(tmp_path), "--port", "0", "--every", "0.2"]
    with subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        assert first.startswith("1 run: 1 playing at http://127.0.0.1:")
        port = int(first.split(":")[3].split("/")[0])
        link = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        link.request("GET", "/")
        assert link.getresponse().status == 200
        with pytest.raises(UserError, match=f"--port {port}: Address already in use"):
            serve(Site([tmp_path]), port, 1.0)
        process.send_signal(signal.SIGTERM)
        assert process.stdout.read() == "stopped\nFalse\n"
        assert process.wait(10) == 0
