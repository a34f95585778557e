"""Keys and passwords told by the name that they are assigned to, in URLs, and what only looks like one."""

import re
import string
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from derailleur.corpus.pii.gibberish import count_pairs, entropy, surprise
from derailleur.corpus.pii.scan import DETECTORS, scan
from derailleur.corpus.pii.spans import Shape
from derailleur.corpus.pii.triggers import KEY_NAMES, PASSWORD_NAMES, Triggers

PASSWORD = "Kestrel-42-raven"
ALPHABETS = {
    "alnum": string.ascii_letters + string.digits,
    "base64": string.ascii_letters + string.digits + "+/",
    "base64url": string.ascii_letters + string.digits + "-_",
    "hex": "0123456789abcdef",
    "lower": string.ascii_lowercase,
}


def spell(alphabet: str, length: int, seed: int = 0) -> str:
    return "".join(np.random.default_rng(seed).choice(list(ALPHABETS[alphabet]), length))


def found(text: str) -> list[tuple[str, str]]:
    return [(span.tag, text[span.start : span.end]) for span in scan(text.encode())]


@pytest.mark.parametrize(
    "template",
    [
        "password = '{}'",
        'db_password: str = "{}"',
        '"password": "{}",',
        'password := "{}"',
        "'password' => '{}',",
        '$password = "{}";',
        "password: {}\n",
        "DB_PASSWORD={}\nX=1",
        "export PGPASSWORD='{}'",
        "spring.datasource.password={}\n",
        "mysql --password={} -h db",
        "run --password {} now",
        'conn = "Server=db;User Id=sa;Password={};Encrypt=yes"',
        '"{{\\"password\\": \\"{}\\"}}"',
        "<password>{}</password>",
        '<property name="db.password" value="{}"/>',
        'properties.setProperty("db.password", "{}");',
        'builder.adminPassword("{}");',
        'os.environ["DB_PASSWORD"] = "{}"',
        'parser.add_argument("--password", default="{}")',
        "- name: POSTGRES_PASSWORD\n  value: '{}'",
        "if password == '{}':",
        "postgres://ada:{}@db.corp.com:5432/x",
        "redis://:{}@cache:6379",
        "passwd = b'{}'",
        "{{ user: x, pass: '{}' }}",
        "const smtpPass = '{}'",
        "if (password !== '{}') return",
    ],
)
def test_passwords_in_many_languages(template: str) -> None:
    assert found("é\n" + template.format(PASSWORD)) == [("PASSWORD", PASSWORD)]


@pytest.mark.parametrize(
    "text",
    [
        "password = os.environ['DB_PASSWORD']",
        "wrong password! 3rr0r-x9 and secret! 4b-Cd",
        "password = getpass.getpass()",
        "password = None; passwd = options.passwd2; pwd = row[3]",
        "def login(user, password, password2): ...",
        "password: str\npassword: string;\npassword: varchar(255)\npassword: utf8",
        "password = 'changeme'; password = 'p4ssw0rd'; password = 'Passw0rd!'; pwd = 'test1234'",
        "password = '********'; password = 'xxxxxxxx'; password = '12345678'",
        "password = '${DB_PASSWORD}'; password = '%(password)s'; password = '<your password>'",
        "password = '{{ vault_password }}'; password = '%s'; password = f'{secret1}'",
        '"password": "Password", "password": "Passwort", "password": "Contraseña"',
        'password: "Password must be at least 8 characters long"',
        "password_label = 'p4ss-Ph2rase'; password_url = '/a1/b2'; password_hash = 'x1y2z3w4'",
        "password: !vault |\nPGPASSWORD=$(cat /run/secrets/db)",
        "https://user:password@corp.com https://{user}:{pw}@h ftp://u:****@h x://u:%s@h y://u:${PW}@h",
        "password = 'auth/weak-password'; password = 'embedded:colon'",
        "compare(password, password2); password=password1, token=token2)",
        "mlir::Pass::Option1; .pass::before; pass = self.cwd2; PWD=/tmp; STENCIL_PASS: 0x0B96;",
        "password = '*1A01CF8FBE6425398935FB90359AD8B817399102'; password = '$2b$12$abcXYZ01'",
        "password = 'proxy_pwd'; option('--password', '--ask-2-pass')",
        "password: 2023-01-01\npassword: 550e8400-e29b-41d4-a716-446655440000",
    ],
)
def test_what_is_no_password(text: str) -> None:
    assert found(text) == []


