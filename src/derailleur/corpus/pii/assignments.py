"""Keys and passwords without a format of their own, told by the name that they are assigned to.

The compiled scanner says where a value is assigned to a name that holds `key`, `password` and the like;
here the whole name and the value are judged.
"""

import re
from collections.abc import Iterator, Sequence

from derailleur.corpus.pii.look_alikes import is_hash_name, is_in_blob, is_password, is_random, is_uuid
from derailleur.corpus.pii.spans import Detector, Hit, Shape, Span

_MAX_NAME = 60  # characters
_NAME_START = re.compile(r"[\w.$-]*\Z")
_NAME_REST = re.compile(r"[\w-]{0,24}")
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")

# the last words of names that hold a secret, and words that say what of a secret is held instead
_SECRET_WORDS = frozenset(
    (
        *("key", "apikey", "secretkey", "accesskey", "privatekey", "authkey", "appkey", "masterkey", "keys"),
        *("secret", "secrets", "clientsecret", "appsecret", "token", "tokens", "authtoken", "accesstoken"),
        *("auth", "authorization", "authentication", "credential", "credentials", "bearer", "pat", "sig"),
        *("signature", "apitoken", "subscriptionkey", "sessiontoken", "passkey", "licensekey", "idtoken"),
        *("b64", "base64", "hex", "value", "default", "prod", "production", "dev", "staging", "live"),
    )
)
_PASSWORD_WORDS = frozenset(
    (
        *("password", "passwords", "passwd", "pwd", "passphrase", "passcode", "pass", "pw", "userpass"),
        *("dbpass", "dbpassword", "dbpasswd", "userpassword", "rootpassword", "adminpassword", "userpwd"),
        *("pgpassword", "passw", "value", "default", "prod", "production", "dev", "staging", "live"),
    )
)
_NOT_SECRET = frozenset(
    (
        *("public", "pub", "pubkey", "publickey", "publishable", "foreign", "primary", "sort", "partition"),
        *("cache", "translation", "message", "msg", "label", "placeholder", "hint", "help", "error", "text"),
        *(
            "title",
            "description",
            "url",
            "uri",
            "path",
            "file",
            "filename",
            "dir",
            "field",
            "column",
            "regex",
        ),
        *("pattern", "hash", "hashed", "hasher", "encrypted", "encoder", "salt", "fingerprint", "digest"),
        *("checksum", "integrity", "recaptcha", "sitekey", "keyboard", "license", "copyright", "signature"),
        *(
            "i18n",
            "lang",
            "locale",
            "format",
            "type",
            "mode",
            "policy",
            "strength",
            "validator",
            "idempotency",
        ),
        *("websocket", "object", "blob", "image", "surrogate", "spec", "design", "sha", "md5", "anon"),
    )
)
_KEY_IN_URL = re.compile(r"[0-9a-f]{24,64}(?=[/?])")  # ;key=0123.../path
_STRONG_UUID = re.compile(r"heroku|snyk|codecov|postmark|api_?key|api_?token|secret|registr", re.IGNORECASE)

# a line that is nothing but a setting; only there is a bare word with digits more than a variable
_SETTING_START = re.compile(r"(?:\s*(?:export|set|ENV|ARG|-D)?\s*[\w.-]*|.*[;?&\"'])\Z")
_ATTRIBUTE = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+")
_TYPE = re.compile(
    r"\w*(?:int|float|string|str|char|bool|bytes?|varchar|utf|sha|md|base|aes)_?[0-9]+\w*", re.IGNORECASE
)


def _find_keys(text: str, hits: Sequence[Hit]) -> Iterator[Span]:
    for hit in hits:
        if not _is_secret_name(name := _name(text, hit), _SECRET_WORDS):
            continue
        value = text[hit.start : hit.end]
        if head := _KEY_IN_URL.match(value):
            value = head[0]
        if is_random(value) or (is_uuid(value) and _STRONG_UUID.search(name)):
            before = text[max(0, hit.start - _MAX_NAME) : hit.start].rpartition("\n")[2]
            if not is_hash_name(before) and not is_in_blob(text, hit.start, hit.end):
                yield Span(hit.start, hit.start + len(value), "KEY")


def _find_passwords(text: str, hits: Sequence[Hit]) -> Iterator[Span]:
    for hit in hits:
        value = text[hit.start : hit.end]
        is_name = _is_secret_name(value, _PASSWORD_WORDS)  # password="user_password"
        if (
            not is_name
            and _is_secret_name(_name(text, hit), _PASSWORD_WORDS)
            and _is_password_here(text, hit, value)
        ):
            yield Span(hit.start, hit.end, "PASSWORD")


def _is_password_here(text: str, hit: Hit, value: str) -> bool:
    bare = text[hit.start - 1] not in "\"'`>"
    if not bare or not re.fullmatch(r"[A-Za-z_][\w.-]*", value):
        return is_password(value, bare=bare)
    if _TYPE.fullmatch(value) or _ATTRIBUTE.fullmatch(value):
        return False
    is_option = _name(text, hit).startswith("--")
    return (is_option or _is_setting(text, hit)) and is_password(value, bare=False)


def _is_setting(text: str, hit: Hit) -> bool:
    line_start = text.rfind("\n", max(0, hit.position - 200), hit.position) + 1
    start = text[max(line_start, hit.position - 200) : hit.position]
    ends_line = hit.end == len(text) or text[hit.end] in "\r\n;&\"'`<"
    return ends_line and bool(_SETTING_START.match(start))


def _name(text: str, hit: Hit) -> str:
    start = _NAME_START.search(text[max(0, hit.position - _MAX_NAME) : hit.position])
    rest = _NAME_REST.match(text, hit.position)
    assert start and rest
    return start[0] + rest[0]


def _is_secret_name(name: str, secret_words: frozenset[str]) -> bool:
    words = [word.lower() for word in _WORD.findall(name)]
    while words and words[-1].isdigit():
        words.pop()
    return bool(words) and words[-1] in secret_words and not _NOT_SECRET.intersection(words)


KEY_VALUES = Detector("keys by their names", (Shape.KEY_VALUE,), _find_keys)
PASSWORD_VALUES = Detector("passwords by their names", (Shape.PASSWORD_VALUE,), _find_passwords)
