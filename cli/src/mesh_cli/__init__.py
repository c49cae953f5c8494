"""The `mesh` command: installs, starts, checks and tests this repository.

`failures`, `progress`, `rooms`, `uv` and `environments` keep to the standard library, since
`cli/bootstrap.py` imports them before anything is installed.
"""