@pytest.mark.parametrize(
    "key",
    [
        spell("hex", 32),
        spell("hex", 40),
        spell("hex", 64),
        spell("alnum", 24),
        spell("base64", 43) + "=",
        spell("base64url", 35),
    ],
)
def test_keys_by_their_names(key: str) -> None:
    for template in (
        "api_key = '{}'",
        "SECRET_KEY={}\n",
        '"accessToken": "{}"',
        "client_secret: {}\n",
        "https://api.corp.com/v1?x=1&token={}",
        "headers = {{'X-Api-Key': '{}'}}",
        'setAuthToken("{}")',
        "<apiKey>{}</apiKey>",
    ):
        assert found(template.format(key)) == [("KEY", key)], template


@pytest.mark.parametrize(
    "text",
    [
        f"public_key = '{spell('base64', 60)}'",
        f"sha256_key = '{spell('hex', 64)}'; commit_token = '{spell('hex', 40)}'",
        f"cache_key = '{spell('hex', 32)}'; key_hash = '{spell('hex', 32)}'",
        f"name = '{spell('alnum', 32)}'; image = '{spell('base64', 300)}'",
        "secret = 'da39a3ee5e6b4b0d3255bfef95601890afd80709'",  # SHA-1 of nothing
        "token = '550e8400-e29b-41d4-a716-446655440000'",
        "token: 'punctuation.definition.string.begin.python3'",
        "token = 'filterDropdownMenuBackground2'; key = 'max_position_embeddings_2'",
        "key = 'x-amz-server-side-encryption-aws-kms-key-id-2'",
        "api_key = '0123456789abcdef0123456789abcdef'; api_key = 'your-api-key-goes-here-2024'",
        "token = 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa1'; key='ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789'",
        "key = 'com.corp.product.module2.AbstractFactory'; token = '/usr/lib/python3/site/x2'",
        f"token = '{'A1b2' * 200}'",
        "inchi_key = 'ABCDEFGHIJKLMN-OPQRSTUVWX-N'; key = '2024-01-02T03:04:05.678'",
    ],
)
def test_what_is_no_key(text: str) -> None:
    assert found(text) == []


def test_a_web_token_has_a_header_with_an_algorithm() -> None:
    claims = "eyJ" + spell("alnum", 40)
    header, other = "eyJhbGciOiJIUzI1NiJ9", "eyJ0eXAiOiJKV1QifQ"  # {"alg":"HS256"}, {"typ":"JWT"}
    assert found(f"x {header}.{claims}.{spell('alnum', 43)}") == [
        ("KEY", f"{header}.{claims}.{spell('alnum', 43)}")
    ]
    assert found(f"x {other}.{claims}.{spell('alnum', 43)}") == []


def test_a_word_of_a_hash_spares_the_value_beside_it_and_no_other() -> None:
    key = "ghp_" + spell("alnum", 36)
    assert found(f"sha256={key}") == []
    assert found(f"sha256 = hash()\nmd5\n{key} # sha") == [("KEY", key)]


def test_a_key_inside_a_longer_run_of_data_is_none() -> None:
    key = "AKIA" + spell("hex", 16).upper()
    assert found(key) == [("KEY", key)]
    assert found(f"{spell('base64', 120)}/{key}+{spell('base64', 120, 1)}") == []


# the assignment families of detect-secrets 1.5.0 and its formats, in the form that it finds; its plugins for
# entropy alone need no name, ours do
FAMILIES = {
    "Artifactory": ["artifactory: AKC{alnum:16}", 'x = "APA{alnum:24}"'],
    "Azure storage": ["AccountKey={base64:86}=="],
    "Cloudant": [
        "cloudant_password = '{hex:64}'",
        "cl_api_key: {lower:24}",
        "https://ada:{hex:64}@ada.cloudant.com",
    ],
    "Discord": ["MT{alnum:22}.{alnum:6}.{base64url:26}a"],
    "GitHub": ["gho_{alnum:36}"],
    "GitLab": ["glpat-{alnum:20}", "glcbt-{alnum:20}", "GR1348941{alnum:20}"],
    "IBM Cloud IAM": ["ibm_cloud_iam_api_key = {alnum:44}", "iam-password: '{alnum:44}'"],
    "IBM COS HMAC": ["cos_hmac_secret_access_key = '{hex:48}'", "secret-key: {hex:48}"],
    "Mailchimp": ["{hex:32}-us7"],
    "npm": ["//registry.npmjs.org/:_authToken=npm_{alnum:36}"],
    "OpenAI": ["sk-{alnum:20}T3BlbkFJ{alnum:20}"],
    "PyPI": ["pypi-AgEIcHlwaS5vcmc{base64url:72}a"],
    "SendGrid": ["SG.{base64url:22}.{base64url:42}a"],
    "Slack": [
        "xoxp-{digit:12}-{alnum:24}",
        "https://hooks.slack.com/services/T{alnum:8}/B{alnum:8}/{alnum:24}",
    ],
    "SoftLayer": ["softlayer_api_key = '{hex:64}'", "https://api.softlayer.com/soap/v3/{hex:64}"],
    "Square": ["sq0csp-{alnum:43}"],
    "Stripe": ["rk_live_{alnum:24}"],
    "Telegram": ["{digit:9}:AA{alnum:33}"],
    "Twilio": ["AC{hex:32}", "SK{hex:32}"],
    "AWS": ["AKIA{upper:16}", "aws_secret_key = '{base64:40}'"],
    "hexadecimal entropy": ["secret_token = '{hex:40}'"],
    "base64 entropy": ["auth_token = '{base64:44}'"],
}


