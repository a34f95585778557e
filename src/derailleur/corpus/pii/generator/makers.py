"""Random names, hosts, addresses, tokens and key blocks: what letters of an alphabet alone do not make."""

import base64
import ipaddress
import json
import string
from collections.abc import Callable, Mapping
from importlib.resources import files
from random import Random
from typing import Any

import yaml

ALPHABETS = {
    "alnum": string.ascii_letters + string.digits,
    "base32": string.ascii_uppercase + "234567",
    "base64": string.ascii_letters + string.digits + "+/",
    "base64url": string.ascii_letters + string.digits + "-_",
    "digit": string.digits,
    "hex": "0123456789abcdef",
    "HEX": "0123456789ABCDEF",
    "lower": string.ascii_lowercase,
    "loweralnum": string.ascii_lowercase + string.digits,
    "upper": string.ascii_uppercase,
    "upperalnum": string.ascii_uppercase + string.digits,
}

_LISTS = yaml.safe_load((files(__package__) / "words.yaml").read_text(encoding="utf-8"))


def first_name(random: Random) -> str:
    return random.choice(_LISTS["first_names"])


def last_name(random: Random) -> str:
    return random.choice(_LISTS["last_names"])


def word(random: Random) -> str:
    return random.choice(_LISTS["words"])


def domain(random: Random) -> str:
    """A made-up company's."""
    company = random.choice(_LISTS["companies"]) + random.choice(_LISTS["company_endings"])
    return f"{company}.{random.choice(_LISTS['top_level_domains'])}"


def unicode_domain(random: Random) -> str:
    return random.choice(_LISTS["unicode_domains"]).format(random.choice(_LISTS["companies"]))


def punycode_domain(random: Random) -> str:
    return f"{random.choice(_LISTS['companies'])}.{unicode_domain(random).encode('idna').decode()}"


def public_ipv4(random: Random) -> str:
    """A unicast address that the registries give out, not one of four single digits."""
    while True:
        address = ipaddress.IPv4Address(random.getrandbits(32))
        if address.is_global and not address.is_multicast and len(str(address)) > 8:
            return str(address)


def ipv4_network(random: Random) -> str:
    length = random.choice((8, 12, 16, 20, 22, 24, 26, 28, 32))
    return str(ipaddress.ip_interface(f"{public_ipv4(random)}/{length}").network)


def _public_ipv6(random: Random) -> ipaddress.IPv6Address:
    while True:
        block = random.choice((0x2001, 0x2400, 0x2600, 0x2606, 0x2607, 0x2A00, 0x2A01, 0x2A02, 0x2C0F))
        zeros = random.choice((0, 0, 16, 32, 64))  # a stretch of zeros after the first 48 bits
        low = random.getrandbits(80 - zeros)
        address = ipaddress.IPv6Address((block << 112) | (random.getrandbits(32) << 80) | low)
        if address.is_global:
            return address


def ipv6_short(random: Random) -> str:
    return _public_ipv6(random).compressed


def ipv6_long(random: Random) -> str:
    address = _public_ipv6(random).exploded
    return address.upper() if random.random() < 0.3 else address


def ipv6_network(random: Random) -> str:
    length = random.choice((32, 48, 56, 64))
    return str(ipaddress.ip_interface(f"{_public_ipv6(random)}/{length}").network)


def docs_ipv6(random: Random) -> str:
    """From the block that RFC 3849 keeps for documentation."""
    return str(ipaddress.IPv6Address((0x20010DB8 << 96) | random.getrandbits(48)))


def uuid(random: Random) -> str:
    digits = f"{random.getrandbits(128):032x}"
    return "-".join((digits[:8], digits[8:12], "4" + digits[13:16], "a" + digits[17:20], digits[20:]))


def date(random: Random) -> str:
    separator = random.choice("-./")
    month, day = random.randint(1, 12), random.randint(1, 28)
    return f"{random.randint(1998, 2026)}{separator}{month:02}{separator}{day:02}"


def password(random: Random) -> str:
    """What a person or a password manager thinks of, without quotes, spaces or letters to escape."""
    style = random.randrange(4)
    if style == 0:
        return f"{word(random).capitalize()}{random.randint(10, 9999)}{random.choice('!.?%')}"
    if style == 1:
        letters = ALPHABETS["alnum"] + "!%*-_.+?"
        return random.choice(ALPHABETS["lower"]) + "".join(random.choices(letters, k=random.randint(9, 19)))
    if style == 2:
        return f"{word(random)}-{word(random)}-{random.randint(10, 99)}-{word(random)}"
    leet = str.maketrans("aeios", "43105")
    return f"{word(random).translate(leet).capitalize()}_{random.randint(100, 999)}"


def url_password(random: Random) -> str:
    """One that needs no escape in a URL."""
    return password(random).translate(str.maketrans("!%*+?", "-_.~-"))


def jwt(random: Random) -> str:
    """RFC 7519: three parts of base64url, the first two JSON objects."""
    header = {"alg": random.choice(("HS256", "RS256", "ES256")), "typ": "JWT"}
    claims = {
        "sub": str(random.getrandbits(33)),
        "name": first_name(random),
        "iat": random.randint(10**9, 2 * 10**9),
    }
    signature = random.randbytes(32)
    parts = (_compact(header), _compact(claims), signature)
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)


def discord_id(random: Random) -> str:
    """A bot's number, which its token begins with."""
    return base64.b64encode(str(random.randint(10**17, 10**18 - 1)).encode()).decode()


def _compact(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _armour(random: Random, label: str, end: str, num_bytes: int) -> str:
    """RFC 7468: base64 of DER, which begins with a sequence, in lines of 64."""
    der = b"\x30\x82" + (num_bytes - 4).to_bytes(2, "big") + random.randbytes(num_bytes - 4)
    letters = base64.b64encode(der).decode()
    lines = [letters[place : place + 64] for place in range(0, len(letters), 64)]
    return end.join((f"-----BEGIN {label}-----", *lines, f"-----END {label}-----"))


def private_key_block(random: Random) -> str:
    label = random.choice(("RSA PRIVATE KEY", "PRIVATE KEY", "EC PRIVATE KEY", "OPENSSH PRIVATE KEY"))
    return _armour(random, label, "\n", random.choice((121, 610, 1190)))


def private_key_line(random: Random) -> str:
    """The block as the inside of one string literal."""
    return _armour(
        random, random.choice(("PRIVATE KEY", "RSA PRIVATE KEY")), r"\n", random.choice((610, 1190))
    )


def public_key_block(random: Random) -> str:
    return _armour(random, random.choice(("PUBLIC KEY", "CERTIFICATE")), "\n", random.choice((294, 800)))


def base64_image(random: Random) -> str:
    return base64.b64encode(
        b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + random.randbytes(random.randint(60, 400))
    ).decode()


def source_map(random: Random) -> str:
    return base64.b64encode(
        _compact({"version": 3, "sources": [word(random) + ".js"], "mappings": ""})
    ).decode()


MAKERS: Mapping[str, Callable[[Random], str]] = {
    maker.__name__: maker
    for maker in (
        *(first_name, last_name, word, domain, unicode_domain, punycode_domain, uuid, date),
        *(public_ipv4, ipv4_network, ipv6_short, ipv6_long, ipv6_network, docs_ipv6),
        *(password, url_password, jwt, discord_id, private_key_block, private_key_line, public_key_block),
        *(base64_image, source_map),
    )
}
