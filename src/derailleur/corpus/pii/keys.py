"""Keys and tokens of known formats: one row a format, each found by a literal that it always contains.

A format without a literal of its own, such as a bare password or a high-entropy string, is not found here.
"""

import base64
import binascii
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from derailleur.corpus.pii.look_alikes import is_example, is_hash_name, is_in_blob, is_random
from derailleur.corpus.pii.spans import Detector, Hit, Span

_START = r"(?:(?<![A-Za-z0-9])|(?<=\\[abfnrtv]))"
_HASH_CONTEXT = 12  # characters before a key in which a word such as sha256 says that it is none

_END = r"(?![A-Za-z0-9])"
_HEX8_4_4_4_12 = r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}"


@dataclass(frozen=True)
class KeyFormat:
    """One kind of key.

    Attributes:
        name: who issues it.
        literals: any key of the kind holds one of these.
        pattern: matches the key; group `key` where something around it must match too.
        lead: the fewest and most characters of a match before the literal.
        context: True if `pattern` brings its own boundaries.
        check: what else must be true of the key.
    """

    name: str
    literals: tuple[str, ...]
    pattern: str
    lead: tuple[int, int] = (0, 0)
    context: bool = False
    check: Callable[[str], bool] | None = None


def _is_jwt(token: str) -> bool:
    """Whether the header is a JSON object that names an algorithm, RFC 7519 and RFC 7516."""
    header = token.partition(".")[0]
    try:
        decoded = json.loads(base64.urlsafe_b64decode(header + "=" * (-len(header) % 4)))
    except (binascii.Error, ValueError):
        return False
    return isinstance(decoded, dict) and "alg" in decoded


def _assigned(name: str, value: str) -> str:
    """A value that is assigned to a name; the literal is in the name."""
    return (
        rf"(?i:{name})[\w.-]{{0,24}}[\"'`\])]{{0,2}}\s{{0,8}}(?:=>|:=|[:=,(>])\s{{0,8}}[\"'`]?"
        rf"(?P<key>{value})(?![\w/+-])"
    )


def _spellings(name: str) -> tuple[str, ...]:
    return (name, name.upper(), name.capitalize())


