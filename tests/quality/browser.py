"""A real browser for the page tests: Chromium without a window, without a network, and with an empty profile."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
QUIET = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
]  # fmt: skip


@contextmanager
def chromium(profile: Path, *, width: int = 1280, height: int = 900, is_dark: bool = False) -> Iterator[Any]:
    """A WebDriver with a fresh profile; skips the test, and says why, where there is no browser to be had."""
    selenium = pytest.importorskip("selenium.webdriver", reason="selenium is not installed: no browser is driven")
    if CHROMIUM is None or DRIVER is None:
        pytest.skip("no Chromium with its chromedriver on this machine: no browser is driven")
    options = selenium.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in [*QUIET, f"--user-data-dir={profile}", f"--window-size={width},{height}"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = selenium.Chrome(options=options, service=selenium.ChromeService(DRIVER))
    try:
        resize(driver, width, height)
        scheme(driver, is_dark=is_dark)
        yield driver
    finally:
        driver.quit()


def resize(driver: Any, width: int, height: int) -> None:
    """Give the page exactly this many CSS pixels: a window has a least width, and a phone is narrower."""
    sizes = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", sizes)


def scheme(driver: Any, *, is_dark: bool) -> None:
    """What the system would say of light and dark."""
    feature = {"name": "prefers-color-scheme", "value": "dark" if is_dark else "light"}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})


def complaints(driver: Any) -> list[str]:
    """Everything the browser said in its console: errors, warnings, and what the page's policy forbade."""
    return [entry["message"] for entry in driver.get_log("browser")]


def requests(driver: Any) -> list[str]:
    """The addresses asked for since the last call, beside those that are data or the browser's own."""
    import json

    sent = []
    for entry in driver.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            sent.append(message["params"]["request"]["url"])
    return [url for url in sent if not url.startswith(("data:", "chrome", "devtools:", "about:"))]