@pytest.mark.parametrize("family", FAMILIES)
def test_the_families_of_detect_secrets(family: str) -> None:
    letters = {**ALPHABETS, "digit": string.digits, "upper": string.ascii_uppercase + string.digits}
    missed = total = 0
    for template in FAMILIES[family]:
        for seed in range(50):
            generator = np.random.default_rng(seed)
            text = re.sub(
                r"\{(\w+):(\d+)\}",
                lambda slot, draw=generator: "".join(draw.choice(list(letters[slot[1]]), int(slot[2]))),  # type: ignore[misc]
                template,
            )
            total += 1
            missed += not found(text)
    assert missed <= 0.02 * total, f"{missed} of {total}"


@given(st.text(alphabet="aBz09+-", min_size=1, max_size=40))
def test_entropy_and_surprise_by_their_definitions(value: str) -> None:
    shares = [value.count(letter) / len(value) for letter in set(value)]
    assert entropy(value) == pytest.approx(-sum(share * np.log2(share) for share in shares), abs=1e-9)
    assert 0 <= surprise(value) < 12
    assert count_pairs([value]).sum() == sum(
        1 for a, b in pairwise(value) if (a + b).isalnum() and not (a + b).isdigit()
    )


def test_random_strings_surprise_and_identifiers_do_not() -> None:
    names = [
        *("get_attribute_names", "filterDropdownMenuBg", "http_response_status_2", "MAX_POSITION_EMBEDDINGS"),
        *("AbstractBeanFactory", "test_what_is_no_password", "XMLHttpRequestUpload", "num_hidden_layers"),
    ]
    keys = [spell(alphabet, 24, seed) for alphabet in ("alnum", "base64url", "lower") for seed in range(50)]
    assert max(map(surprise, names)) < 3.85
    assert np.mean([surprise(key) > 3.85 for key in keys]) > 0.98


NAMES = {Shape.KEY_VALUE: KEY_NAMES, Shape.PASSWORD_VALUE: PASSWORD_NAMES}
# `name operator value` as an obvious regular expression, for quoted values
QUOTED = (
    r"[\w-]{0,24}[\"'\]]{0,2} {0,3}(?:=|:|:=|=>|==) {0,3}(?P<quote>[\"'])"
    r"(?P<value>[^\"'\\\s]{4,60})(?P=quote)"
)


@settings(deadline=None, max_examples=300)
@given(
    st.lists(
        st.sampled_from(
            [
                *(
                    "key",
                    "pass",
                    "word",
                    "_x",
                    " ",
                    "=",
                    ":",
                    "=>",
                    "'",
                    '"',
                    "a1",
                    "Zq9_",
                    "longer-value_17",
                    "é",
                )
            ]
        ),
        max_size=16,
    ).map("".join)
)
def test_values_of_names_equal_plain_python(text: str) -> None:
    content = text.encode()
    hits = Triggers(DETECTORS).hits(content)
    for number, detector in enumerate(DETECTORS):
        for shape in NAMES.keys() & set(detector.triggers):
            places = {(hit.position, hit.start, hit.end) for hit in hits.get(number, ())}
            for name in NAMES[shape]:
                for match in re.finditer(rf"(?=({name})({QUOTED}))".encode(), content):
                    value = match["value"]
                    long_enough = shape is Shape.PASSWORD_VALUE or (
                        len(value) >= 16 and (re.search(rb"[0-9]", value) or len(value) >= 20)
                    )
                    if long_enough:
                        assert (match.start(), match.start("value"), match.end("value")) in places
