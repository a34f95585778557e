"""Every kind of personal data is found at its exact place; look-alikes are left alone."""

import re
import string
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from derailleur.corpus.pii.keys import KEY_FORMATS, KEYS
from derailleur.corpus.pii.scan import DETECTORS, scan
from derailleur.corpus.pii.spans import Shape, Span, longest_wins
from derailleur.corpus.pii.triggers import Triggers

ALPHABETS = {
    "alnum": string.ascii_letters + string.digits,
    "base64": string.ascii_letters + string.digits + "+/",
    "digit": "0123456789",
    "hex": "0123456789abcdef",
    "lower": string.ascii_lowercase + string.digits,
    "upper": string.ascii_uppercase + string.digits,
}

# what stands around a key, the key in brackets; generated, so that no secret scanner trips over this file
KEY_SAMPLES = {
    "1Password": "[A3-{upper:6}-{upper:11}-{upper:5}-{upper:5}-{upper:5}]",
    "Adyen": "x-API-key: '[AQE{alnum:8}{alnum:60}-{alnum:43}-{alnum:16}]'",
    "age": "[AGE-SECRET-KEY-1{upper:58}]",
    "Airtable": "[pat{alnum:14}.{hex:64}]",
    "Alibaba": "[LTAI{alnum:20}]",
    "Anthropic": "[sk-ant-api03-{alnum:93}-{alnum:6}AA]",
    "Artifactory": "[AKCp{alnum:69}]",
    "Artifactory password": "[APA{alnum:30}]",
    "Artifactory reference token": "[cmVmd{alnum:59}]",
    "Atlassian": "[ATATT3{alnum:180}]",
    "Authorization header": "Authorization: Bearer [{alnum:16}7q{alnum:20}]",
    "AWS access key": "[AKIA{upper:16}]",
    "AWS access key, early": "[A3T{upper:17}]",
    "AWS Bedrock": "[ABSK{base64:110}]",
    "AWS Bedrock, short-lived": "[bedrock-api-key-{base64:200}]",
    "AWS MWS": "[amzn.mws.{hex:8}-{hex:4}-{hex:4}-{hex:4}-{hex:12}]",
    "AWS session": "aws_session_token = [IQoJb3JpZ2lu{base64:300}]",
    "Azure Active Directory": "[{alnum:3}8Q~{alnum:34}]",
    "Azure keys": "AccountName=x;AccountKey=[{base64:86}==];EndpointSuffix=y",
    "Azure shared access signature": "https://x.blob.core.windows.net/y?sp=r&sig=[{alnum:43}%3D]",
    "Bitbucket": "[ATBB{alnum:32}]",
    "Braintree": "[access_token$production${lower:16}${hex:32}]",
    "Clojars": "[CLOJARS_{hex:60}]",
    "Cloudflare origin": "[v1.0-{hex:24}-{hex:146}]",
    "Cohere": "COHERE_API_KEY=[{alnum:38}7Q]",
    "Confluent": "[cflt{base64:60}]",
    "crates.io": "[cio{alnum:32}]",
    "Databricks": "[dapi{hex:32}]",
    "DigitalOcean": "[dop_v1_{hex:64}]",
    "Discord bot": "bot.run('[MT{alnum:22}.{alnum:6}.{alnum:38}]')",
    "Discord webhook": "https://discord.com/api/webhooks/[{digit:18}/{alnum:68}]",
    "Docker": "[dckr_pat_{alnum:27}]",
    "Doppler": "[dp.pt.{alnum:43}]",
    "Duffel": "[duffel_test_{alnum:43}]",
    "Dynatrace": "[dt0c01.{upper:24}.{upper:64}]",
    "EasyPost": "[EZAK{alnum:54}]",
    "Facebook": "[EAA{alnum:120}]",
    "Figma": "[figd_{alnum:43}]",
    "Fireworks": "[fw_{alnum:24}]",
    "Flutterwave": "[FLWSECK_TEST-{hex:32}-X]",
    "Fly": "[fm2_{base64:200}]",
    "Gitea": "gitea_token: [{hex:40}]",
    "GitHub": "[ghp_{alnum:36}]",
    "GitHub fine-grained": "[github_pat_{alnum:22}_{alnum:59}]",
    "GitLab": "[glpat-{alnum:20}]",
    "GitLab runner": "[GR1348941{alnum:20}]",
    "Google": "[AIza{alnum:35}]",
    "Google OAuth secret": "[GOCSPX-{alnum:28}]",
    "Google OAuth token": "[ya29.{alnum:60}]",
    "Grafana": "[glsa_{alnum:32}_{hex:8}]",
    "Grafana, early": "[eyJrIjoi{alnum:80}]",
    "Groq": "[gsk_{alnum:52}]",
    "Heroku": "[HRKU-AA{alnum:58}]",
    "Hugging Face": "[hf_{alnum:34}]",
    "Intercom": "[ico-{alnum:32}]",
    "JWT": "Authorization: Bearer [eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJ{alnum:50}.{alnum:43}]",
    "LangSmith": "[lsv2_pt_{hex:32}_{hex:10}]",
    "Linear": "[lin_api_{alnum:40}]",
    "Mailchimp": "[{hex:32}-us12]",
    "Mailgun": "[key-{lower:32}]",
    "Microsoft Teams webhook": "https://corp.webhook.office.com/webhookb2/"
    "[{uuid}@{uuid}/IncomingWebhook/{hex:32}/{uuid}]",
    "Mistral": "MISTRAL_API_KEY = '[{alnum:30}7Q]'",
    "Netlify": "[nfp_{alnum:36}]",
    "New Relic": "[NRAK-{upper:27}]",
    "New Relic licence": "[{hex:36}NRAL]",
    "Notion": "[ntn_{alnum:46}]",
    "npm": "[npm_{alnum:36}]",
    "npm registry": "//registry.npmjs.org/:_authToken=[{alnum:8}-{alnum:12}-{alnum:12}]",
    "NuGet": "[oy2{lower:43}]",
    "NVIDIA": "[nvapi-{alnum:64}]",
    "Okta": "OKTA_API_TOKEN = '[00{alnum:40}]'",
    "OpenAI": "[sk-{alnum:20}T3BlbkFJ{alnum:20}]",
    "OpenShift": "[sha256~{alnum:43}]",
    "PagerDuty": "pagerduty_api_key = '[u+{alnum:17}7]'",
    "Perplexity": "[pplx-{alnum:48}]",
    "Pinecone": "[pcsk_{alnum:6}_{alnum:62}]",
    "PlanetScale": "[pscale_tkn_{alnum:43}]",
    "Postman": "[PMAK-{hex:24}-{hex:34}]",
    "Prefect": "[pnu_{alnum:36}]",
    "Pulumi": "[pul-{hex:40}]",
    "PyPI": "[pypi-AgEIcHlwaS5vcmc{alnum:80}]",
    "Razorpay": "[rzp_live_{alnum:14}]",
    "ReadMe": "[rdme_{lower:70}]",
    "Replicate": "[r8_{alnum:37}]",
    "RubyGems": "[rubygems_{hex:48}]",
    "Scalingo": "[tk-us-{alnum:48}]",
    "SendGrid": "[SG.{alnum:22}.{alnum:43}]",
    "Sendinblue": "[xkeysib-{hex:64}-{alnum:16}]",
    "Sentry": "[sntryu_{hex:64}]",
    "Sentry DSN": "dsn='https://[{hex:32}]@o{digit:6}.ingest.sentry.io/{digit:7}'",
    "Shippo": "[shippo_live_{hex:40}]",
    "Shopify": "[shpat_{hex:32}]",
    "Slack": "[xoxb-{digit:12}-{digit:12}-{alnum:24}]",
    "Slack webhook": "https://hooks.slack.com/services/[T{upper:8}/B{upper:8}/{alnum:24}]",
    "SoftLayer": "https://api.softlayer.com/soap/v3/[{hex:64}]",
    "Sourcegraph": "[sgp_{hex:16}_{hex:40}]",
    "Square": "[sq0atp-{alnum:22}]",
    "Stripe": "[sk_live_{alnum:24}]",
    "Supabase": "[sbp_{hex:40}]",
    "Tailscale": "[tskey-auth-{alnum:12}-{alnum:32}]",
    "Tavily": "[tvly-dev-{alnum:32}]",
    "Telegram": "[{digit:9}:AA{alnum:33}]",
    "Tencent": "[AKID{alnum:32}]",
    "Terraform": "[{alnum:14}.atlasv1.{alnum:67}]",
    "Twilio": "[SK{hex:32}]",
    "Vault": "[hvs.{alnum:90}]",
    "Vercel": "[vcp_{alnum:56}]",
    "xAI": "[xai-{alnum:80}]",
    "Yandex": "[AQVN{alnum:36}]",
}


