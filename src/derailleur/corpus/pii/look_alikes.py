"""Values that stand where a secret could, and are none: placeholders, examples, hashes, ids, names, code."""

import re
from itertools import pairwise

from derailleur.corpus.pii.gibberish import entropy, surprise

# words that a person writes for a secret that is to come, or that is nobody's
_PLACEHOLDER = re.compile(
    r"example|sample|dummy|change[_-]?(?:me|this|it)|placeholder|redacted|insert|replace|(?<![a-z])your"
    r"|foo[_-]?bar|x{4}|\*{3}|\.{3}|12345|abcdef|abc123|qwerty|passw(?:or)?d|secret|asdf|lorem|0{6}|1{6}|[_-]here"
    r"|(?<![a-z0-9])(?:todo|fixme|none|null|nil|undefined|true|false|test(?:ing)?|fake|mock|default|enter|some|my"
    r"|the|no|not|new|old|bad|good|wrong|invalid|valid|correct|foo|bar|baz|xxx)(?![a-z0-9])",
    re.IGNORECASE,
)
_SPELLED_OTHERWISE = re.compile(r"passw|secret|foobar|changeme", re.IGNORECASE)  # p4ssw0rd
# for random values the short words are left to chance
_KEY_PLACEHOLDER = re.compile(
    r"example|dummy|changeme|placeholder|redacted|foobar|x{5}|\*{3}|\.{3}|123456|234567|abcdef|0{7}|1{7}"
    r"|(?<![a-z])(?:your|insert|fake|mock|test)[_-]|my[_-]?(?:secret|key|token)",
    re.IGNORECASE,
)
_TEMPLATE = re.compile(
    r"[<{\[(].*[>}\])]|\A\$\w+\Z|\$[({]|%\(|%[dirsx](?!\w)|\A%\w+%\Z|\A!\w+\Z|#\{|\{\{|__\w+__|@\w+@|\A[A-Z]+_[A-Z_]+\Z|\\[nrtux]|::"
)
# default and demonstration credentials name nobody
_COMMON_PASSWORDS = frozenset(
    (
        *("admin", "administrator", "guest", "root", "toor", "user", "postgres", "mysql", "oracle", "system"),
        *("letmein", "welcome", "login", "demo", "public", "private"),
        *("pass", "passw", "passwd", "passphrase", "pwd", "pw", "secret", "topsecret", "supersecret"),
        *("password", "mypassword", "mypass", "mysecret", "test", "tester", "testing", "testpass", "temp"),
        *("foo", "bar", "baz", "spam", "eggs", "abc", "xyz", "hello", "world", "token", "key", "username"),
        *("string", "text", "object", "number", "boolean", "integer", "int", "uint", "float", "utf", "md"),
        *("sha", "base", "basic", "digest", "bcrypt", "pbkdf", "scrypt", "argon", "hmac", "aes", "rsa"),
        *("field", "value", "input", "label", "hidden", "required", "optional", "plain", "p", "s", "a", "x"),
        *("pa", "passwort", "kennwort", "contrasena", "motdepasse", "testtest", "anonymous", "airflow"),
    )
)
_LEET = str.maketrans("0134578@$!", "oleastbasi")

_NUMBER = re.compile(r"0x[0-9a-fA-F]+")
_UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE)
_DATE_OR_VERSION = re.compile(
    r"v?[0-9]+(?:[.:/_-][0-9]+)+[A-Za-z]?[0-9]*|[0-9]{4}-[0-9]{2}-[0-9]{2}.*|[0-9.,:/_-]+"
)
_HEX = re.compile(r"(?:0x)?[0-9a-fA-F]+")
_DIGESTS = frozenset(
    (
        "d41d8cd98f00b204e9800998ecf8427e",  # of nothing: MD5, SHA-1, SHA-256
        "da39a3ee5e6b4b0d3255bfef95601890afd80709",
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    )
)
_PASSWORD_HASH = re.compile(  # of MySQL, crypt(3), Django
    r"\*[0-9A-F]{40}|\$[0-9a-z]{1,7}\$.+|(?:md5|sha\d*|pbkdf2|bcrypt|argon2|scrypt)\w*\$.+"
)
_HASH_NAME = re.compile(
    r"sha[-_]?[0-9]|(?<![a-z])sha(?![a-z])|md5|hash|integrity|checksum|digest|commit|revision|fingerprint|etag",
    re.IGNORECASE,
)
_ENCODED = re.compile(  # public keys, certificates, images, fonts, archives, PEM and source maps as base64
    r"AAAA[BCE]3|MI[GIM][A-Za-z]|iVBORw0|R0lGOD|/9j/|d09G|T1RUT|AAEAAAA|UEsDB|H4sI|JVBERi|PHN2Zy|PD94bW|LS0tLS1"
    r"|eyJ2ZXJz|pk[._]|ssh-|data:|urn:|sha(?:1|256|384|512)[-:]|https?:"
)
_INCHI_KEY = re.compile(r"[A-Z]{14}-[A-Z]{10}-[A-Z]")  # names a chemical compound
_PATH = re.compile(r"\.{0,2}/?(?:[\w.@-]+/)+[\w.@-]*|[\w-]+(?:\.[A-Za-z_][\w-]*)+|[\w.+-]+/[\w.+;=-]+")
_NAMES = re.compile(r"\w+(?:[.:]+[A-Za-z_]\w*)+")
_IDENTIFIER = re.compile(r"[A-Za-z_$][A-Za-z_$:.-]*[0-9]{0,2}")

