"""What tests of pages do in a browser."""

from __future__ import annotations

import json

from selenium.webdriver.support.ui import WebDriverWait


def wait(condition, browser):
    """Its first true value. Asked often: a page draws in less than Selenium's half second."""
    return WebDriverWait(browser, 30, poll_frequency=0.05).until(lambda _: condition())


def middle(browser, element):
    """Scroll an element to the middle of the screen."""
    how = "{behavior: 'instant', block: 'center'}"
    browser.execute_script(f"arguments[0].scrollIntoView({how})", element)


def drawn(browser, group):
    """A group of figures, brought near the screen and drawn as what is chosen now asks for."""
    middle(browser, group)
    wait(lambda: group.get_attribute("data-drawn"), browser)
    return group


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