def fill(template: str, seed: int) -> tuple[str, str]:
    """The text of a template and the secret in it."""
    generator = np.random.default_rng(seed)

    def spell(match: re.Match[str]) -> str:
        return "".join(generator.choice(list(ALPHABETS[match[1]]), int(match[2])))

    template = template.replace("{uuid}", "{hex:8}-{hex:4}-{hex:4}-{hex:4}-{hex:12}")
    before, secret, after = re.split(r"[\[\]]", re.sub(r"\{(\w+):(\d+)\}", spell, template))
    return before + secret + after, secret


def found(text: str) -> list[tuple[str, str]]:
    return [(span.tag, text[span.start : span.end]) for span in scan(text.encode())]


def test_every_format_has_a_sample() -> None:
    assert set(KEY_SAMPLES) == {format_.name for format_ in KEY_FORMATS}


@pytest.mark.parametrize("name", KEY_SAMPLES)
def test_keys_are_found_exactly(name: str) -> None:
    for seed in range(5):
        text, secret = fill(KEY_SAMPLES[name], seed)
        for around in (f"{text}", f"é漢 = '{text}'\n", f"({text})", f'"\\n{text}\\n"'):
            assert ("KEY", secret) in found(around), around
        if text == secret:  # with more letters it is no key of this format
            assert not found(f"x{text}")


