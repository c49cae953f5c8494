"""Fetches one source in a process of its own.

Its argument is JSON: the index, the cache, the source, and the largest file in bytes that the
system lets it write (null for no limit). It writes "ready" before it starts, then the message of
a PipelineError, or nothing.
"""

import json
import resource
import sys
from pathlib import Path

from mesh_pipelines.download import Downloader
from mesh_pipelines.errors import PipelineError
from mesh_pipelines.fetch import fetch
from mesh_pipelines.sources import Source, SourceFile


def main() -> int:
    asked = json.loads(sys.argv[1])
    files = {name: SourceFile(**file) for name, file in asked["source"].pop("files").items()}
    source = Source(files=files, **asked["source"])
    if (limit := asked["limit"]) is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    try:
        fetch(source, Path(asked["cache"]), Downloader((asked["index"],), pause=lambda _: None))
    except PipelineError as error:
        sys.stdout.write(f"{error}\n")
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
