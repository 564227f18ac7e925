"""Personal values as whoever holds a link may see them: enough to recognize one's own, too little to learn another's."""

_HIDDEN = "•••"


def mask_name(name: str) -> str:
    """The first letter of a name; how long it is stays hidden."""
    return f"{name[0]}{_HIDDEN}" if name else ""


def mask_address(address: str) -> str:
    """The first letters of both sides of an address, and its last label."""
    local, _, host = address.rpartition("@")
    return f"{local[:1]}{_HIDDEN}@{host[:1]}{_HIDDEN}.{host.rpartition('.')[2]}"


def mask_telephone(number: str) -> str:
    """The last two digits of a telephone number."""
    digits = "".join(character for character in number if character.isdecimal())
    return f"{_HIDDEN}{digits[-2:]}"
