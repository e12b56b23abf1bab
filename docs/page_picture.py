"""Parts of the live page, one below the other, as the picture that a README shows; or all of it.

fovea analysis serve runs/quickstart --port 8177       # beside a run that trains
python -m docs.page_picture http://127.0.0.1:8177/ docs/images/report.png
python -m docs.page_picture file://$PWD/report/index.html page.png --whole --width 390 --dark
"""

from __future__ import annotations

import argparse
import base64
import io
import time
from pathlib import Path

from PIL import Image
from selenium import webdriver
from selenium.webdriver.remote.webelement import WebElement

from benchmarks.chromium import chromium, draw_all, drawn, middle, resize

WIDTH = 1120  # pixels
PARTS = (  # first and last element of each part, and whether it is dark
    ("h1", ".now", False),
    ("#probe-attention .attention .controls", "#probe-attention .attention .pictures", True),
    (".map-of-features .panels", ".map-of-features .chart", True),  # the first row
)
EDGES = """
    const [first, last] = [...arguments].map((one) => document.querySelector(one));
    const above = first.getBoundingClientRect().top + scrollY - 120;
    window.scrollTo({ top: above, behavior: "instant" });
    const { left, top } = first.getBoundingClientRect();
    return [left - 15, top - 8, innerWidth - left + 15, last.getBoundingClientRect().bottom + 8];
"""


def seen(browser: webdriver.Chrome, element: WebElement) -> None:
    """Bring an element near the screen, where it is drawn."""
    if "charts" in (element.get_attribute("class") or ""):
        drawn(browser, element)
    else:
        middle(browser, element)
        time.sleep(0.3)


def part(browser: webdriver.Chrome, first: str, last: str) -> Image.Image:
    """What is seen from the top of one element to the bottom of another."""
    edges = [max(0, round(edge)) for edge in browser.execute_script(EDGES, first, last)]
    shot = Image.open(io.BytesIO(browser.get_screenshot_as_png()))
    return shot.convert("RGB").crop(edges)


def chosen(browser: webdriver.Chrome, game: str) -> None:
    """Choose a game wherever there is a choice, and draw every figure."""
    browser.execute_script(
        """for (const choice of document.querySelectorAll(".choice, .game"))
            if ([...choice.options].some((one) => one.value === arguments[0])) {
                choice.value = arguments[0];
                choice.dispatchEvent(new Event("change"));
            }""",
        game,
    )
    draw_all(browser)  # what lies below a figure moves when it is drawn


def parts(browser: webdriver.Chrome) -> Image.Image:
    """The parts, one below the other."""
    pictures, dark = [], False
    for first, last, wanted in PARTS:
        if wanted != dark:
            browser.execute_script("document.querySelector('.theme').click()")
            dark = wanted
        for element in browser.find_elements("css selector", f"{first}, .charts:has({first})"):
            seen(browser, element)
        pictures.append(part(browser, first, last))
    size = max(one.width for one in pictures), sum(one.height for one in pictures)
    whole = Image.new("RGB", size)
    below = 0
    for one in pictures:
        whole.paste(one, (0, below))
        below += one.height
    return whole


def whole(browser: webdriver.Chrome, dark: bool) -> Image.Image:
    """All of the page, in one of its two looks."""
    if dark:
        browser.execute_script("document.querySelector('.theme').click()")
    asked = {"captureBeyondViewport": True, "format": "png"}
    shot = browser.execute_cdp_cmd("Page.captureScreenshot", asked)["data"]
    return Image.open(io.BytesIO(base64.b64decode(shot))).convert("RGB")


def main() -> None:
    asked = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    asked.add_argument("address", help="of a page, live or a file")
    asked.add_argument("out", type=Path, help="a .png")
    asked.add_argument("--game", default="Breakout", help="whose screens are shown (Breakout)")
    asked.add_argument("--whole", action="store_true", help="all of the page in place of parts")
    asked.add_argument("--dark", action="store_true", help="the whole page by night")
    asked.add_argument("--width", type=int, default=WIDTH, help=f"pixels ({WIDTH})")
    args = asked.parse_args()
    with chromium() as browser:
        resize(browser, args.width, 1200)
        browser.get(args.address)
        chosen(browser, args.game)
        picture = whole(browser, args.dark) if args.whole else parts(browser)
    picture.quantize(256).save(args.out, optimize=True)
    print(f"{args.out}: {picture.width}x{picture.height}, {args.out.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
