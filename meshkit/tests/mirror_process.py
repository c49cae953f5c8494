"""A process that works on a mirror: `mirror_process.py URL HOME push|pull|fetch|promote ...`.

With `push VERSION N` and `pull VERSION N` it says `there` and stops at step N of its way, to be
killed; with `fetch ALIAS N` too, where it brings what an alias names. With `promote VERSION REASON`
it waits for a line, makes the first move of the alias, and says whether it won.
"""

import sys
from pathlib import Path

from meshkit import aliases, fetch
from meshkit.mirror import Mirror, Progress

MODEL = "classifier"


def stop_at(step: int) -> Progress:
    seen = 0

    def progress(_name: str, _done: int, _size: int) -> None:
        nonlocal seen
        seen += 1
        if seen == step:
            say("there")
            sys.stdin.read()

    return progress


def say(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


def main() -> None:
    url, home, what, version, argument = sys.argv[1:]
    mirror = Mirror(url)
    if what == "promote":
        alias = aliases.following(None, MODEL, version, reason=argument)
        mirror.numbers(MODEL, "production")  # connected before it counts
        say("ready")
        sys.stdin.readline()
        try:
            mirror.create_alias(alias)
            say("won")
        except aliases.AliasMoved:
            say("told")
    elif what == "fetch":
        settings = fetch.Settings(
            models_url=url, models_path=Path(home), model=MODEL, alias=version
        )
        fetch.bring(settings, mirror, stop_at(int(argument)))
        say("done")
    else:
        act = mirror.push if what == "push" else mirror.pull
        act(Path(home), MODEL, version, progress=stop_at(int(argument)))
        say("done")


if __name__ == "__main__":
    main()