_EXAMPLE = re.compile(r"(?i:example)|[xX]{6}|\*{3}|\.{4}|1234567890|0123456789|0{8}|(?i:abcdefghi)")
_BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

_MIN_KEY = 16  # characters
_MIN_HEX_ENTROPY = 3.0  # bits a character
_MIN_ENTROPY = 3.4
_MIN_SURPRISE = 3.85  # nats a pair of letters; a random string in a hundred is below
_CAPITALS = 0.25  # nats more that capitals may add
_BLOB = 100  # characters that would make a value a part of something longer


def is_hash_name(text: str) -> bool:
    """Whether a name or the words before a value say that it is a hash or a revision."""
    return bool(_HASH_NAME.search(text))


def is_uuid(value: str) -> bool:
    return bool(_UUID.fullmatch(value))


def is_template(value: str) -> bool:
    """Whether something else is put in its place when it is used."""
    return bool(_TEMPLATE.search(value))


def is_run(value: str) -> bool:
    """Whether it is one or two characters again and again, or a stretch of the alphabet."""
    steps = {ord(second) - ord(first) for first, second in pairwise(value)}
    return len(set(value)) <= 2 or steps in ({1}, {-1})


def is_random(value: str) -> bool:
    """Whether it could have been drawn at random: a key, rather than words, a path, an id or data."""
    if is_run(value) or is_uuid(value) or value.lower() in _DIGESTS:
        return False
    if _KEY_PLACEHOLDER.search(value) or is_template(value) or _ENCODED.match(value):
        return False
    if _HEX.fullmatch(value):
        return entropy(value.lower()) >= _MIN_HEX_ENTROPY and not value.isdigit()
    if _DATE_OR_VERSION.fullmatch(value) or _INCHI_KEY.fullmatch(value) or entropy(value) < _MIN_ENTROPY:
        return False
    if _NAMES.fullmatch(value):
        value = max(re.split(r"[.:]", value), key=len)
        if len(value) < _MIN_KEY:
            return False
    return _is_gibberish(value)


def is_password(value: str, *, bare: bool) -> bool:
    """Whether it could be somebody's password, rather than a word, a default, a name or code.

    Args:
        bare: it has no quotes, as code and numbers have none.
    """
    if is_run(value) or is_uuid(value) or is_template(value) or _ENCODED.match(value):
        return False
    if _PLACEHOLDER.search(value) or _DATE_OR_VERSION.fullmatch(value):
        return False
    if value.startswith("--") or _NUMBER.fullmatch(value) or _PASSWORD_HASH.fullmatch(value):
        return False
    if bare and (value[0] in ":!=+-/?~" or _NAMES.fullmatch(value)):
        return False
    if _PATH.fullmatch(value) and not _is_gibberish(value):
        return False
    if _SPELLED_OTHERWISE.search(value.translate(_LEET)):
        return False
    letters = re.sub(r"[^a-z]", "", value.lower())
    plain = re.sub(r"[^a-z]", "", value.lower().translate(_LEET))
    if letters in _COMMON_PASSWORDS or plain in _COMMON_PASSWORDS:
        return False
    if _IDENTIFIER.fullmatch(value):
        return not bare and len(value) >= 8 and _is_gibberish(value)
    return bool(letters) and any(not character.isalpha() for character in value)


def _is_gibberish(value: str) -> bool:
    """Whether no words are in it; capitals inside a name are only a little of a surprise."""
    return min(surprise(value), surprise(value.lower()) + _CAPITALS) >= _MIN_SURPRISE


def is_in_blob(text: str, start: int, end: int) -> bool:
    """Whether what stands at [start, end) is a stretch of encoded data that goes on around it."""
    before, after = text[max(0, start - _BLOB) : start], text[end : end + _BLOB]
    run_before = len(before) - len(before.rstrip(_BASE64))
    run_after = len(after) - len(after.lstrip(_BASE64))
    return run_before + run_after >= _BLOB


def is_example(key: str) -> bool:
    """Whether a key in a known format is one of a manual or a redaction: `...EXAMPLE`, `...xxxx...`."""
    letters = key[len(key) // 3 :]
    return bool(_EXAMPLE.search(key)) or len(set(letters)) <= 3
