"""Public IPv4 and IPv6 addresses, with a /prefix if there is one.

Addresses that name nobody are left alone: private, loopback, unspecified, link-local, documentation,
multicast and reserved ranges, and well-known DNS servers. So are version numbers of four parts.
"""

import ipaddress
import re
from collections.abc import Iterator, Sequence

from derailleur.corpus.pii.spans import Detector, Hit, Shape, Span

_BOUNDARY = r"(?:(?<![\w.])|(?<=\\[abfnrtv]))"
_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_IPV4 = re.compile(
    rf"{_BOUNDARY}({_OCTET}(?:\.{_OCTET}){{3}})(?:/(?:3[0-2]|[12]?[0-9])(?![\w./]))?(?!\w|\.[0-9])"
)
# global unicast begins with 2 or 3 and four digits; shorter first groups are slices, times and C++ scopes
_IPV6 = re.compile(
    r"(?:(?<![\w:.])|(?<=\\[abfnrtv]))([23][0-9a-fA-F]{3}(?:(?:::?[0-9a-fA-F]{1,4}){1,7}(?:::)?|::))"
    r"(?:/(?:12[0-8]|1[01][0-9]|[1-9]?[0-9])(?![\w./]))?(?!\w|:\w)"
)

# IANA's special-purpose registry (RFC 6890), written out: `ipaddress` changes its own between Pythons
_SPECIAL_IPV4 = tuple(
    (int(ipaddress.IPv4Network(network).network_address), int(ipaddress.IPv4Network(network).netmask))
    for network in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
        *("192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15"),
        *("198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3"),
    )
)
_SPECIAL_IPV6 = tuple(ipaddress.IPv6Network(network) for network in ("2001:db8::/32", "3fff::/20"))

_DNS_SERVERS = frozenset(
    (
        *("1.0.0.1", "1.1.1.1", "8.8.4.4", "8.8.8.8", "8.20.247.20", "8.26.56.26", "9.9.9.9"),
        *("76.76.19.19", "76.223.122.150", "94.140.14.14", "94.140.15.15", "149.112.112.112"),
        *("208.67.220.220", "208.67.222.222", "2001:4860:4860::8844", "2001:4860:4860::8888"),
        *("2606:4700:4700::1001", "2606:4700:4700::1111", "2620:119:35::35", "2620:119:53::53"),
        *("2620:fe::9", "2620:fe::fe"),
    )
)

_MAX_BEFORE = 13  # characters of an address before the place of its trigger
_CONTEXT = 48  # characters before a quad in which a word such as "version" says what it is
_VERSION_BEFORE = re.compile(
    r"(?:(?:version|release|revision|firmware|build|section|identifier|(?<![a-z])(?:ver(?![a-z])|oid))[a-z_]{0,12}"
    r"[\"'`)\]]{0,2}\s{0,4}(?:[:=(,>]{1,2}|is|to|from)?\s{0,4}(?:(?:default|value)=)?[\"'`(\[]{0,2}"
    r"|(?:upgrade|update|patch|bump|\bv8)[^\"'\n]{0,40}\s(?:to|from)\s|supported for\s"
    r"|[\w\]]\s?[=~!<>]=\s?|[\^~]|[a-z][/-])\Z",
    re.IGNORECASE,
)
_OBJECT_IDENTIFIERS = ("1.3.6.", "2.5.4.", "2.5.29.")  # of the Internet and of X.509
_ADDRESS_BEFORE = re.compile(
    r"(?:://|@|(?<![a-z])ip|address|addr|host|server|dns|gateway|peer)[\w\"')\]]{0,12}\W{0,6}\Z",
    re.IGNORECASE,
)
_VERSION_AFTER = re.compile(
    r"[-+.][A-Za-z]|\.dev|rc[0-9]|\s(?:get )?[A-Z%@]\w*[.(\[@]"
)  # 19.1.2.14 Object.keys


def _find_ipv4(text: str, hits: Sequence[Hit]) -> Iterator[Span]:
    for hit in hits:
        if match := _match_around(_IPV4, text, hit.position, "0123456789."):
            address = match[1]
            if not (address in _DNS_SERVERS or _is_special_ipv4(address) or _is_version(text, match)):
                yield Span(*match.span(), "IP_ADDRESS")


def _find_ipv6(text: str, hits: Sequence[Hit]) -> Iterator[Span]:
    for hit in hits:
        if match := _match_around(_IPV6, text, hit.position, "0123456789abcdefABCDEF:"):
            try:
                address = ipaddress.IPv6Address(match[1])
            except ValueError:
                continue
            special = any(address in network for network in _SPECIAL_IPV6)
            is_number = match[0].endswith("::") and match[0].count(":") == 2  # issues/3974::
            if not is_number and not special and address.compressed not in _DNS_SERVERS:
                yield Span(*match.span(), "IP_ADDRESS")


def _match_around(pattern: re.Pattern[str], text: str, position: int, letters: str) -> re.Match[str] | None:
    """The match that goes past `position` and starts where the run of `letters` before it does."""
    start = position
    while start > max(0, position - _MAX_BEFORE) and text[start - 1] in letters:
        start -= 1
    match = pattern.match(text, start) or pattern.match(text, start + 1)  # the first may end an escape
    return match if match and match.end() > position else None


def _is_special_ipv4(address: str) -> bool:
    number = int.from_bytes(map(int, address.split(".")), "big")
    return any(number & mask == network for network, mask in _SPECIAL_IPV4)


def _is_version(text: str, match: re.Match[str]) -> bool:
    before = text[max(0, match.start() - _CONTEXT) : match.start()].rpartition("\n")[2]
    return bool(
        len(match[1]) == 7  # four single digits
        or (len(match[0]) == 8 and not _ADDRESS_BEFORE.search(before))  # numbers of enzymes, of sections
        or match[1].startswith(_OBJECT_IDENTIFIERS)
        or _VERSION_BEFORE.search(before)
        or _VERSION_AFTER.match(text, match.end())
    )


IPV4 = Detector("IPv4 addresses", (Shape.DOTTED_QUAD,), _find_ipv4)
IPV6 = Detector("IPv6 addresses", (Shape.HEX_COLONS,), _find_ipv6)
