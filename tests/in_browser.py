"""What tests of pages do in a browser."""

from __future__ import annotations

import json

from benchmarks.chromium import drawn, middle, wait

__all__ = ["asked_for", "drawn", "middle", "text_of", "wait"]


def asked_for(browser):
    """The addresses that were asked for since the browser's log was read last."""
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    return [
        message["params"]["request"]["url"]
        for message in messages
        if message["method"] == "Network.requestWillBeSent"
    ]


def text_of(elements):
    return [element.get_attribute("textContent") for element in elements]
