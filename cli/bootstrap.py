"""Makes the `mesh` command and hands over to it: `cli/mesh up`.

Needs a Python and nothing else. It finds one that is new enough, installs uv by pip into a small
environment of its own, and the command by uv into another. What is there already is not touched, so
handing over costs a fraction of a second. With no arguments it only installs. One command it runs
itself: `compile [ROOM]...` writes the requirements files of the rooms named, or of all.

This file keeps to what an old Python can parse: it has to be able to say that it is too old.
"""

import hashlib
import os
import shutil
import subprocess
import sys

OLDEST = (3, 11)
HERE = os.path.dirname(os.path.abspath(__file__))


def main() -> int:
    """Runs what the module says; returns an exit status where it does not hand over."""
    if sys.version_info < OLDEST:
        return find_newer_python()
    sys.path.insert(0, os.path.join(HERE, "src"))
    # Here and below, since an old Python can't read these modules.
    from mesh_cli import environments, failures, requirements, rooms  # noqa: PLC0415

    command = rooms.Environment(rooms.room("cli"))
    try:
        install_uv()
        if sys.argv[1:2] == ["compile"]:
            # It makes what the command itself is installed from, so it can't be a part of it.
            requirements.compile_rooms([rooms.room(name) for name in sys.argv[2:]] or rooms.rooms())
            return 0
        environments.sync(command)
    except failures.Failure as failure:
        return refuse(str(failure))
    except OSError as error:
        return refuse(str(failures.of_os_error(error)))
    except KeyboardInterrupt:
        return refuse("interrupted: run the same command again to go on")
    if sys.argv[1:]:
        os.execv(str(command.path / "bin" / "mesh"), ["mesh", *sys.argv[1:]])
    return 0


def find_newer_python() -> int:
    """Runs this file again by the first Python on PATH that is new enough."""
    for minor in (13, 12, 11, 14):
        python = shutil.which("python3.%d" % minor)
        # A version manager puts a name on PATH for versions that it does not run, so it is tried.
        if python and works(python):
            os.execv(python, [python, *sys.argv])
    return refuse(
        "Python %d.%d or newer is needed and %s is %d.%d: install one (for example python3.12), "
        "or name it: make PYTHON=/path/to/python3.12 ..."
        % (*OLDEST, sys.executable, *sys.version_info[:2])
    )


def works(python: str) -> bool:
    """Says whether an interpreter runs and is new enough."""
    check = "import sys; sys.exit(sys.version_info < %r)" % (OLDEST,)
    with open(os.devnull, "w") as nowhere:
        return subprocess.call([python, "-c", check], stdout=nowhere, stderr=nowhere) == 0


def install_uv() -> None:
    """Installs the pinned uv by pip, into an environment of its own.

    Raises:
        Failure: this Python can't make environments, or pip failed.
    """
    from mesh_cli import progress, uv  # noqa: PLC0415

    pins = os.path.join(HERE, "requirements-tools.txt")
    stamp = uv.TOOLS / ".mesh-stamp"
    with open(pins, "rb") as file:
        wanted = hashlib.sha256(file.read() + str(uv.UV).encode()).hexdigest()
    if uv.UV.exists() and stamp.exists() and stamp.read_text() == wanted:
        return
    with progress.Step("install uv") as step:
        # pip comes in a step of its own, since venv says nothing of why that fails.
        base = [sys.executable, "-m", "venv", "--clear", "--without-pip", str(uv.TOOLS)]
        python = str(uv.TOOLS / "bin" / "python")
        pip = [python, "-m", "pip", "--no-input", "install", "--no-deps"]
        uv.run_installer(base, step)
        uv.run_installer([python, "-m", "ensurepip"], step)
        uv.run_installer([*pip, "--require-hashes", "--requirement", pins], step)
        stamp.write_text(wanted)


def refuse(message: str) -> int:
    """Says in one line why it ends."""
    sys.stderr.write("error: %s\n" % message)
    return 1


if __name__ == "__main__":
    sys.exit(main())
