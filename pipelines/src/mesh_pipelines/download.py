"""Finds an archive on the package index and downloads it, going on where an earlier try stopped."""

import time
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Self

import httpx2
from unearth import PackageFinder
from unearth.auth import MultiDomainBasicAuth
from unearth.fetchers import PyPIClient

from mesh_pipelines.errors import PipelineError
from mesh_pipelines.indexes import index_urls
from mesh_pipelines.progress import progress_bar
from mesh_pipelines.sources import Source

_TRIES = 5
_TIMEOUT_S = 30.0
_RETRY_DELAY_S = 1.0


class Downloader:
    """Downloads the archives of packages from the user's index. No code of a package runs.

    Use it as a context manager, which closes its connections.

    Args:
        indexes: addresses of simple indexes; empty for the finder's own default.
        pause: waits a number of seconds between tries.
    """

    def __init__(
        self,
        indexes: tuple[str, ...] | None = None,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._indexes = index_urls() if indexes is None else indexes
        self._client = PyPIClient(timeout=_TIMEOUT_S, follow_redirects=True)
        # Nobody may be there to answer a prompt.
        self._client.auth = MultiDomainBasicAuth(prompting=False, index_urls=self._indexes)
        self._pause = pause

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def download(self, source: Source, folder: Path) -> Path:
        """Downloads the archive of a source into `folder`, with a progress bar.

        Raises:
            PipelineError: the index lacks the archive, or the download keeps breaking off.
            OSError: the file can't be written.
        """
        url, name = self._find(source)
        partial = folder / f"{name}.part"
        for attempt in range(1, _TRIES + 1):
            try:
                self._fetch(url, partial, name)
            except httpx2.HTTPError as error:
                if attempt == _TRIES or _is_final(error):
                    raise PipelineError(
                        f"can't download {name}: {_reason(error)}; check the network and run it "
                        "again, it goes on where it stopped"
                    ) from error
                self._pause(_RETRY_DELAY_S * attempt)
            else:
                break
        whole = folder / name
        partial.replace(whole)
        return whole

    def _find(self, source: Source) -> tuple[str, str]:
        """The address and file name of the source's archive."""
        finder = PackageFinder(
            self._client,  # type: ignore[arg-type]  # its own client is wider than its protocol
            index_urls=self._indexes,
            ignore_compatibility=True,
        )
        requirement = f"{source.package}=={source.version}"
        try:
            for package in finder.find_matches(requirement):
                if package.link.is_wheel == (source.archive == "wheel"):
                    return package.link.url_without_fragment, package.link.filename
        except (httpx2.InvalidURL, ValueError) as error:
            raise PipelineError(
                f"the address of the package index makes no sense ({error}); mend the setting of "
                "pip or uv that names it"
            ) from error
        except httpx2.HTTPError as error:
            raise PipelineError(
                f"can't ask the package index for {requirement}: {_reason(error)}; check the "
                "network and the index that pip or uv is told to use"
            ) from error
        raise PipelineError(
            f"the package index has no {source.archive} of {requirement}; check the index that pip "
            "or uv is told to use"
        )

    def _fetch(self, url: str, partial: Path, name: str) -> None:
        """Appends to `partial` what is missing of the file."""
        have = partial.stat().st_size if partial.exists() else 0
        # As it is stored: lengths and ranges count the bytes of the file, not of a compressed form.
        headers = {"accept-encoding": "identity"}
        if have:
            headers["range"] = f"bytes={have}-"
        with self._client.stream("GET", url, headers=headers) as response:
            if response.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                partial.unlink()  # longer than the file is: of no use
                raise httpx2.ReadError("the partial file did not fit; starting again")
            response.raise_for_status()
            if response.status_code != HTTPStatus.PARTIAL_CONTENT:
                have = 0
            length = response.headers.get("content-length", "")
            total = have + int(length) if length.isdigit() else None
            with (
                partial.open("ab" if have else "wb") as output,
                progress_bar(name, total, "B", done=have) as bar,
            ):
                for chunk in response.iter_bytes(1 << 18):
                    output.write(chunk)
                    have += len(chunk)
                    bar.update(len(chunk))
        if total is not None and have < total:
            raise httpx2.ReadError(f"{have} of {total} bytes came")


def _is_final(error: httpx2.HTTPError) -> bool:
    """Whether another try can't help: the server understood, and refused."""
    if not isinstance(error, httpx2.HTTPStatusError):
        return False
    status = error.response.status_code
    return status < HTTPStatus.INTERNAL_SERVER_ERROR and status not in (
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.TOO_MANY_REQUESTS,
    )


def _reason(error: httpx2.HTTPError) -> str:
    if isinstance(error, httpx2.HTTPStatusError):
        return f"the server answered {error.response.status_code}"
    return str(error) or type(error).__name__
