"""The key store and the hashing keys of a mesh, for the commands that need them."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

import typer

from mesh_cli.author import author
from mesh_cli.failures import Failure
from mesh_cli.settings import Site
from meshkit.errors import Unavailable
from meshkit.hashing_keys import HashingKeys
from meshkit.key_store import KeyStore

T = TypeVar("T")
TokenRates = Annotated[
    list[str] | None,
    typer.Option(
        help="Most tokens, such as 60000/m, 1000000/d:50000 (50000 at once), or llm=20000/m of one "
        "model; several times for several."
    ),
]
Budgets = Annotated[
    list[str] | None,
    typer.Option(
        help="Most money, such as 5/day, or 100/month:80 (a warning from 80 on); once a period."
    ),
]


def hashing_keys(site: Site) -> HashingKeys:
    """The hashing keys of a mesh; the first use makes one.

    Raises:
        StartError: their file can't be read or written.
    """
    return HashingKeys.load_or_create(site.hashing_key)


def with_store(site: Site, use: Callable[[KeyStore], Awaitable[T]]) -> T:
    """Does something with the key store of a mesh.

    Raises:
        Failure: its Redis does not answer.
    """

    async def run() -> T:
        url = site.process_environment()["MESH_REDIS_URL"]
        async with KeyStore(url, actor=author()) as store:
            return await use(store)

    try:
        return asyncio.run(run())
    except Unavailable:
        raise Failure(
            "the Redis that holds the keys does not answer: make up starts one, or MESH_REDIS_URL "
            "names another"
        ) from None
