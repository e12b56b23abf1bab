"""`fovea analysis serve`: the report's page live, on this machine, while runs train."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from fovea import command
from fovea.analysis import reporting
from fovea.analysis.study_kinds import TAKE_OFF
from fovea.command import Terminated, UserError

ABOUT = """\
Show the page of `fovea analysis report` live: run folders are watched, what has changed is shown
anew, and what runs at this moment stands on top with its speed, the time left and the last lines of
its log. Folders may still be empty. The page answers on this machine alone (http://127.0.0.1); from
another one, `ssh -L 8123:127.0.0.1:8123 MACHINE` brings it there. Ctrl-C or SIGTERM stops it.
Nothing is written, and no more than a tenth of a core is spent on making the page anew.
"""

EXAMPLE = """\
example:
  fovea analysis serve runs
  fovea analysis serve runs/agents runs/objectives --port 9000
"""

PORT = 8123
SHARE = 0.1  # of a core, at most, for making the page anew: training needs the others


def parsed(arguments: list[str]) -> argparse.Namespace:
    asked = reporting.parser("fovea analysis serve", ABOUT, EXAMPLE)
    asked.add_argument(
        "--port", type=command.natural, default=PORT, help=f"0 takes any that is free ({PORT})"
    )
    asked.add_argument(
        "--every", metavar="SECONDS", type=float, default=2.0, help="between two looks (2)"
    )
    return asked.parse_args(arguments)


def run(arguments: list[str]) -> None:
    """Run `fovea analysis serve ARGUMENTS`, until it is stopped."""
    args = parsed(arguments)
    if not 0.1 <= args.every <= 3600:
        raise UserError(f"--every {args.every:g}: give seconds from 0.1 to 3600")
    with command.terminable():
        try:
            site = Site(args.runs, args.title, args.take_off, args.recordings)
            serve(site, args.port, args.every)
        except (KeyboardInterrupt, Terminated):
            print("stopped", flush=True)


def serve(site: Site, port: int, every: float) -> None:
    """Serve the page of a site, and look at its runs `every` so many seconds."""
    from fovea.analysis.server import HOST, Server

    site.look()
    try:
        server = Server(port)
    except OSError as fault:
        raise UserError(
            f"--port {port}: {fault.strerror}; give another, or 0 for any that is free"
        ) from None
    try:
        server.snapshot, server.status = site.snapshot, site.status
        server.thread.start()
        print(f"{site.about} at http://{HOST}:{server.server_port}/ (Ctrl-C stops it)", flush=True)
        while True:
            time.sleep(every)
            site.look()
            server.snapshot, server.status = site.snapshot, site.status
    finally:
        server.stop()


class Site:
    """The page of some run folders as it is now.

    Attributes:
        snapshot: what is served.
        status: what runs at this moment, and what is wrong with the page.
        about: what the page shows, in words.
    """

    def __init__(
        self,
        places: Sequence[Path],
        title: str | None = None,
        take_off: float = TAKE_OFF,
        recordings: Sequence[Path] = (),
    ):
        from fovea.analysis.server import Snapshot

        self.places, self.take_off = places, take_off
        self.title = title or reporting.heading(places)
        self.recordings = reporting.checked(recordings)
        self.fixed = reporting.assets(live=True)
        self.kept: dict = {}
        self.shown: object = None
        self.due = 0.0
        self.snapshot, self.about = Snapshot(), ""
        self.status: dict[str, object] = {}

    def look(self) -> None:
        """Read what has changed, and make the page anew where that is anything and it is due."""
        from fovea.analysis.running import running
        from fovea.analysis.runs import read_runs

        trouble = ""
        try:
            runs = read_runs(self.places, self.kept)
            seen = [signature for signature, _ in self.kept.values()]
            if seen != self.shown and time.monotonic() >= self.due:
                began = time.monotonic()
                self._make(runs)
                self.shown = seen
                self.due = time.monotonic() + (time.monotonic() - began) / SHARE
            now = running(runs)
        except UserError as fault:  # a folder was taken away
            if not self.about:
                raise
            trouble, now = str(fault), []
        except Exception as fault:  # of whatever a run folder holds at this moment
            trouble, now = f"{type(fault).__name__}: {fault}", []
            self.shown = self.shown or ()
        if trouble and trouble != self.status.get("trouble"):
            print(f"the page could not be made anew: {trouble}", file=sys.stderr, flush=True)
        self.status = {"now": now, "trouble": trouble, "at": time.time()}

    def _make(self, runs: list) -> None:
        from fovea.analysis import contents, overview
        from fovea.analysis.server import Snapshot

        page, html = contents.make(
            runs, self.title, self.take_off, live=True, places=self.recordings
        )
        version = f"{time.time_ns():x}"
        update = {"version": version, "html": html, "data": page.data()}
        self.snapshot = Snapshot(
            version,
            {
                **self.fixed,
                **page.files,
                "index.html": html.encode(),
                "page.json": json.dumps(update, allow_nan=False, separators=(",", ":")).encode(),
            },
        )
        self.about = overview.kinds(runs) if runs else "no run yet"
