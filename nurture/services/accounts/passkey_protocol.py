"""The messages between the desk, a browser and a passkey. The only module that knows the library of WebAuthn, which takes a
second to load: it is loaded when a passkey is used, not when a process starts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nurture.domain.passkey import Site
from nurture.errors import NurtureError

if TYPE_CHECKING:
    from webauthn.helpers.structs import AuthenticationCredential, PublicKeyCredentialDescriptor

TIMEOUT = 300_000
"""Milliseconds that a browser gives its user to choose a passkey and unlock it."""
_DAMAGED = (ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError)
"""What reading a damaged message may raise besides the library's own errors."""


class NotProven(NurtureError):
    """What a browser sent does not prove what it should."""


@dataclass(frozen=True)
class NewCredential:
    """A passkey that a device has just made."""

    id: bytes
    public_key: bytes
    sign_count: int
    backed_up: bool


@dataclass(frozen=True)
class Assertion:
    """What a browser sent to prove that a passkey is there; nothing of it is checked yet."""

    credential: bytes
    user_handle: bytes | None
    message: "AuthenticationCredential"


@dataclass(frozen=True)
class Proven:
    """What a checked assertion says of its passkey."""

    sign_count: int
    backed_up: bool


def creation_options(
    site: Site, challenge: bytes, service: str, user: bytes, name: str, called: str, known: Sequence[bytes]
) -> str:
    """What a browser is to make a passkey from, as JSON. `service`: whose it is; `user`: the handle of the account; `name` and
    `called`: by which its owner tells it from others; `known`: credentials of passkeys that the account has. Whoever holds the
    device unlocks it each time, and it offers the passkey by itself: so each one can be used alone.
    """
    from webauthn import generate_registration_options, options_to_json
    from webauthn.helpers.cose import COSEAlgorithmIdentifier as Algorithm
    from webauthn.helpers.structs import (
        AuthenticatorSelectionCriteria,
        ResidentKeyRequirement,
        UserVerificationRequirement,
    )

    made = generate_registration_options(
        rp_id=site.rp_id,
        rp_name=service,
        user_id=user,
        user_name=name,
        user_display_name=called,
        challenge=challenge,
        timeout=TIMEOUT,
        exclude_credentials=_descriptors(known),
        authenticator_selection=AuthenticatorSelectionCriteria(
            resident_key=ResidentKeyRequirement.REQUIRED, user_verification=UserVerificationRequirement.REQUIRED
        ),
        supported_pub_key_algs=[Algorithm.ECDSA_SHA_256, Algorithm.EDDSA, Algorithm.RSASSA_PKCS1_v1_5_SHA_256],
    )
    return options_to_json(made)


def request_options(site: Site, challenge: bytes, known: Sequence[bytes]) -> str:
    """What a browser is to sign with a passkey, as JSON. `known`: the credentials that may; none: whichever is offered."""
    from webauthn import generate_authentication_options, options_to_json
    from webauthn.helpers.structs import UserVerificationRequirement

    made = generate_authentication_options(
        rp_id=site.rp_id,
        challenge=challenge,
        timeout=TIMEOUT,
        allow_credentials=_descriptors(known),
        user_verification=UserVerificationRequirement.REQUIRED,
    )
    return options_to_json(made)


def _descriptors(credentials: Sequence[bytes]) -> "list[PublicKeyCredentialDescriptor]":
    from webauthn.helpers.structs import PublicKeyCredentialDescriptor

    return [PublicKeyCredentialDescriptor(id=each) for each in credentials]


def check_new(site: Site, challenge: bytes, sent: str) -> NewCredential:
    """What a browser sent for `creation_options`. Raises NotProven."""
    from webauthn import verify_registration_response
    from webauthn.helpers.exceptions import WebAuthnException

    try:
        found = verify_registration_response(
            credential=sent,
            expected_challenge=challenge,
            expected_rp_id=site.rp_id,
            expected_origin=site.origin,
            require_user_verification=True,
        )
    except (WebAuthnException, *_DAMAGED) as error:
        raise NotProven(f"a new passkey was refused: {type(error).__name__}") from error
    return NewCredential(found.credential_id, found.credential_public_key, found.sign_count, found.credential_backed_up)


def read_assertion(sent: str) -> Assertion | None:
    """What a browser sent for `request_options`; None if it cannot be read."""
    from webauthn.helpers import parse_authentication_credential_json
    from webauthn.helpers.exceptions import WebAuthnException

    try:
        message = parse_authentication_credential_json(sent)
    except (WebAuthnException, *_DAMAGED):
        return None
    return Assertion(message.raw_id, message.response.user_handle, message)


def check_assertion(site: Site, challenge: bytes, assertion: Assertion, public_key: bytes) -> Proven:
    """Whether an assertion signs this challenge for this site by a device that somebody has just unlocked. How often the
    passkey was used is for the caller to compare. Raises NotProven.
    """
    from webauthn import verify_authentication_response
    from webauthn.helpers.exceptions import WebAuthnException

    try:
        found = verify_authentication_response(
            credential=assertion.message,
            expected_challenge=challenge,
            expected_rp_id=site.rp_id,
            expected_origin=site.origin,
            credential_public_key=public_key,
            credential_current_sign_count=0,
            require_user_verification=True,
        )
    except (WebAuthnException, *_DAMAGED) as error:
        raise NotProven(f"a passkey was refused: {type(error).__name__}") from error
    return Proven(found.new_sign_count, found.credential_backed_up)
