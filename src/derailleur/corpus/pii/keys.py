"""Keys and tokens of known formats: one row a format, each found by a literal that it always contains.

A format without a literal of its own, such as a bare password or a high-entropy string, is not found here.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from derailleur.corpus.pii.spans import Detector

_START = r"(?:(?<![A-Za-z0-9])|(?<=\\[abfnrtv]))"
_END = r"(?![A-Za-z0-9])"
_ASSIGNED = r"[\"']?\s{0,4}(?:=>|:=|[:=,])\s{0,4}[brfu]?[\"']?"


@dataclass(frozen=True)
class KeyFormat:
    """One kind of key.

    Attributes:
        name: who issues it.
        literals: any key of the kind holds one of these.
        pattern: matches the key; group `key` where something around it must match too.
        context: True if `pattern` brings its own boundaries.
    """

    name: str
    literals: tuple[str, ...]
    pattern: str
    context: bool = False


KEY_FORMATS = (
    KeyFormat("age", ("AGE-SECRET-KEY-1",), r"AGE-SECRET-KEY-1[0-9A-Z]{58}"),
    KeyFormat("Anthropic", ("sk-ant-",), r"sk-ant-[A-Za-z0-9_-]{24,200}"),
    KeyFormat("Artifactory", ("AKCp",), r"AKCp[A-Za-z0-9]{60,90}"),
    KeyFormat("AWS access key", ("AKIA", "ASIA", "ABIA", "ACCA"), r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}"),
    KeyFormat(
        "AWS secret key",
        ("aws", "AWS", "Aws", "ecret", "ECRET"),
        rf"(?i:aws|secret)[\w.-]{{0,40}}{_ASSIGNED}(?P<key>(?=[A-Za-z/+]{{0,39}}[0-9])[A-Za-z0-9/+]{{40}})(?![A-Za-z0-9/+=])",
        context=True,
    ),
    KeyFormat(
        "Azure storage",
        ("AccountKey=", "SharedAccessKey="),
        r"(?:AccountKey|SharedAccessKey)=(?P<key>[A-Za-z0-9+/]{43,86}={1,2})",
        context=True,
    ),
    KeyFormat("Databricks", ("dapi",), r"dapi[0-9a-f]{32}(?:-[0-9])?"),
    KeyFormat("DigitalOcean", ("_v1_",), r"do[opr]_v1_[0-9a-f]{64}"),
    KeyFormat(
        "Discord webhook",
        ("/api/webhooks/",),
        r"discord(?:app)?\.com/api/webhooks/(?P<key>[0-9]{16,20}/[\w-]{60,90})",
        context=True,
    ),
    KeyFormat("Docker", ("dckr_",), r"dckr_(?:pat|oat)_[A-Za-z0-9_-]{27,60}"),
    KeyFormat("Figma", ("figd_",), r"figd_[A-Za-z0-9_-]{40,60}"),
    KeyFormat("GitHub", ("ghp_", "gho_", "ghu_", "ghs_", "ghr_"), r"gh[pousr]_[A-Za-z0-9]{36,251}"),
    KeyFormat("GitHub fine-grained", ("github_pat_",), r"github_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{59}"),
    KeyFormat(
        "GitLab",
        ("glpat-", "gldt-", "glrt-", "glptt-", "glcbt-", "glsoat-", "glft-", "glagent-"),
        r"gl(?:pat|dt|rt|ptt|cbt|soat|ft|agent)-[A-Za-z0-9_-]{20,100}(?:\.[a-z0-9]{2}\.[a-z0-9]{9})?",
    ),
    KeyFormat("Google", ("AIza",), r"AIza[A-Za-z0-9_-]{35}"),
    KeyFormat("Google OAuth secret", ("GOCSPX-",), r"GOCSPX-[A-Za-z0-9_-]{28}"),
    KeyFormat("Google OAuth token", ("ya29.",), r"ya29\.[A-Za-z0-9_-]{20,500}"),
    KeyFormat(
        "Grafana", ("glsa_", "glc_"), r"glsa_[A-Za-z0-9]{32}_[0-9a-fA-F]{8}|glc_[A-Za-z0-9+/]{32,400}={0,3}"
    ),
    KeyFormat("Groq", ("gsk_",), r"gsk_[A-Za-z0-9]{50,54}"),
    KeyFormat("Hugging Face", ("hf_", "api_org_"), r"(?:hf|api_org)_[A-Za-z0-9]{34,40}"),
    KeyFormat("JWT", ("eyJ",), r"eyJ[A-Za-z0-9_-]{8,4000}\.eyJ[A-Za-z0-9_-]{8,8000}\.[A-Za-z0-9_-]{16,2000}"),
    KeyFormat("Linear", ("lin_api_",), r"lin_api_[A-Za-z0-9]{40}"),
    KeyFormat("Mailchimp", tuple(f"-us{digit}" for digit in range(10)), r"[0-9a-f]{32}-us[0-9]{1,2}"),
    KeyFormat("Mailgun", ("key-",), r"key-[0-9a-z]{32}"),
    KeyFormat("New Relic", ("NRAK-",), r"NRAK-[A-Z0-9]{27}"),
    KeyFormat("Notion", ("ntn_",), r"ntn_[A-Za-z0-9]{40,50}"),
    KeyFormat("npm", ("npm_",), r"npm_[A-Za-z0-9]{36}"),
    KeyFormat(
        "npm registry",
        ("_authToken",),
        r"_authToken[ \t]{0,4}=[ \t]{0,4}[\"']?(?P<key>[A-Za-z0-9+/_=-]{20,200})",
        context=True,
    ),
    KeyFormat("OpenAI", ("T3BlbkFJ",), r"sk-[A-Za-z0-9_-]{16,120}T3BlbkFJ[A-Za-z0-9_-]{16,120}"),
    KeyFormat("OpenAI project", ("sk-",), r"sk-(?:proj|svcacct|admin|or-v1)-[A-Za-z0-9_-]{20,200}"),
    KeyFormat(
        "OpenAI style",
        ("sk-",),
        r"sk-(?=[A-Za-z0-9]{0,50}[0-9])(?=[A-Za-z0-9]{0,50}[A-Za-z])[A-Za-z0-9]{32,64}",
    ),
    KeyFormat("Postman", ("PMAK-",), r"PMAK-[0-9a-f]{24}-[0-9a-f]{34}"),
    KeyFormat("PyPI", ("pypi-AgE",), r"pypi-AgE[A-Za-z0-9_-]{32,400}"),
    KeyFormat("Replicate", ("r8_",), r"r8_[A-Za-z0-9]{37}"),
    KeyFormat("RubyGems", ("rubygems_",), r"rubygems_[0-9a-f]{48}"),
    KeyFormat("SendGrid", ("SG.",), r"SG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}"),
    KeyFormat("Sendinblue", ("xkeysib-",), r"xkeysib-[0-9a-f]{64}-[A-Za-z0-9]{16}"),
    KeyFormat("Shopify", ("shpat_", "shpca_", "shppa_", "shpss_"), r"shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}"),
    KeyFormat(
        "Slack",
        ("xoxa-", "xoxb-", "xoxe-", "xoxe.", "xoxo-", "xoxp-", "xoxr-", "xoxs-", "xapp-"),
        r"(?:xox[abeoprs][.-]|xapp-)[A-Za-z0-9-]{10,250}",
    ),
    KeyFormat(
        "Slack webhook",
        ("hooks.slack.com/",),
        r"hooks\.slack\.com/(?:services|workflows|triggers)/(?P<key>[A-Za-z0-9+/]{20,80})",
        context=True,
    ),
    KeyFormat("Square", ("sq0atp-", "sq0csp-"), r"sq0(?:atp|csp)-[A-Za-z0-9_-]{22,43}"),
    KeyFormat(
        "Stripe",
        ("sk_live_", "sk_test_", "rk_live_", "rk_test_", "whsec_"),
        r"(?:[rs]k_(?:live|test)|whsec)_[A-Za-z0-9]{16,247}",
    ),
    KeyFormat("Telegram", (":AA",), r"[0-9]{8,10}:AA[A-Za-z0-9_-]{33}"),
    KeyFormat("Terraform", (".atlasv1.",), r"[A-Za-z0-9]{14}\.atlasv1\.[A-Za-z0-9_=-]{60,70}"),
    KeyFormat(
        "Twilio",
        tuple(f"{kind}{digit}" for kind in ("AC", "SK") for digit in "0123456789abcdef"),
        r"(?:AC|SK)[0-9a-f]{32}",
    ),
    KeyFormat("Vault", ("hvs.", "hvb."), r"hv[sb]\.[A-Za-z0-9_-]{24,300}"),
)

_HEX = re.compile(r"[0-9a-f]+")


def _finder(format_: KeyFormat) -> Callable[[str], Iterator[tuple[int, int]]]:
    bounded = format_.pattern if format_.context else f"{_START}(?:{format_.pattern}){_END}"
    pattern = re.compile(bounded)
    group = "key" if "key" in pattern.groupindex else 0

    def find(text: str) -> Iterator[tuple[int, int]]:
        for match in pattern.finditer(text):
            # forty hexadecimal digits next to "secret" are a commit or a SHA-1, not an AWS key
            if group == 0 or not _HEX.fullmatch(match[group]):
                yield match.span(group)

    return find


KEYS = tuple(
    Detector("KEY", tuple(literal.encode() for literal in format_.literals), _finder(format_))
    for format_ in KEY_FORMATS
)