@pytest.mark.parametrize("end", ["sentry.io/12", "sentry.corp.com/3", "o12345.ingest.us.sentry.io/4"])
@pytest.mark.parametrize("secret", ["[{hex:32}]", "[{hex:32}:{hex:32}]"])
def test_a_sentry_dsn_may_be_of_any_host(secret: str, end: str) -> None:
    text, key = fill(f"dsn = 'https://{secret}@{end}'", 0)
    assert found(text) == [("KEY", key)]


def test_a_key_that_is_repeated_without_its_context_is_found_there_too() -> None:
    text, secret = fill("aws_secret_access_key = '[{base64:38}7Q]'", 0)
    assert found(f"{text}\nclient({secret})") == [("KEY", secret)] * 2


@pytest.mark.parametrize(
    "text",
    [
        "sha256:" + "0123456789abcdef" * 4,
        "secret = 'da39a3ee5e6b4b0d3255bfef95601890afd80709'",  # a SHA-1
        "550e8400-e29b-41d4-a716-446655440000",
        "aws_secret_access_key = os.environ['AWS_SECRET_ACCESS_KEY']",
        "api_key = '<YOUR_API_KEY>'; token = 'ghp_...'",
        "task-0123456789abcdef0123456789abcdef0123",
        "hf_model_name_or_path = args.hf_model_name_or_path_or_repository",
        "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk",
        "integrity sha512-" + "Q" * 86 + "==",
        "SKIPPED = 1; ACCESS = SK0",
        "pypi-publish; npm_config_registry; key-value-store",
        "eyJhbGciOiJIUzI1NiJ9",
    ],
)
def test_what_only_looks_like_a_key(text: str) -> None:
    assert found(text) == []


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("mail alice@corp.com now", "alice@corp.com"),
        ("<bob.o'hara@mail.corp.co.uk>", "hara@mail.corp.co.uk"),
        ('"first.last+tag@sub-domain.io"', "first.last+tag@sub-domain.io"),
        ("jörg@größe.de", "jörg@größe.de"),
        ("x@xn--fo-fka.com", "x@xn--fo-fka.com"),
        ("mailto:a_b@corp.museum.", "a_b@corp.museum"),
        ("...me@corp.com...", "me@corp.com"),
        ('"\\nalice@corp.com"', "alice@corp.com"),
        ('"\\\\nalice@corp.com"', "nalice@corp.com"),
        ("https://corp.com/?to=bob@corp.de", "bob@corp.de"),
        ("to: eve@corp.com: hello", "eve@corp.com"),
        ("%40 bob@corp.de,eve@corp.de", "bob@corp.de"),
    ],
)
def test_addresses_are_found_exactly(text: str, address: str) -> None:
    assert ("EMAIL", address) in found(text)


