"""Gives trainings the files of a source: from the cache, else downloaded and checked."""

from pathlib import Path

from mesh_pipelines.archives import BrokenArchive, extract, sha256_of
from mesh_pipelines.cache import cache_path, one_at_a_time
from mesh_pipelines.download import Downloader
from mesh_pipelines.errors import from_os_error
from mesh_pipelines.sources import Source


def fetch(
    source: Source, cache: Path | None = None, downloader: Downloader | None = None
) -> dict[str, Path]:
    """Returns the paths of the source's files by name, each with the content the manifest declares.

    Args:
        source: what to fetch.
        cache: folder that keeps the files; `cache_path()` by default.
        downloader: fetches what the cache lacks; one for the user's index by default.

    Raises:
        PipelineError: the download fails, a file is not the expected one, or the disk is full.
    """
    cache = cache or cache_path()
    folder = cache / "sources" / source.name / source.version
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with one_at_a_time(folder):
            paths = {name: folder / name for name in source.files}
            if missing := [
                name for name, path in paths.items() if not _is_good(source, name, path)
            ]:
                archive = _download(source, folder, downloader)
                _extract_all(source, archive, {name: paths[name] for name in missing})
            return paths
    except OSError as error:
        raise from_os_error(error, "set MESH_CACHE_PATH to another folder") from error


def _download(source: Source, folder: Path, downloader: Downloader | None) -> Path:
    if downloader is not None:
        return downloader.download(source, folder)
    with Downloader() as own:
        return own.download(source, folder)


def _is_good(source: Source, name: str, path: Path) -> bool:
    return path.is_file() and sha256_of(path) == source.files[name].sha256


def _extract_all(source: Source, archive: Path, targets: dict[str, Path]) -> None:
    try:
        for name, target in targets.items():
            extract(archive, source.files[name], target)
    except BrokenArchive:
        archive.unlink()  # the next run must not meet it again
        raise
    archive.unlink()
