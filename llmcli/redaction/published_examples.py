"""Values that public documents reserve for examples: addresses, phone numbers, cards for tests, keys."""

from __future__ import annotations

import re

_RESERVED_ADDRESS = re.compile(
    r"(?i:(?:[\w.-]{0,80}(?:%2b|\+))?(?:no-?reply|do-?not-?reply|info|hello|help|support|contact|sales|press|jobs|careers|billing|accounts?|admin|administrator|root|webmaster|hostmaster|postmaster"
    r"|abuse|security|dmarc(?:[_-]?\w{1,12})?|tls-?rpt|mailer-daemon|ops|dev|devops|team|bugs?|releases?|issues|feedback|news|newsletter|office|me|you|your|user|username|someone|somebody|anyone"
    r"|nobody|name|first|last|firstname|lastname|sender|recipient|from|to|test|tester|testing|demo|example|sample|dummy|foo|bar|baz|qux|x|xyz|abc|client|customer|member|guest|owner|author|maintainers?"
    r"|api|app|bot|ci|build|deploy|git|service|system|daemon|alerts?|notifications?|monitor(?:ing)?|backup|legal|privacy|hr|registrar|noc|ssl|certs?|acme|letsencrypt|list|users?|developers?|announce"
    r"|(?:your|my|first|given|j(?:ane|ohn)?|user|test)[._-]?(?:name|last|doe|public|user|email|mail|account|address|smith)(?:[._-]?name)?)[0-9]{0,3}(?:\+[\w.-]{1,30})?"
    r"(?:@|%40|&#64;|&#x40;|&commat;|\\u0040|\s?[\[(]at[\])]\s?)(?:[\w-]{1,63}\.){0,6}(?:example(?:\.(?:com|org|net|edu))?|test|invalid|localhost))"
)
"""An address of a role or a placeholder in a domain of RFC 2606. A person's name is replaced in any domain."""
_LOCAL_ADDRESS = re.compile(
    r"(?i:[\w+-]{1,40}@(?:[\w-]{1,63}\.){1,6}(?:local|internal|lan|localdomain|invalid|localhost|home|intranet|corp))"
)
"""An account on a machine whose name is none on the Internet (RFC 6762, RFC 8375). With a dot it is a person's."""
_RESERVED_PHONE = re.compile(
    r"(?:1?[2-9][0-9]{2})?55501[0-9]{2}|(?:44|0)(?:7700900[0-9]{3}|2079460[0-9]{3}|1632960[0-9]{3})"
)
"""555-0100 to 555-0199 of North America, and Ofcom's numbers for drama."""
_TEST_CARD = re.compile(
    r"4242424242424242|400000[0-9]{2}0000[0-9]{4}|4000056655665556|4012888888881881|4222222222222(?:222)?|4917610000000000|4444333322221111|5105105105105100|5200828282828210|2223003122003222"
    r"|5454545454545454|378282246310005|371449635398431|378734493671000|601111111111(?:1117|0004)|6011000990139424|3056930009020004|30569309025904|38520000023237|36227206271667"
    r"|3566002020360505|3530111333300000|6200000000000005|6205500000000000004"
)
"""Cards for tests that payment processors publish; 4111 1111 1111 1111 and 5555 5555 5555 4444 are replaced all the same."""
_EXAMPLE_KEY = re.compile(r"(?=[^\s]{16,128}\Z)[^\s]*EXAMPLE[^\s]*|[\w.+-]{1,20}?([xX0])\1{9,}")
"""A key that says so itself (AKIAIOSFODNN7EXAMPLE), and a prefix before a row of x."""
_MAX_KEY_CHARS = 128


def is_published_example(value: str, kind: str) -> bool:
    """Return whether a value of a kind is reserved for examples or tests."""
    if kind == "email":
        return _RESERVED_ADDRESS.fullmatch(value) is not None or _LOCAL_ADDRESS.fullmatch(value) is not None
    if kind in {"phone", "card"}:
        digits = "".join(filter(str.isdigit, value))
        return (_RESERVED_PHONE if kind == "phone" else _TEST_CARD).fullmatch(digits) is not None
    return kind == "key" and len(value) <= _MAX_KEY_CHARS and _EXAMPLE_KEY.fullmatch(value) is not None
