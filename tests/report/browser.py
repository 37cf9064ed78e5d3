"""A real Chromium that cannot reach any network, and what it logs."""

from __future__ import annotations

import base64
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from selenium.webdriver.remote.webelement import WebElement

# A name resolves to nothing and any other address goes to a proxy that is not there.
NO_NETWORK = ("--host-resolver-rules=MAP * ~NOTFOUND", "--proxy-server=127.0.0.1:9")
QUIET = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--force-color-profile=srgb",
)


class Browser:
    """Opens pages from disk; `errors` and `requests` are those since the page was opened."""

    def __init__(self, profile: str) -> None:
        from selenium import webdriver
        from selenium.webdriver.chrome.service import Service

        options = webdriver.ChromeOptions()
        for argument in (*QUIET, *NO_NETWORK, f"--user-data-dir={profile}"):
            options.add_argument(argument)
        options.binary_location = shutil.which("chromium") or ""
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))

    def open(self, page: Path, fragment: str = "", *, width: int = 1280, scheme: str = "light") -> None:
        self.driver.get("about:blank")
        self.driver.get_log("browser")
        self.driver.get_log("performance")
        media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        self.driver.get(page.as_uri() + fragment)
        self.wait("return document.getElementById('chart').dataset.drawn !== undefined")

    def close(self) -> None:
        self.driver.quit()

    def wait(self, condition: str, *arguments: object) -> None:
        from selenium.webdriver.support.ui import WebDriverWait

        WebDriverWait(self.driver, 15, poll_frequency=0.05).until(
            lambda driver: driver.execute_script(condition, *arguments), message=condition
        )

    def run(self, script: str, *arguments: object) -> Any:
        return self.driver.execute_script(script, *arguments)

    def find(self, selector: str) -> WebElement:
        return self.driver.find_element("css selector", selector)

    def texts(self, selector: str) -> list[str]:
        return self.run("return [...document.querySelectorAll(arguments[0])].map(e => e.textContent.trim())", selector)

    def choose(self, selector: str, value: str) -> None:
        """Choose an option of a menu as a person does: the page sees a change event."""
        from selenium.webdriver.support.ui import Select

        Select(self.find(selector)).select_by_value(value)

    def press(self, selector: str, *keys: str) -> None:
        self.find(selector).send_keys(*keys)

    def chart(self) -> bytes:
        """The pixels of the chart."""
        self.run("return new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        uri = self.run("return document.querySelector('#plot canvas').toDataURL('image/png')")
        return base64.b64decode(uri.partition(",")[2])

    def errors(self) -> list[str]:
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def requests(self) -> list[str]:
        """Addresses that were requested, save the page itself and what lies inside it."""
        messages = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        sent = [m["params"] for m in messages if m["method"] == "Network.requestWillBeSent"]
        page = self.driver.current_url.partition("#")[0]
        urls = [item["request"]["url"] for item in sent]
        return [url for url in urls if url != page and not url.startswith("data:")]