@pytest.mark.parametrize(
    "text",
    [
        "user@example.com",
        "a.b@mail.example.org, x@example.invalid, y@host.test, z@foo.localhost",
        "git@github.com:owner/repository.git",
        "ssh://git@gitlab.corp.com/owner/repository.git",
        "deploy@build.corp.com:srv/www/site.git",
        "@app.route('/')\n@pytest.mark.skip",
        "x = a @ b.T; y = A@B.transpose(); z = w@self.weight; q = k@x.shape",
        'import "@scope/package"; "lodash@4.17.21"; "pkg@1.0.0-beta.rc"',
        "logo@2x.png banner@3x.webp",
        "uses: actions/checkout@v4.1.0",
        "root@localhost",
        "postgres://u@db.corp.com:5432/x",
        "aes256-gcm@openssh.com",
        "@ . @@ @a a@ a@b a@b.",
    ],
)
def test_what_only_looks_like_an_address(text: str) -> None:
    assert found(text) == []


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("host = '52.14.3.99'", "52.14.3.99"),
        ("http://52.14.3.99:8080/24/x", "52.14.3.99"),
        ("ping 52.14.3.99.", "52.14.3.99"),
        ("if addr == '52.14.3.99':", "52.14.3.99"),
        ("allow 52.14.0.0/16;", "52.14.0.0/16"),
        ("root@52.14.3.99", "52.14.3.99"),
        ('"\\n52.14.3.99"', "52.14.3.99"),
        ("52.14.3.99-52.14.3.120", "52.14.3.120"),
        ("2a00:1450:4001:81b::200e", "2a00:1450:4001:81b::200e"),
        ("[2a00:1450:4001::1]:443", "2a00:1450:4001::1"),
        ("2a00:1450::/32", "2a00:1450::/32"),
        ("2a00:1450:4001:0800:0000:0000:0000:200E", "2a00:1450:4001:0800:0000:0000:0000:200E"),
        ("at 2a00:1450:4001::1: up", "2a00:1450:4001::1"),
        ("::ffff:52.14.3.99", "52.14.3.99"),
    ],
)
def test_ip_addresses_are_found_exactly(text: str, address: str) -> None:
    assert ("IP_ADDRESS", address) in found(text)