KEY_FORMATS = (
    # cloud
    KeyFormat("age", ("AGE-SECRET-KEY-1",), r"AGE-SECRET-KEY-1[0-9A-Z]{58}"),
    KeyFormat("Alibaba", ("LTAI",), r"LTAI[A-Za-z0-9]{12,26}", check=is_random),
    KeyFormat("AWS access key", ("AKIA", "ASIA", "ABIA", "ACCA"), r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}"),
    KeyFormat("AWS access key, early", ("A3T",), r"A3T[A-Z0-9]{17}", check=is_random),
    KeyFormat("AWS Bedrock", ("ABSK",), r"ABSK[A-Za-z0-9+/]{109,269}={0,2}"),
    KeyFormat(
        "AWS Bedrock, short-lived",
        ("bedrock-api-key-",),
        r"bedrock-api-key-[A-Za-z0-9+/]{40,3000}={0,2}",
    ),
    KeyFormat("AWS MWS", ("amzn.mws.",), rf"amzn\.mws\.{_HEX8_4_4_4_12}"),
    KeyFormat(
        "AWS session",
        ("FwoGZXIvYXdz", "IQoJb3JpZ2lu"),
        r"(?:FwoGZXIvYXdz|IQoJb3JpZ2lu)[A-Za-z0-9+/]{80,2000}={0,2}",
    ),
    KeyFormat(
        "Azure Active Directory",
        tuple(f"{digit}Q~" for digit in range(10)),
        r"[A-Za-z0-9_~.]{3}[0-9]Q~[A-Za-z0-9_~.-]{31,34}",
        lead=(3, 3),
    ),
    KeyFormat(
        "Azure keys",
        ("AccountKey=", "SharedAccessKey="),
        r"(?:AccountKey|SharedAccessKey)=(?P<key>[A-Za-z0-9+/]{43,86}={1,2})",
        context=True,
    ),
    KeyFormat(
        "Azure shared access signature",
        ("&sig=", "?sig="),
        r"[&?]sig=(?P<key>[A-Za-z0-9%+/]{43,80}(?:%3D|=){1,2})",
        context=True,
    ),
    KeyFormat("Cloudflare origin", ("v1.0-",), r"v1\.0-[0-9a-f]{24}-[0-9a-f]{146}"),
    KeyFormat("Confluent", ("cflt",), r"cflt[A-Za-z0-9+/]{60}"),
    KeyFormat("Databricks", ("dapi",), r"dapi[0-9a-f]{32}(?:-[0-9])?"),
    KeyFormat("DigitalOcean", ("_v1_",), r"do[opr]_v1_[0-9a-f]{64}", lead=(3, 3)),
    KeyFormat("Doppler", ("dp.",), r"dp\.(?:pt|st|sa|ct|scim|audit)\.(?:[\w-]{2,35}\.)?[A-Za-z0-9]{40,44}"),
    KeyFormat(
        "Fly",
        ("fo1_", "fm1r_", "fm1a_", "fm2_"),
        r"fo1_[\w-]{43}|fm(?:1[ar]|2)_[A-Za-z0-9+/]{100,1000}={0,3}",
    ),
    KeyFormat("Google", ("AIza",), r"AIza[A-Za-z0-9_-]{35}"),
    KeyFormat("Google OAuth secret", ("GOCSPX-",), r"GOCSPX-[A-Za-z0-9_-]{28}"),
    KeyFormat("Google OAuth token", ("ya29.",), r"ya29\.[A-Za-z0-9_-]{20,500}"),
    KeyFormat("Heroku", ("HRKU-",), rf"HRKU-(?:AA[A-Za-z0-9_-]{{58}}|{_HEX8_4_4_4_12})"),
    KeyFormat("Netlify", ("nfp_", "nfc_", "nfo_", "nfu_"), r"nf[pcou]_[A-Za-z0-9]{36}"),
    KeyFormat("Okta", _spellings("okta"), _assigned("okta", r"00[A-Za-z0-9_-]{40}"), context=True),
    KeyFormat("OpenShift", ("sha256~",), r"sha256~[A-Za-z0-9_-]{43}"),
    KeyFormat("PlanetScale", ("pscale_",), r"pscale_(?:tkn|pw|oauth)_[\w.=-]{32,64}"),
    KeyFormat("Pulumi", ("pul-",), r"pul-[0-9a-f]{40}"),
    KeyFormat("Scalingo", ("tk-us-",), r"tk-us-[A-Za-z0-9_-]{48}"),
    KeyFormat(
        "SoftLayer",
        ("api.softlayer.com/soap/",),
        r"api\.softlayer\.com/soap/v3(?:\.1)?/(?P<key>[0-9A-Za-z]{64})",
        context=True,
    ),
    KeyFormat("Supabase", ("sbp_", "sb_secret_"), r"sbp_[0-9a-f]{40}|sb_secret_[A-Za-z0-9_-]{31}"),
    KeyFormat("Tencent", ("AKID",), r"AKID[A-Za-z0-9]{32}", check=is_random),
    KeyFormat("Terraform", (".atlasv1.",), r"[A-Za-z0-9]{14}\.atlasv1\.[A-Za-z0-9_=-]{60,70}", lead=(14, 14)),
    KeyFormat("Tailscale", ("tskey-",), r"tskey-(?:[a-z]{2,12}-)?[A-Za-z0-9]{10,24}-[A-Za-z0-9]{20,40}"),
    KeyFormat("Vault", ("hvs.", "hvb."), r"hv[sb]\.[A-Za-z0-9_-]{24,300}"),
    KeyFormat("Vercel", ("vcp_", "vci_", "vca_", "vcr_", "vck_"), r"vc[piark]_[A-Za-z0-9]{24,60}"),
    KeyFormat(
        "Yandex",
        ("AQVN", "t1.", "YCA"),
        r"AQVN[A-Za-z0-9_-]{35,38}|t1\.[A-Z0-9a-z_-]{30,600}[=]{0,2}\.[A-Z0-9a-z_-]{86}[=]{0,2}|YCA[JM][A-Za-z0-9_-]{36,38}",
        check=is_random,
    ),
    # hosts of Git, artefacts and packages
    KeyFormat("Artifactory", ("AKC",), r"AKC[A-Za-z0-9]{10,90}", check=is_random),
    KeyFormat(
        "Artifactory password",
        tuple(f"AP{digit}" for digit in "0123456789ABCDEF"),
        r"AP[0-9A-F][A-Za-z0-9]{16,90}",
        check=is_random,
    ),
    KeyFormat("Artifactory reference token", ("cmVmd",), r"cmVmd[A-Za-z0-9]{59}"),
    KeyFormat("Atlassian", ("ATATT3", "ATCTT3"), r"AT[AC]TT3[A-Za-z0-9_=-]{50,250}"),
    KeyFormat("Bitbucket", ("ATBB",), r"ATBB[A-Za-z0-9]{24,40}(?:[A-F0-9]{8})?"),
    KeyFormat("Clojars", ("CLOJARS_",), r"CLOJARS_[0-9a-f]{60}"),
    KeyFormat("crates.io", ("cio",), r"cio[A-Za-z0-9]{32}", check=is_random),
    KeyFormat("Docker", ("dckr_",), r"dckr_(?:pat|oat)_[A-Za-z0-9_-]{27,60}"),
    KeyFormat("Gitea", _spellings("gitea"), _assigned("gitea", r"[0-9a-f]{40}"), context=True),
    KeyFormat("GitHub", ("ghp_", "gho_", "ghu_", "ghs_", "ghr_"), r"gh[pousr]_[A-Za-z0-9]{36,251}"),
    KeyFormat("GitHub fine-grained", ("github_pat_",), r"github_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{59}"),
    KeyFormat(
        "GitLab",
        (
            "glpat-",
            "gldt-",
            "glrt-",
            "glptt-",
            "glcbt-",
            "glsoat-",
            "glft-",
            "glagent-",
            "glimt-",
            "glffct-",
            "gloas-",
        ),
        r"gl(?:pat|dt|rt|ptt|cbt|soat|ft|agent|imt|ffct|oas)-[A-Za-z0-9_-]{20,300}(?:\.[a-z0-9]{2}\.?[a-z0-9]{7,9})?",
    ),
    KeyFormat("GitLab runner", ("GR1348941",), r"GR1348941[A-Za-z0-9_-]{20,50}"),
    KeyFormat("npm", ("npm_",), r"npm_[A-Za-z0-9]{36}"),
    KeyFormat(
        "npm registry",
        ("_authToken", "_auth"),
        r"_auth(?:Token)?[ \t]{0,4}=[ \t]{0,4}[\"']?(?P<key>[A-Za-z0-9+/_=-]{20,200})",
        context=True,
    ),
    KeyFormat("NuGet", ("oy2",), r"oy2[a-z0-9]{43}"),
    KeyFormat("PyPI", ("pypi-AgE",), r"pypi-AgE[A-Za-z0-9_-]{32,400}"),
    KeyFormat("RubyGems", ("rubygems_",), r"rubygems_[0-9a-f]{48}"),
    KeyFormat("Sourcegraph", ("sgp_",), r"sgp_(?:(?:[0-9a-f]{16}|local)_)?[0-9a-f]{40}"),
    # chat and mail
    KeyFormat(
        "Discord bot",
        tuple(f"{letter}{second}" for letter in "MNO" for second in "DTjz"),
        r"[MNO][DTjz][A-Za-z0-9_-]{22,24}\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{27,38}(?![\w-])",
        check=is_random,
    ),
    KeyFormat(
        "Discord webhook",
        ("/api/webhooks/",),
        r"/api/webhooks/(?P<key>[0-9]{16,20}/[\w-]{60,90})",
        context=True,
    ),
    KeyFormat(
        "Mailchimp", tuple(f"-us{digit}" for digit in range(10)), r"[0-9a-f]{32}-us[0-9]{1,2}", lead=(32, 32)
    ),
    KeyFormat("Mailgun", ("key-",), r"key-[0-9a-z]{32}"),
    KeyFormat(
        "Microsoft Teams webhook",
        (".webhook.office.com/",),
        rf"\.webhook\.office\.com/webhookb2/(?P<key>{_HEX8_4_4_4_12}@{_HEX8_4_4_4_12}/IncomingWebhook/[0-9a-zA-Z]{{32}}/{_HEX8_4_4_4_12}(?:/[\w-]{{1,60}})?)",
        context=True,
    ),
    KeyFormat("SendGrid", ("SG.",), r"SG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}"),
    KeyFormat("Sendinblue", ("xkeysib-", "xsmtpsib-"), r"x(?:key|smtp)sib-[0-9a-f]{64}-[A-Za-z0-9]{16}"),
    KeyFormat(
        "Slack",
        ("xoxa-", "xoxb-", "xoxc-", "xoxd-", "xoxe-", "xoxe.", "xoxo-", "xoxp-", "xoxr-", "xoxs-", "xapp-"),
        r"(?:xox[abcdeoprs][.-]|xapp-)[A-Za-z0-9%-]{10,250}",
        check=lambda key: any(character.isdigit() for character in key),
    ),
    KeyFormat(
        "Slack webhook",
        ("hooks.slack.com/",),
        r"hooks\.slack\.com/(?:services|workflows|triggers)/(?P<key>[A-Za-z0-9+/]{20,80})",
        context=True,
    ),
    KeyFormat("Telegram", (":AA",), r"[0-9]{8,10}:AA[A-Za-z0-9_-]{33}", lead=(8, 10)),
    KeyFormat(
        "Twilio",
        tuple(f"{kind}{digit}" for kind in ("AC", "SK") for digit in "0123456789abcdef"),
        r"(?:AC|SK)[0-9a-f]{32}",
    ),
    # payment and commerce
    KeyFormat(
        "Adyen",
        ("AQE",),
        r"AQE[A-Za-z0-9]{5,10}[A-Za-z0-9+/=]{20,200}-[A-Za-z0-9+/=]{20,80}-[^\s\"'`]{8,40}",
        check=is_random,
    ),
    KeyFormat(
        "Braintree", ("access_token$",), r"access_token\$(?:production|sandbox)\$[0-9a-z]{16}\$[0-9a-f]{32}"
    ),
    KeyFormat("Duffel", ("duffel_",), r"duffel_(?:test|live)_[A-Za-z0-9_=-]{43}"),
    KeyFormat("EasyPost", ("EZAK", "EZTK"), r"EZ[AT]K[A-Za-z0-9]{54}"),
    KeyFormat("Facebook", ("EAA",), r"EAA[A-Za-z0-9]{80,300}"),
    KeyFormat("Flutterwave", ("FLWSECK",), r"FLWSECK(?:_TEST)?-[0-9a-zA-Z]{32}-X"),
    KeyFormat("Razorpay", ("rzp_",), r"rzp_(?:live|test)_[A-Za-z0-9]{14}"),
    KeyFormat("Shippo", ("shippo_",), r"shippo_(?:live|test)_[0-9a-f]{40}"),
    KeyFormat("Shopify", ("shpat_", "shpca_", "shppa_", "shpss_"), r"shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}"),
    KeyFormat(
        "Square",
        ("sq0atp-", "sq0csp-", "EAAA"),
        r"(?:sq0(?:atp|csp)-[A-Za-z0-9_-]{22,43}|EAAA[A-Za-z0-9_-]{60})",
    ),
    KeyFormat(
        "Stripe",
        ("sk_live_", "sk_test_", "rk_live_", "rk_test_", "whsec_"),
        r"(?:[rs]k_(?:live|test)|whsec)_[A-Za-z0-9+/]{16,247}={0,2}",
        check=is_random,
    ),
    # artificial intelligence
    KeyFormat("Anthropic", ("sk-ant-",), r"sk-ant-[A-Za-z0-9_-]{24,200}"),
    KeyFormat(
        "Cohere", _spellings("cohere"), _assigned("cohere", r"[A-Za-z0-9]{40}"), context=True, check=is_random
    ),
    KeyFormat("Fireworks", ("fw_",), r"fw_[A-Za-z0-9]{22,24}", check=is_random),
    KeyFormat("Groq", ("gsk_",), r"gsk_[A-Za-z0-9]{50,54}"),
    KeyFormat("Hugging Face", ("hf_", "api_org_"), r"(?:hf|api_org)_[A-Za-z0-9]{34,40}"),
    KeyFormat("LangSmith", ("lsv2_",), r"lsv2_(?:pt|sk)_[0-9a-f]{32}_[0-9a-f]{10}"),
    KeyFormat(
        "Mistral",
        _spellings("mistral"),
        _assigned("mistral", r"[A-Za-z0-9]{32}"),
        context=True,
        check=is_random,
    ),
    KeyFormat("NVIDIA", ("nvapi-",), r"nvapi-[A-Za-z0-9_-]{64}"),
    KeyFormat(
        "OpenAI",
        ("sk-",),
        r"sk-(?:[A-Za-z0-9_-]{16,120}?T3BlbkFJ[A-Za-z0-9_-]{16,120}"
        r"|(?:proj|svcacct|admin|or-v1)-[A-Za-z0-9_-]{20,200}|[A-Za-z0-9]{32,64})",
        check=is_random,
    ),
    KeyFormat("Perplexity", ("pplx-",), r"pplx-[A-Za-z0-9]{48}"),
    KeyFormat("Pinecone", ("pcsk_",), r"pcsk_[A-Za-z0-9]{4,8}_[A-Za-z0-9]{50,70}"),
    KeyFormat("Replicate", ("r8_",), r"r8_[A-Za-z0-9]{37}"),
    KeyFormat("Tavily", ("tvly-",), r"tvly-(?:dev-|prod-)?[A-Za-z0-9]{32}"),
    KeyFormat("xAI", ("xai-",), r"xai-[A-Za-z0-9]{80}"),
    # monitoring and work
    KeyFormat("Airtable", ("pat",), r"pat[A-Za-z0-9]{14}\.[0-9a-f]{64}"),
    KeyFormat("Dynatrace", ("dt0c01.", "dt0s"), r"dt0[a-z][0-9]{2}\.[A-Z0-9]{8,24}\.[A-Z0-9]{64}"),
    KeyFormat("Figma", ("figd_",), r"figd_[A-Za-z0-9_-]{40,60}"),
    KeyFormat(
        "Grafana", ("glsa_", "glc_"), r"glsa_[A-Za-z0-9]{32}_[0-9a-fA-F]{8}|glc_[A-Za-z0-9+/]{32,400}={0,3}"
    ),
    KeyFormat("Grafana, early", ("eyJrIjoi",), r"eyJrIjoi[A-Za-z0-9]{60,400}={0,3}"),
    KeyFormat("Intercom", ("ico-",), r"ico-[A-Za-z0-9]{32}"),
    KeyFormat(
        "JWT",
        ("eyJ",),
        r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{8,2000}\.[A-Za-z0-9_-]{8,8000}(?:\.[A-Za-z0-9_-]{0,4000}){0,3}",
        check=_is_jwt,
    ),
    KeyFormat("Linear", ("lin_api_",), r"lin_api_[A-Za-z0-9]{40}"),
    KeyFormat(
        "New Relic",
        ("NRAK-", "NRII-", "NRIQ-", "NRJS-", "NRRA-"),
        r"NR(?:AK|II|IQ|JS|RA)-[A-Za-z0-9_-]{19,42}",
    ),
    KeyFormat("New Relic licence", ("NRAL",), r"[0-9a-f]{36}NRAL|[0-9a-f]{32}FFFFNRAL", lead=(36, 36)),
    KeyFormat("Notion", ("ntn_", "secret_"), r"ntn_[A-Za-z0-9]{40,50}|secret_[A-Za-z0-9]{43}"),
    KeyFormat(
        "1Password",
        ("A3-", "ops_eyJ"),
        r"A3-[A-Z0-9]{6}-(?:[A-Z0-9]{11}|[A-Z0-9]{6}-[A-Z0-9]{5})(?:-[A-Z0-9]{5}){3}|ops_eyJ[A-Za-z0-9+/]{250,2000}={0,3}",
    ),
    KeyFormat(
        "PagerDuty",
        ("pagerduty", "PAGERDUTY", "PagerDuty", "pd_"),
        _assigned(r"pagerduty|pd_", r"[A-Za-z0-9+_-]{20}|[0-9a-f]{32}"),
        context=True,
        check=is_random,
    ),
    KeyFormat("Postman", ("PMAK-",), r"PMAK-[0-9a-f]{24}-[0-9a-f]{34}"),
    KeyFormat("Prefect", ("pnu_",), r"pnu_[A-Za-z0-9]{36}"),
    KeyFormat("ReadMe", ("rdme_",), r"rdme_[a-z0-9]{70}"),
    KeyFormat("Sentry", ("sntrys_", "sntryu_"), r"sntrys_eyJ[A-Za-z0-9+/=_-]{60,500}|sntryu_[0-9a-f]{64}"),
    KeyFormat(
        "Sentry DSN",
        (".ingest.", "@sentry."),
        r"://(?P<key>[0-9a-f]{32}(?::[0-9a-f]{32})?)@(?:o[0-9]{1,12}\.)?(?:ingest\.|sentry\.)",
        lead=(35, 82),
        context=True,
    ),
    # whoever it is for
    KeyFormat(
        "Authorization header",
        ("Bearer ", "bearer ", "Basic ", "basic "),
        r"(?i:bearer|basic) (?P<key>[A-Za-z0-9+/_.~-]{20,1000}={0,2})(?![\w/+-])",
        context=True,
        check=is_random,
    ),
)


def _line_before(text: str, start: int) -> str:
    return text[max(0, start - _HASH_CONTEXT) : start].rpartition("\n")[2]


def _finder(format_: KeyFormat) -> Callable[[str, Sequence[Hit]], Iterator[Span]]:
    bounded = format_.pattern if format_.context else f"{_START}(?:{format_.pattern}){_END}"
    pattern = re.compile(bounded)
    group = "key" if "key" in pattern.groupindex else 0
    fewest, most = format_.lead

    def find(text: str, hits: Sequence[Hit]) -> Iterator[Span]:
        after = 0  # the last key
        for position in (hit.position for hit in hits):
            for start in range(max(after, position - most), position - fewest + 1):
                if match := pattern.match(text, start):
                    after = match.end()
                    key = match[group]
                    right = not is_example(key) and (format_.check is None or format_.check(key))
                    right = right and not is_hash_name(_line_before(text, start))
                    if right and not is_in_blob(text, *match.span(group)):
                        yield Span(*match.span(group), "KEY")
                    break

    return find


KEYS = tuple(
    Detector(format_.name, tuple(literal.encode() for literal in format_.literals), _finder(format_))
    for format_ in KEY_FORMATS
)
