"""What the key store knows of keys and tenants, and of what was done to them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Self

from meshkit import scopes
from meshkit.allowance import NO_ALLOWANCE, Allowance
from meshkit.errors import Internal, InvalidArgument, MeshError
from meshkit.rates import Rate

_MAX_NAME_LENGTH: Final = 128
_MAX_CONCURRENT: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Grant:
    """What a key is made for.

    Attributes:
        name: what the key is for, in its owner's words.
        tenant: whom the calls made with it belong to.
        scopes: what it may do (`meshkit.scopes`).
        rate: most requests on each route; None for the gateway's default.
        max_concurrent: most requests in flight; None for no limit of its own.
        expires_at: from when on it is refused; None for never.
        allowance: most tokens and money.
    """

    name: str
    tenant: str
    scopes: frozenset[str]
    rate: Rate | None = None
    max_concurrent: int | None = None
    expires_at: datetime | None = None
    allowance: Allowance = NO_ALLOWANCE

    def check(self) -> None:
        """Checks that it makes sense.

        Raises:
            InvalidArgument: names the field at fault.
        """
        check_name("name", self.name)
        check_name("tenant", self.tenant)
        scopes.check(self.scopes)
        if self.max_concurrent is not None and not 0 < self.max_concurrent <= _MAX_CONCURRENT:
            raise InvalidArgument.of_field(
                "max_concurrent", f"must be 1 to {_MAX_CONCURRENT}, not {self.max_concurrent}"
            )
        if self.expires_at is not None and self.expires_at <= datetime.now(UTC):
            raise InvalidArgument.of_field(
                "expires_at", f"is {self.expires_at:%F %T %Z}, which is over; set a later time"
            )


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """What the store knows of a key.

    Attributes:
        id: the key's public id.
        hash: its keyed hash.
        hashing_key: id of the hashing key that made the hash.
        grant: what it was made for.
        created_at: when it was made.
        revoked_at: since when it is refused; None while it is not revoked.
        replaces: id of the key in whose place it was made; None for one of its own.
    """

    id: str
    hash: bytes = field(repr=False)
    hashing_key: str
    grant: Grant
    created_at: datetime
    revoked_at: datetime | None = None
    replaces: str | None = None

    def to_fields(self) -> dict[str, str]:
        """The record as a Redis hash."""
        grant = self.grant
        fields = {
            "hash": self.hash.hex(),
            "hashing_key": self.hashing_key,
            "name": grant.name,
            "tenant": grant.tenant,
            "scopes": " ".join(sorted(grant.scopes)),
            "created_at": self.created_at.isoformat(),
            "rate": str(grant.rate) if grant.rate else None,
            "max_concurrent": str(grant.max_concurrent) if grant.max_concurrent else None,
            "expires_at": grant.expires_at.isoformat() if grant.expires_at else None,
            "revoked_at": self.revoked_at.isoformat() if self.revoked_at else None,
            "replaces": self.replaces,
            "allowance": grant.allowance.to_text() if grant.allowance else None,
        }
        return {name: value for name, value in fields.items() if value is not None}

    @classmethod
    def from_fields(cls, key_id: str, fields: Mapping[str, str]) -> Self:
        """The inverse of `to_fields`.

        Raises:
            Internal: a field is missing or can't be read.
        """
        try:
            rate, most = fields.get("rate"), fields.get("max_concurrent")
            allowance = fields.get("allowance")
            return cls(
                id=key_id,
                hash=bytes.fromhex(fields["hash"]),
                hashing_key=fields["hashing_key"],
                grant=Grant(
                    name=fields["name"],
                    tenant=fields["tenant"],
                    scopes=frozenset(fields["scopes"].split()),
                    rate=Rate.parse(rate, "rate") if rate else None,
                    max_concurrent=int(most) if most else None,
                    expires_at=_moment(fields.get("expires_at")),
                    allowance=Allowance.from_text(allowance) if allowance else NO_ALLOWANCE,
                ),
                created_at=datetime.fromisoformat(fields["created_at"]),
                revoked_at=_moment(fields.get("revoked_at")),
                replaces=fields.get("replaces"),
            )
        except (KeyError, ValueError, MeshError) as error:
            raise Internal(
                f"the record of key {key_id} in the key store is damaged; make a new key",
                reason="KEY_RECORD_DAMAGED",
            ) from error


@dataclass(frozen=True, slots=True)
class Tenant:
    """What the store knows of a tenant.

    Attributes:
        name: as keys name it.
        rate: most requests of all its keys and routes together; None for the gateway's default.
        allowance: most tokens and money of all its keys together.
    """

    name: str
    rate: Rate | None
    allowance: Allowance = NO_ALLOWANCE


@dataclass(frozen=True, slots=True)
class Act:
    """Something that was done to a key or a tenant.

    Attributes:
        when: at which time.
        actor: who did it, and where.
        action: what was done, such as `revoke`.
        subject: id of the key, or name of the tenant.
        details: with which values.
    """

    when: datetime
    actor: str
    action: str
    subject: str
    details: Mapping[str, Any]


def check_name(field: str, value: str) -> None:
    """Checks a name that people give.

    Raises:
        InvalidArgument: it is empty, too long, or holds what can't be printed.
    """
    if not (value.isprintable() and 0 < len(value.strip()) <= _MAX_NAME_LENGTH):
        raise InvalidArgument.of_field(
            field, f"must be 1 to {_MAX_NAME_LENGTH} printable characters, not {value!r}"
        )


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
