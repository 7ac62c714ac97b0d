"""Keys and tokens that their issuer gave a form of its own. The checklist was the rules of Gitleaks and detect-secrets."""

from __future__ import annotations

import re
from collections.abc import Iterator

from llmcli.redaction.format import VALUE_END, VALUE_START, Format
from llmcli.redaction.literal_prefilter import PrefilteredPattern
from llmcli.redaction.normalization import Range
from llmcli.redaction.text_index import TextIndex

_MIXED = "a1B2c3D4e5F6g7H8j9K0mNpQrStUvWxYz"
_HEX = "0123456789abcdef9a8b7c6d5e4f3021"
_UPPER = "A1B2C3D4E5F6G7H8J9K0MNPQRSTUVWXYZ234567"
_EDGE = r"(?:(?<![A-Za-z0-9])|(?<=\\[nrtbf])|(?<=%[0-9A-Fa-f]{2})|(?<=\\u[0-9A-Fa-f]{4}))"
"""Where a token may begin: not after a letter or digit, except after an escape sequence."""


def _sample(alphabet: str, size: int) -> str:
    return (alphabet * (size // len(alphabet) + 1))[:size]


def _token(issuer: str, pattern: str, *sample: str | tuple[str, int], counter: str = "") -> Format:
    """Return the format of a token; ``sample``: the pieces of an example."""
    pieces = [piece if isinstance(piece, str) else _sample(*piece) for piece in sample]
    value = "".join(pieces)
    counter = counter or f"{pieces[0][:8]}x"
    return Format(issuer, pattern, f"{VALUE_START}{value}{VALUE_END}", counter, f"{issuer}; rules of Gitleaks")


TOKENS = (
    _token("1Password", r"ops_eyJ[A-Za-z0-9+/]{50,1000}={0,3}|A3-[A-Z0-9]{6}-[A-Z0-9]{6,11}(?:-[A-Z0-9]{5}){3,4}", "A3-", (_UPPER, 6), "-", (_UPPER, 6), "-ABCDE-FGHJK-MNPQR-23456"),
    _token("Adafruit", r"aio_[A-Za-z0-9]{28}", "aio_", (_MIXED, 28)),
    _token("Adobe", r"p8e-[A-Za-z0-9]{32}", "p8e-", (_MIXED, 32)),
    _token("age", r"AGE-SECRET-KEY-1[A-Z0-9]{50,70}", "AGE-SECRET-KEY-1", (_UPPER, 58)),
    _token("Airtable", r"pat[A-Za-z0-9]{14}\.[a-f0-9]{64}", "pat", (_MIXED, 14), ".", (_HEX, 64)),
    _token("Alibaba Cloud", r"LTAI[A-Za-z0-9]{12,26}", "LTAI", (_MIXED, 20)),
    _token("Amazon Web Services", r"A(?:KIA|SIA|BIA|CCA|GPA|IDA|IPA|NPA|NVA|ROA|3T[A-Z0-9])[A-Z0-9]{16}|ABSK[A-Za-z0-9+/]{109,269}={0,2}", "AKIA", (_UPPER, 16)),
    _token("Anthropic, OpenAI, OpenRouter", r"sk-(?:ant|proj|svcacct|admin|or|None)-[\w-]{16,300}|sk-[A-Za-z0-9]{20,200}", "sk-proj-", (_MIXED, 48), counter="sk-list-group-item"),
    _token("Apify", r"apify_api_[A-Za-z0-9]{20,60}", "apify_api_", (_MIXED, 36)),
    _token("Artifactory", r"AKC[a-zA-Z0-9]{10,100}|AP[0-9A-F][a-zA-Z0-9]{30,80}|cmVmd[A-Za-z0-9]{59}", "AKC", "p8", (_MIXED, 68)),
    _token("Asana", r"[12]/[0-9]{15,17}(?:/[0-9]{15,17})?:[a-f0-9]{32}", "1/", ("1234567890", 16), ":", (_HEX, 32)),
    _token("Atlassian", r"ATATT3[A-Za-z0-9_\-=]{60,300}|ATCTT3[A-Za-z0-9_\-=]{60,300}|ATBB[A-Za-z0-9_=.-]{24,60}", "ATATT3", (_MIXED, 186)),
    _token("Azure: client secret", r"(?<![A-Za-z0-9_~.])[A-Za-z0-9_~.]{3}[0-9]Q~[A-Za-z0-9_~.-]{31,34}(?![\w~])", "abc8Q~", (_MIXED, 34)),
    _token("Azure: keys of services", r"[A-Za-z0-9]{32,64}(?:AIoT[A-Za-z0-9]{6}|\+AStM?[A-Za-z0-9+/=]{0,12}|AzSe[A-Za-z0-9+/=]{6,12}|APIM[A-Za-z0-9+/=]{0,12}|ACDb[A-Za-z0-9+/=]{0,12}|JQQJ9[A-Za-z0-9+/=]{4,90})", (_MIXED, 42), "AzSe", "A1b2c3"),
    _token("Beamer", r"b_[a-z0-9=_-]{44}(?![\w-])", "b_", (_HEX, 44)),
    _token("Brevo", r"xkeysib-[a-f0-9]{64}-[A-Za-z0-9]{16}|xsmtpsib-[a-f0-9]{64}-[A-Za-z0-9]{16}", "xkeysib-", (_HEX, 64), "-", (_MIXED, 16)),
    _token("Buildkite", r"bkua_[a-f0-9]{40}", "bkua_", (_HEX, 40)),
    _token("Canva, Clerk, Paddle, Polar", r"pdl_(?:live|sdbx)_[\w]{20,80}|polar_oat_[A-Za-z0-9]{30,60}|cnvca[A-Za-z0-9]{30,80}", "polar_oat_", (_MIXED, 43)),
    _token("ClickHouse Cloud", r"4b1d[A-Za-z0-9]{38}", "4b1d", (_MIXED, 38)),
    _token("Clojars", r"CLOJARS_[a-zA-Z0-9]{60}", "CLOJARS_", (_MIXED, 60)),
    _token("Cloudflare", r"v1\.0-[a-f0-9]{24}-[a-f0-9]{146}|cfut_[A-Za-z0-9]{40,60}", "v1.0-", (_HEX, 24), "-", (_HEX, 146)),
    _token("Contentful", r"CFPAT-[\w-]{43}", "CFPAT-", (_MIXED, 43)),
    _token("Databricks", r"dapi[a-f0-9]{32}(?:-[0-9])?", "dapi", (_HEX, 32)),
    _token("DigitalOcean", r"do[opr]_v1_[a-f0-9]{40,80}", "dop_v1_", (_HEX, 64)),
    _token("Discord", r"(?<![A-Za-z0-9])[MNO][\w-]{22,28}\.[\w-]{6}\.[\w-]{27,40}", "M", (_MIXED, 25), ".G1a2B3.", (_MIXED, 30)),
    _token("Docker", r"dckr_(?:pat|oat)_[\w-]{20,60}", "dckr_pat_", (_MIXED, 27)),
    _token("Doppler", r"dp\.(?:pt|st|ct|sa|scim|audit)\.(?:[\w-]{2,35}\.)?[A-Za-z0-9]{40,44}", "dp.pt.", (_MIXED, 43)),
    _token("Duffel", r"duffel_(?:test|live)_[\w=-]{43}", "duffel_test_", (_MIXED, 43)),
    _token("Dynatrace", r"dt0c01\.[A-Z0-9]{24}\.[A-Z0-9]{64}", "dt0c01.", (_UPPER, 24), ".", (_UPPER, 64)),
    _token("EasyPost", r"EZ[AT]K[A-Za-z0-9]{54}", "EZAK", (_MIXED, 54)),
    _token("Facebook", r"EAA[MC]?[A-Za-z0-9]{60,400}", "EAAM", (_MIXED, 120)),
    _token("Figma", r"fig[dou]_[\w-]{36,60}", "figd_", (_MIXED, 40)),
    _token("Flutterwave", r"FLW(?:PUB|SEC)K_TEST-[a-h0-9]{12,40}(?:-X)?|FLWSECK-[a-f0-9]{32}-X", "FLWSECK_TEST-", (_HEX, 32), "-X"),
    _token("Fly.io", r"fo1_[\w-]{43}|fm[12][ar]?_[A-Za-z0-9+/]{80,600}={0,3}", "fo1_", (_MIXED, 43)),
    _token("Frame.io", r"fio-u-[\w=-]{64}", "fio-u-", (_MIXED, 64)),
    _token("GitHub", r"gh[pousr]_[A-Za-z0-9]{30,255}|github_pat_[A-Za-z0-9_]{22,255}", "ghp_", (_MIXED, 36)),
    _token("GitLab", r"gl(?:pat|ptt|dt|rt|rtr|cbt|ft|soat|agent|oas|imt|ffct|wt)-[\w.-]{20,300}|GR1348941[\w-]{20,50}|_gitlab_session=[a-z0-9]{32}", "glpat-", (_MIXED, 20)),
    _token("GoCardless", r"live_[\w=-]{40}(?![\w-])", "live_", (_MIXED, 40)),
    _token("Google", r"AIza[\w-]{30,50}|ya29\.[\w-]{20,1000}|GOCSPX-[\w-]{20,50}|1//0[\w-]{40,200}", "AIza", (_MIXED, 35)),
    _token("Grafana", r"glc_[A-Za-z0-9+/]{32,400}={0,3}|glsa_[A-Za-z0-9]{32}_[A-Fa-f0-9]{8}", "glsa_", (_MIXED, 32), "_", "0a1b2c3d"),
    _token("Harness", r"(?:pat|sat)\.[\w-]{22}\.[a-f0-9]{24}\.[A-Za-z0-9]{20}", "pat.", (_MIXED, 22), ".", (_HEX, 24), ".", (_MIXED, 20)),
    _token("HashiCorp", r"[A-Za-z0-9]{14}\.atlasv1\.[\w=-]{60,70}|hv[sbr]\.[\w-]{20,300}", "hvs.", (_MIXED, 95)),
    _token("Heroku", r"HRKU-[\w-]{36,70}", "HRKU-AA", (_MIXED, 58)),
    _token("HubSpot", r"pat-(?:na|eu|ap)[0-9]-[a-f0-9]{8}(?:-[a-f0-9]{4}){3}-[a-f0-9]{12}", "pat-na1-", "0a1b2c3d-0a1b-4c2d-8e3f-0a1b2c3d4e5f"),
    _token("Hugging Face", r"(?:hf_|api_org_)[A-Za-z0-9]{20,100}", "hf_", (_MIXED, 34)),
    _token("Infracost", r"ico-[a-zA-Z0-9]{32}", "ico-", (_MIXED, 32)),
    _token("JSON Web Token", r"eyJ[\w-]{8,4000}\.[\w-]{8,8000}(?:\.[\w-]{0,4000}){0,3}|ZXlK[A-Za-z0-9+/_-]{40,8000}={0,2}", "eyJ", (_MIXED, 30), ".eyJ", (_MIXED, 40), ".", (_MIXED, 43)),
    _token("Linear", r"lin_(?:api|oauth)_[A-Za-z0-9]{30,70}", "lin_api_", (_MIXED, 40)),
    _token("Lob", r"(?:live|test)_(?:pub_)?[a-f0-9]{31,35}(?![\w])", "live_", (_HEX, 35)),
    _token("Mailchimp", r"[a-f0-9]{32}-us[0-9]{1,2}(?![\w-])", (_HEX, 32), "-us12"),
    _token("Mailgun", r"(?:pub)?key-[a-f0-9]{32}|[a-f0-9]{32}-[a-f0-9]{8}-[a-f0-9]{8}(?![\w-])", "key-", (_HEX, 32)),
    _token("Mapbox", r"[ps]k\.[a-z0-9]{60,140}\.[\w-]{20,30}|[ps]k\.eyJ[\w-]{20,400}\.[\w-]{20,30}", "sk.", (_HEX, 60), ".", (_MIXED, 22)),
    _token("MaxMind", r"[A-Za-z0-9]{6}_[A-Za-z0-9]{29}_mmk", "a1B2c3_", (_MIXED, 29), "_mmk"),
    _token("Microsoft Teams", r"(?<=webhook\.office\.com/webhookb2/)[a-z0-9@/-]{60,300}(?:IncomingWebhook/[a-zA-Z0-9/-]{40,120})?", (_HEX, 60), counter="webhook"),
    _token("New Relic", r"NR(?:AK|JS|II|IQ|RA)-[A-Za-z0-9_-]{19,60}", "NRAK-", (_UPPER, 27)),
    _token("Notion", r"ntn_[A-Za-z0-9]{40,60}|secret_[A-Za-z0-9]{40,50}", "ntn_", (_MIXED, 46)),
    _token("npm", r"npm_[A-Za-z0-9]{30,60}", "npm_", (_MIXED, 36)),
    _token("Octopus Deploy", r"API-[A-Z0-9]{26}(?!\w)", "API-", (_UPPER, 26)),
    _token("OpenShift", r"sha256~[\w-]{43}", "sha256~", (_MIXED, 43)),
    _token("other services of models", r"gsk_[A-Za-z0-9]{20,100}|xai-[A-Za-z0-9]{20,200}|r8_[A-Za-z0-9]{30,60}|pplx-[A-Za-z0-9]{20,100}|nvapi-[\w-]{20,200}|lsv2_(?:pt|sk)_[a-f0-9_]{30,100}|fw_[A-Za-z0-9]{20,40}|tgp_v1_[\w-]{40,60}|jina_[A-Za-z0-9]{40,80}|tvly-[\w-]{20,60}|csk-[a-z0-9]{40,60}", "gsk_", (_MIXED, 52)),
    _token("Perplexity", r"pplx-[A-Za-z0-9]{48}", "pplx-", (_MIXED, 48)),
    _token("PlanetScale", r"pscale_(?:tkn|oauth|pw)_[\w=.-]{32,64}", "pscale_pw_", (_MIXED, 43)),
    _token("Plaid", r"access-(?:sandbox|development|production)-[a-f0-9]{8}(?:-[a-f0-9]{4}){3}-[a-f0-9]{12}", "access-sandbox-", "0a1b2c3d-0a1b-4c2d-8e3f-0a1b2c3d4e5f"),
    _token("PostHog", r"ph[cx]_[A-Za-z0-9]{40,60}", "phx_", (_MIXED, 43)),
    _token("Postman", r"PMAK-[a-fA-F0-9]{24}-[a-fA-F0-9]{34}", "PMAK-", (_HEX, 24), "-", (_HEX, 34)),
    _token("Prefect", r"pn[ub]_[A-Za-z0-9]{36}", "pnu_", (_MIXED, 36)),
    _token("private key of Bitcoin (WIF)", r"(?<![\w/])(?:[5KL][1-9A-HJ-NP-Za-km-z]{50,51})(?!\w)", "5", ("K1b2c3D4e5F6g7H8j9", 50)),
    _token("Pulumi", r"pul-[a-f0-9]{40}", "pul-", (_HEX, 40)),
    _token("PyPI", r"pypi-[\w-]{40,300}", "pypi-AgEIcHlwaS5vcmc", (_MIXED, 70)),
    _token("ReadMe", r"rdme_[a-z0-9]{70}", "rdme_", (_HEX, 70)),
    _token("RubyGems", r"rubygems_[a-f0-9]{40,60}", "rubygems_", (_HEX, 48)),
    _token("Scaleway", r"SCW[A-Z0-9]{17}(?!\w)", "SCW", (_UPPER, 17)),
    _token("SendGrid", r"SG\.[\w-]{16,40}\.[\w-]{16,80}", "SG.", (_MIXED, 22), ".", (_MIXED, 43)),
    _token("SendinBlue, Sentry", r"sntry[su]_[A-Za-z0-9+/=_]{60,300}", "sntryu_", (_HEX, 64)),
    _token("Settlemint", r"sm_(?:aat|pat|sat)_[A-Za-z0-9]{16}", "sm_aat_", (_MIXED, 16)),
    _token("Shippo", r"shippo_(?:live|test)_[a-f0-9]{40}", "shippo_live_", (_HEX, 40)),
    _token("Shopify", r"shp(?:at|ca|pa|ss|ua|tka)_[a-fA-F0-9]{32}", "shpat_", (_HEX, 32)),
    _token("Slack", r"xox[a-z](?:\.xox[a-z])?-[\w-]{10,400}|xapp-[\w-]{20,400}|xwfp-[\w-]{20,400}", "xoxb-123456789012-", (_MIXED, 24)),
    _token("Sonar", r"sq[upa]_[a-f0-9]{40}", "squ_", (_HEX, 40)),
    _token("Sourcegraph", r"sgp_(?:[a-fA-F0-9]{16}_|local_)?[a-fA-F0-9]{40}|slk_[a-f0-9]{64}", "sgp_", (_HEX, 40)),
    _token("Square", r"sq0[a-z]{3}-[\w-]{22,50}|EAAA[\w-]{60}", "sq0csp-", (_MIXED, 43)),
    _token("Stripe", r"(?:sk|pk|rk)_(?:live|test|prod)_[A-Za-z0-9]{10,255}|whsec_[A-Za-z0-9+/=]{20,100}", "sk_live_", (_MIXED, 24)),
    _token("Supabase", r"sb_secret_[\w-]{20,60}|sbp_[a-f0-9]{40}", "sbp_", (_HEX, 40)),
    _token("Tailscale", r"tskey-(?:api|auth|client|scim|webhook)-[A-Za-z0-9]{8,24}-[A-Za-z0-9]{20,60}", "tskey-auth-", (_MIXED, 12), "-", (_MIXED, 32)),
    _token("Telegram", r"[0-9]{8,10}:AA[\w-]{30,40}", "123456789:AA", (_MIXED, 33)),
    _token("Twilio", r"(?:AC|SK)[a-f0-9]{32}", "SK", (_HEX, 32)),
    _token("Twitter", r"A{22}[A-Za-z0-9%]{60,100}", ("A", 22), (_MIXED, 80)),
    _token("Typeform", r"tfp_[\w.=-]{59}", "tfp_", (_MIXED, 59)),
    _token("Vercel, Netlify", r"nfp_[A-Za-z0-9]{36,40}|vc[prika]_[A-Za-z0-9]{24,60}", "nfp_", (_MIXED, 36)),
    _token("VolcEngine", r"AKLT[A-Za-z0-9]{40,60}", "AKLT", (_MIXED, 44)),
    _token("WakaTime", r"waka_[a-f0-9]{8}(?:-[a-f0-9]{4}){3}-[a-f0-9]{12}", "waka_", "0a1b2c3d-0a1b-4c2d-8e3f-0a1b2c3d4e5f"),
    _token("Yandex", r"t1\.[A-Z0-9a-z_-]{20,400}={0,2}\.[A-Z0-9a-z_-]{86}={0,2}|AQVN[A-Za-z0-9_-]{35,38}|y[0-6]_[\w-]{50,100}", "AQVN", (_MIXED, 36)),
)  # fmt: skip
"""Formats of tokens by issuer, from the documentation of the issuers; they need no context."""
_PATTERN = re.compile(_EDGE + r"(?=[\w.~+/=%:-]{16})(?:" + "|".join(f"(?:{each.pattern})" for each in TOKENS) + ")")
_WEBHOOK = PrefilteredPattern(
    r"hooks\.slack\.com/(?:services|workflows|triggers)/([\w/]{20,200})|discord(?:app)?\.com/api/webhooks/([\w/-]{30,200})"
    r"|webhook\.office\.com/webhookb2/([\w@/-]{60,400})|hooks\.zapier\.com/hooks/catch/([\w/]{8,80})|logic\.azure\.com[^\s\"']{0,200}sig=([\w%-]{20,80})"
    r"|api\.telegram\.org/bot([\w:-]{30,60})"
)


def find_tokens(index: TextIndex) -> Iterator[Range]:
    """Yield keys and tokens of a known format."""
    for match in _PATTERN.finditer(index.text):
        yield match.span()


def find_webhooks(index: TextIndex) -> Iterator[Range]:
    """Yield the secret part of the addresses of webhooks."""
    for match in _WEBHOOK.finditer(index):
        yield match.span(match.lastindex or 0)