@pytest.mark.parametrize(
    "text",
    [
        "127.0.0.1 0.0.0.0 10.1.2.3 172.31.255.1 192.168.1.1/24 169.254.1.1 255.255.255.0 224.0.0.251",
        "192.0.2.1 198.51.100.7/24 203.0.113.9 100.64.0.1",
        "8.8.8.8 8.8.4.4 1.1.1.1 9.9.9.9 208.67.222.222 2001:4860:4860::8888 2606:4700:4700::1111",
        "::1 :: fe80::1%eth0 fd00::1 2001:db8::1 2001:db8::/32",
        "1.2.3.4",
        "1.2.3.4.5 1.3.6.1.4.1.311 10.20.30.400 300.1.2.3 1.02.30.40",
        "version = '12.34.56.78'; __version__ = \"12.34.56.78\"; Version: 12.34.56.78",
        "pkg==12.34.56.78 Chrome/91.0.4472.124 lib-12.34.56.78.tar.gz v12.34.56.78 12.34.56.78-rc1",
        '[assembly: AssemblyVersion("12.34.56.78")] ObjectIdentifier("2.5.29.15")',
        "20:30:40 00:1a:2b:3c:4d:5e x[::2] std::vector dead::beef 2020:10:10 12:34",
        "a1.2.3.4 1.2.3.4a 12.34.56.78_",
    ],
)
def test_what_only_looks_like_an_ip_address(text: str) -> None:
    assert found(text) == []


BODY = "\n".join("MIIEpAIBAAKCAQEA" + "c0ffee" * 8 for _ in range(10)) + "\nQmFzZTY0=="


@pytest.mark.parametrize("kind", ["", "RSA ", "EC ", "OPENSSH ", "ENCRYPTED "])
def test_private_keys_are_found_whole(kind: str) -> None:
    block = f"-----BEGIN {kind}PRIVATE KEY-----\n{BODY}\n-----END {kind}PRIVATE KEY-----"
    assert found(f"key = '''{block}\n'''") == [("PRIVATE_KEY", block)]
    escaped = block.replace("\n", "\\n")
    assert found(f'{{"private_key": "{escaped}\\n"}}') == [("PRIVATE_KEY", escaped)]
    quoted = block.replace("\n", '\\n"\n    "')
    assert found(f'KEY = (\n    "{quoted}"\n)') == [("PRIVATE_KEY", quoted)]


def test_private_keys_in_other_clothes() -> None:
    headers = "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,0123456789ABCDEF0123456789ABCDEF\n\n"
    block = f"-----BEGIN RSA PRIVATE KEY-----\n{headers}{BODY}\n-----END RSA PRIVATE KEY-----"
    assert found(block) == [("PRIVATE_KEY", block)]
    armour = f"-----BEGIN PGP PRIVATE KEY BLOCK-----\n\n{BODY}\n=abcd\n-----END PGP PRIVATE KEY BLOCK-----"
    assert found(armour) == [("PRIVATE_KEY", armour)]
    cut_off = f"-----BEGIN PRIVATE KEY-----\n{BODY[:170]}"
    assert found(f"{cut_off}...\n and so on") == [("PRIVATE_KEY", cut_off)]
    assert [tag for tag, _ in found(f"{block}\n{armour}\n{cut_off}")] == ["PRIVATE_KEY"] * 3


@pytest.mark.parametrize(
    "text",
    [
        f"-----BEGIN CERTIFICATE-----\n{BODY}\n-----END CERTIFICATE-----",
        f"-----BEGIN PUBLIC KEY-----\n{BODY}\n-----END PUBLIC KEY-----",
        "-----BEGIN RSA PRIVATE KEY-----\n...\n-----END RSA PRIVATE KEY-----",
        "if line == '-----BEGIN PRIVATE KEY-----':\n    read_the_key_until(line, END)\n"
        "END = '-----END PRIVATE KEY-----'",
        "-----BEGIN PRIVATE KEY-----",
    ],
)
def test_what_is_no_private_key(text: str) -> None:
    assert found(text) == []


@settings(max_examples=200)
@given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 12)), max_size=15))
def test_longest_wins(pairs: list[tuple[int, int]]) -> None:
    spans = [Span(start, start + length, "KEY") for start, length in pairs]
    kept = longest_wins(spans)
    assert kept == sorted(kept)
    assert all(left.end <= right.start for left, right in pairwise(kept))
    for span in spans:
        if span not in kept:  # something as long or longer is in its way
            overlapping = [k for k in kept if k.start < span.end and span.start < k.end]
            assert max(k.end - k.start for k in overlapping) >= span.end - span.start


