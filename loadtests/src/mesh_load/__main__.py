"""Makes the load, and writes the report."""

import json
import os
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Final

from mesh_load.plots import draw
from mesh_load.profile import native
from mesh_load.report import report, sentence
from mesh_load.settings import PREFIX, Settings, SettingsError
from mesh_load.steps import REPORT_S, SETTLE_S, Step

_PATIENCE_S: Final = 10.0
_LOCUSTFILE: Final = Path(__file__).with_name("locustfile.py")


def main() -> None:
    """Does both.

    Raises:
        SystemExit: a setting is wrong, the mesh does not answer, or the load could not be made.
    """
    try:
        settings = Settings.load()
    except SettingsError as error:
        raise SystemExit(f"load: {error}") from None
    _check(settings)
    most_s = len(settings.rates_per_s) * (SETTLE_S + settings.step_s + REPORT_S)
    _say(
        f"{settings.url}: {', '.join(map(str, settings.rates_per_s))} requests a second, "
        f"{most_s} s at most ..."
    )
    steps = _make(settings)
    for name, picture in draw(steps).items():
        (settings.output_path / name).write_bytes(picture)
    page = settings.output_path / "report.md"
    page.write_text(report(settings, steps), encoding="utf-8")
    for step in steps:
        _say(sentence(step))
    _say(f"report: {page}")


def _check(settings: Settings) -> None:
    """Asks once, so that a wrong key is said before the load and not by it."""
    ask = native(["A quiet film that stays with you."])
    headers = {"authorization": f"Bearer {settings.key}", "content-type": "application/json"}
    request = urllib.request.Request(settings.url + ask.path, ask.body.encode(), headers)  # noqa: S310  # http or https, by the settings
    context = ssl.create_default_context(cafile=settings.ca_path)
    try:
        urllib.request.urlopen(request, timeout=_PATIENCE_S, context=context).close()  # noqa: S310  # the same
    except urllib.error.HTTPError as error:
        said = error.read().decode(errors="replace")
        raise SystemExit(f"load: {settings.url} answers {error.code}: {said}") from None
    except OSError as error:
        raise SystemExit(
            f"load: {settings.url} does not answer ({error}); run `make up`, or set {PREFIX}URL"
        ) from None


def _make(settings: Settings) -> list[Step]:
    several = [f"--processes={settings.processes}"] if settings.processes > 1 else []
    locust = [sys.executable, "-m", "locust", "--headless", "--locustfile", str(_LOCUSTFILE)]
    quiet = ["--only-summary", "--reset-stats", "--loglevel=WARNING", "--stop-timeout=10"]
    log = settings.output_path / "locust.log"
    found = settings.output_path / "steps.json"
    settings.output_path.mkdir(parents=True, exist_ok=True)
    found.unlink(missing_ok=True)
    with log.open("w") as output:
        # Its status says whether any request failed, which is no fault of the load.
        subprocess.run(
            [*locust, *quiet, *several],
            env=os.environ | settings.environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if not found.exists():
        raise SystemExit(f"load: locust ended without a result; {log} says why")
    return [Step.from_json(each) for each in json.loads(found.read_text())]


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
