"""Parts of the live page, one below the other, as the picture that a README shows.

fovea analysis serve runs/quickstart --port 8177       # beside a run that trains
python docs/page_picture.py http://127.0.0.1:8177/ docs/images/report.png
"""

from __future__ import annotations

import argparse
import io
import shutil
import time
from pathlib import Path

from PIL import Image
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.remote.webelement import WebElement

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


def drawn(browser: webdriver.Chrome, element: WebElement) -> None:
    """Bring an element near the screen, where figures are drawn, and wait for that."""
    script = "arguments[0].scrollIntoView({behavior: 'instant', block: 'center'})"
    browser.execute_script(script, element)
    time.sleep(0.3)
    while "charts" in (element.get_attribute("class") or "") and not element.get_attribute(
        "data-drawn"
    ):
        time.sleep(0.05)


def part(browser: webdriver.Chrome, first: str, last: str) -> Image.Image:
    """What is seen from the top of one element to the bottom of another."""
    edges = [max(0, round(edge)) for edge in browser.execute_script(EDGES, first, last)]
    shot = Image.open(io.BytesIO(browser.get_screenshot_as_png()))
    return shot.convert("RGB").crop(edges)


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("address", help="of the live page")
    asked.add_argument("out", type=Path, help="a .png")
    asked.add_argument("--game", default="Breakout", help="whose screens are shown (Breakout)")
    args = asked.parse_args()
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or shutil.which("google-chrome") or ""
    for flag in ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"):
        options.add_argument(flag)
    browser = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    size = {"width": WIDTH, "height": 1200, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get(args.address)
    browser.execute_script(
        """for (const choice of document.querySelectorAll(".choice, .game"))
            if ([...choice.options].some((one) => one.value === arguments[0])) {
                choice.value = arguments[0];
                choice.dispatchEvent(new Event("change"));
            }""",
        args.game,
    )
    for group in browser.find_elements("class name", "charts"):
        drawn(browser, group)  # what lies below a figure moves when it is drawn
    parts, dark = [], False
    for first, last, wanted in PARTS:
        if wanted != dark:
            browser.execute_script("document.querySelector('.theme').click()")
            dark = wanted
        for element in browser.find_elements("css selector", f"{first}, .charts:has({first})"):
            drawn(browser, element)
        parts.append(part(browser, first, last))
    browser.quit()
    whole = Image.new("RGB", (max(one.width for one in parts), sum(one.height for one in parts)))
    below = 0
    for one in parts:
        whole.paste(one, (0, below))
        below += one.height
    whole.quantize(256).save(args.out, optimize=True)
    print(f"{args.out}: {whole.width}x{whole.height}, {args.out.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