# the place of a hit is the end of the match
SHAPES = {
    Shape.AT_SIGN: rb"(?<=[A-Za-z0-9._%+\x80-\xff-])@(?=[A-Za-z0-9._%+\x80-\xff-])",
    Shape.DOTTED_QUAD: rb"(?<=[0-9]\.)[0-9](?<=[0-9]\.[0-9])",
    Shape.HEX_COLONS: rb"(?<![0-9A-Fa-f:])[0-9A-Fa-f]{4}:[0-9A-Fa-f]*:",
}


def places(trigger: bytes | Shape, content: bytes) -> list[int]:
    """Where a trigger is in a text, in plain Python."""
    if isinstance(trigger, bytes):
        return [m.start() for m in re.finditer(b"(?=" + re.escape(trigger) + b")", content)]
    ends = [m.end() - 1 for m in re.finditer(SHAPES[trigger], content)]
    if trigger is Shape.DOTTED_QUAD:  # three numbers with dots are in front
        three = rb"(?<![0-9.])\.*[0-9]+\.[0-9]+\.[0-9]+\.\Z"
        ends = [end for end in ends if re.search(three, content[:end])]
    return ends


@settings(deadline=None, max_examples=300)
@given(
    st.lists(
        st.sampled_from(
            ["ghp_", "gh", "p_", "@", "a", "9", "12.", ".", "4", ":", "2a00:", "f", " ", "é", "AK", "IA"]
        ),
        max_size=14,
    ).map("".join)
)
def test_triggers_equal_plain_python(text: str) -> None:
    content = text.encode()
    hits = Triggers(DETECTORS).hits(content)
    for number, detector in enumerate(DETECTORS):
        for trigger in detector.triggers:
            if isinstance(trigger, bytes) or trigger in SHAPES:
                found_places = {hit.position for hit in hits.get(number, ())}
                assert set(places(trigger, content)) <= found_places, (detector.name, trigger)
        expected = [
            place
            for trigger in detector.triggers
            if isinstance(trigger, bytes) or trigger in SHAPES
            for place in places(trigger, content)
        ]
        assert sorted(hit.position for hit in hits.get(number, ())) == sorted(expected), detector.name


def test_every_format_has_a_trigger_in_its_sample() -> None:
    for name in sorted(KEY_SAMPLES.keys() & {format_.name for format_ in KEY_FORMATS}):
        template = KEY_SAMPLES[name]
        number = [format_.name for format_ in KEY_FORMATS].index(name) + DETECTORS.index(KEYS[0])
        text, _ = fill(template, 3)
        assert number in Triggers(DETECTORS).hits(text.encode()), name


@pytest.mark.parametrize(
    "text",
    [
        "a" * 200_000 + "@" + "b" * 200_000,
        "a@" * 100_000,
        "a.b-" * 50_000 + "@" + "c.d-" * 50_000,
        "1." * 200_000,
        "1.2.3." * 60_000,
        "2a00:" * 60_000,
        "-----BEGIN PRIVATE KEY-----" * 15_000,
        ("-----BEGIN PRIVATE KEY-----\n" + "A" * 60 + "\n") * 4_000,
        "eyJ" * 100_000,
        "eyJ" + "a" * 300_000,
        "sk-" * 100_000,
        "aws_secret" * 30_000,
        "xoxb-" * 60_000,
        "\\" * 300_000 + "n@corp.com",
        "key='" * 60_000,
        "password=" * 30_000,
        "token" + " " * 300_000,
        "://a:" * 60_000,
        "Bearer " * 40_000,
        "MT" * 100_000,
        "eyJaaaaaaaa." * 20_000,
    ],
    ids=lambda text: text[:12],
)
def test_hostile_texts_take_linear_time(text: str) -> None:
    """A quadratic detector would take minutes here, and the suite would be seen to hang."""
    scan(text.encode())
