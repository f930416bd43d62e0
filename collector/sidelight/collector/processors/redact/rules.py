"""The redaction rules: what looks like personal data or a secret, and what proves it.

A rule's body is RE2 syntax over UTF-8. Where it has a group, the group is what is masked and
the rest of the match is context that stays.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

Check = Callable[[bytes], int | None]
"""Takes the text that would be masked and says how many of its bytes to mask, None for none."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One kind of thing to mask."""

    name: str
    meaning: str
    body: str
    """RE2 pattern, without a condition on its neighbours: see `is_word`."""
    mark: str
    check: Check | None = None
    is_word: bool = True
    """Whether a letter or digit right before or behind forbids a match."""
    is_number: bool = False
    """Whether a digit and a point before it forbid a match too: the rest of a float."""
    trigger: str = ""
    """A pattern that is found wherever something will be masked, if cheaper than `body`; empty:
    `body` itself. One of the two must be ASCII, because it is looked for in bytes."""
    is_own: bool = False
    """Whether it comes from the configuration."""


# Issuer ranges as (first, last, digits of the prefix, lengths), from ISO/IEC 7812 lists.
_CARD_ISSUERS = (
    (4, 4, 1, (13, 16, 19)),  # Visa
    (51, 55, 2, (16,)),  # Mastercard
    (2221, 2720, 4, (16,)),  # Mastercard
    (34, 34, 2, (15,)),  # American Express
    (37, 37, 2, (15,)),  # American Express
    (6011, 6011, 4, (16, 17, 18, 19)),  # Discover
    (644, 649, 3, (16, 17, 18, 19)),  # Discover
    (65, 65, 2, (16, 17, 18, 19)),  # Discover
    (300, 305, 3, (14, 15, 16)),  # Diners Club
    (36, 36, 2, (14, 15, 16)),  # Diners Club
    (38, 39, 2, (14, 15, 16)),  # Diners Club
    (3528, 3589, 4, (16, 17, 18, 19)),  # JCB
    (62, 62, 2, (16, 17, 18, 19)),  # UnionPay
    (50, 50, 2, (13, 14, 15, 16, 17, 18, 19)),  # Maestro
    (56, 58, 2, (13, 14, 15, 16, 17, 18, 19)),  # Maestro
    (60, 61, 2, (13, 14, 15, 16, 17, 18, 19)),  # Maestro, RuPay
    (63, 63, 2, (13, 14, 15, 16, 17, 18, 19)),  # Maestro
    (67, 67, 2, (13, 14, 15, 16, 17, 18, 19)),  # Maestro
    (2200, 2204, 4, (16, 17, 18, 19)),  # Mir
)


def card(text: bytes) -> int | None:
    """A payment card number: a known issuer's prefix and length, and Luhn's check digit."""
    return next((end for end in _group_ends(text) if _is_card(_digits(text[:end]))), None)


def _is_card(digits: bytes) -> bool:
    if not any(
        len(digits) in lengths and first <= int(digits[:size]) <= last
        for first, last, size, lengths in _CARD_ISSUERS
    ):
        return False
    total = 0
    for position, character in enumerate(reversed(digits)):
        digit = character - 48
        if position % 2:
            digit = digit * 2 - 9 if digit > 4 else digit * 2
        total += digit
    return total % 10 == 0


def _digits(text: bytes) -> bytes:
    return bytes(byte for byte in text if 48 <= byte <= 57)


def _group_ends(text: bytes) -> list[int]:
    """Where a group of digits ends, the longest text first: a match may hold what follows it."""
    return [
        end
        for end in range(len(text), 0, -1)
        if text[end - 1 : end].isdigit() and not text[end : end + 1].isdigit()
    ]


# Length of an IBAN by country (SWIFT's registry, release 99).
_IBAN_LENGTHS: Mapping[str, int] = MappingProxyType(
    {
        "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22,
        "BI": 27, "BR": 29, "BY": 28, "CH": 21, "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DJ": 27,
        "DK": 18, "DO": 28, "EE": 20, "EG": 29, "ES": 24, "FI": 18, "FK": 18, "FO": 18, "FR": 27,
        "GB": 22, "GE": 22, "GI": 23, "GL": 18, "GR": 27, "GT": 28, "HN": 28, "HR": 21, "HU": 28,
        "IE": 22, "IL": 23, "IQ": 23, "IS": 26, "IT": 27, "JO": 30, "KW": 30, "KZ": 20, "LB": 28,
        "LC": 32, "LI": 21, "LT": 20, "LU": 20, "LV": 21, "LY": 25, "MC": 27, "MD": 24, "ME": 22,
        "MK": 19, "MN": 20, "MR": 27, "MT": 31, "MU": 30, "NI": 28, "NL": 18, "NO": 15, "OM": 23,
        "PK": 24, "PL": 28, "PS": 29, "PT": 25, "QA": 29, "RO": 24, "RS": 22, "RU": 33, "SA": 24,
        "SC": 31, "SD": 18, "SE": 24, "SI": 19, "SK": 24, "SM": 27, "SO": 23, "ST": 25, "SV": 28,
        "TL": 23, "TN": 24, "TR": 26, "UA": 29, "VA": 22, "VG": 24, "XK": 20, "YE": 30,
    }
)  # fmt: skip


def iban(text: bytes) -> int | None:
    """An IBAN: its country's length and the check digits of ISO 7064 (mod 97)."""
    wanted = _IBAN_LENGTHS.get(text[:2].decode().upper())
    if wanted is None:
        return None
    ends = [end for end, byte in enumerate(text, 1) if byte not in b" -"]
    end = ends[wanted - 1] if len(ends) >= wanted else 0
    # A longer word is not an IBAN of this country.
    if not end or text[end : end + 1].isalnum():
        return None
    compact = text[:end].translate(None, b" -").decode()
    number = "".join(str(int(character, 36)) for character in compact[4:] + compact[:4])
    return end if int(number) % 97 == 1 else None


def _iban_trigger() -> str:
    """Hexadecimal ids, of which traces are full, look like IBANs of six countries; five of
    them have digits only, and the sixth begins with eight.
    """
    digits_only = {"AE", "BA", "BE", "DE", "EE"}
    others = "|".join(sorted(_IBAN_LENGTHS.keys() - digits_only - {"AD"}))
    return (
        rf"(?i:{others})[0-9]{{2}}[ -]?[A-Za-z0-9]{{4}}[ -]?[A-Za-z0-9]{{4}}[ -]?[A-Za-z0-9]{{3}}"
        rf"|(?i:{'|'.join(sorted(digits_only))})[0-9]{{2}}(?:[ -]?[0-9]{{4}}){{3}}"
        r"|(?i:AD)[0-9]{2}(?:[ -]?[0-9]{4}){2}"
    )


def phone(text: bytes) -> int | None:
    """A telephone number has 8 to 15 digits (E.164); behind a bare 00 at least 10 more."""
    least, most = (12, 17) if text.startswith(b"00") else (8, 15)
    ends = _group_ends(text)
    return next((end for end in ends if least <= len(_digits(text[:end])) <= most), None)


def _has_digit(text: bytes) -> int | None:
    return len(text) if any(48 <= byte <= 57 for byte in text) else None


def _is_credentials(text: bytes) -> int | None:
    try:
        decoded = base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
    except binascii.Error:
        return None
    return len(text) if b":" in decoded else None


# Latin, Greek and Cyrillic letters and accents, also as JSON escapes. Scripts written
# without spaces are left out: an address among them would take the sentence with it.
_ALPHA = r"(?:[A-Za-z\x{C0}-\x{52F}]|\\u0[0-5][0-9a-fA-F]{2})"
_LETTER = rf"(?:[0-9]|{_ALPHA})"
_TOKEN = "[A-Za-z0-9_-]"  # noqa: S105 -- a character class
# Line ends inside JSON text are escapes, one backslash for each level of nesting.
_KEY_BLOCK = r"(?:[A-Za-z0-9+/=\s:,.-]|\\+[nrt])"
_KEY_BEGIN = r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"

RULES: tuple[Rule, ...] = (
    Rule(
        "private_key",
        "private key blocks in PEM or PGP armour, also when cut off",
        rf"{_KEY_BEGIN}{_KEY_BLOCK}*?-----END [A-Z0-9 ]{{0,40}}KEY(?: BLOCK)?-----"
        rf"|{_KEY_BEGIN}{_KEY_BLOCK}*",
        "[private_key]",
        is_word=False,
        trigger="-----BEGIN [A-Z0-9 ]*PRIVATE",
    ),
    Rule(
        "jwt",
        "JSON web tokens",
        rf"eyJ{_TOKEN}{{8,}}(?:\.{_TOKEN}*){{2,4}}",
        "[jwt]",
        trigger=rf"eyJ{_TOKEN}+\.",
    ),
    Rule(
        "authorization",
        "tokens behind Bearer",
        r"(?i:bearer)(?:\s|%20|\+)+([A-Za-z0-9._~+/-]{12,}=*)",
        "[token]",
        trigger="(?i:bearer)",
        check=_has_digit,
    ),
    Rule(
        "basic_authorization",
        "credentials behind Basic, if they decode to user:password",
        r"(?i:basic)\s+([A-Za-z0-9+/]{8,}={0,2})",
        "[token]",
        check=_is_credentials,
    ),
    Rule(
        "url_password",
        "passwords in URLs",
        r"://[^\s/@:\"'\\]*:([^\s/@\"'\\\[][^\s/@\"'\\]*)@",
        "[password]",
        is_word=False,
    ),
    Rule(
        "api_key",
        "keys and tokens with the prefixes of OpenAI, Anthropic, Langfuse, Hugging Face, AWS, "
        "GitHub, GitLab, Google, Slack, Stripe and others",
        "|".join(
            (
                rf"(?:sk|pk|rk)-{_TOKEN}{{16,}}",  # OpenAI, Anthropic, Langfuse, OpenRouter
                r"(?:sk|rk|pk|whsec)_(?:live|test)_[A-Za-z0-9]{16,}",  # Stripe
                r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}",  # AWS
                r"gh[pousr]_[A-Za-z0-9]{30,}",  # GitHub
                r"github_pat_[A-Za-z0-9_]{22,}",
                rf"glpat-{_TOKEN}{{20,}}",  # GitLab
                r"hf_[A-Za-z0-9]{30,}",  # Hugging Face
                rf"AIza{_TOKEN}{{35,}}",  # Google
                r"ya29\.[A-Za-z0-9._-]{20,}",
                r"xox[abeoprs]-[A-Za-z0-9-]{10,}",  # Slack
                rf"(?:gsk|r8|pcsk|fw|tvly|lsv2_pt|lsv2_sk)_{_TOKEN}{{20,}}",
                rf"(?:nvapi|xai|pplx|pypi|tvly)-{_TOKEN}{{20,}}",
                r"npm_[A-Za-z0-9]{36}",
                r"dop_v1_[a-f0-9]{64}",
                r"dapi[a-f0-9]{32}",  # Databricks
                rf"SG\.{_TOKEN}{{20,}}\.{_TOKEN}{{20,}}",  # SendGrid
            )
        ),
        "[api_key]",
        check=_has_digit,
    ),
    Rule(
        "aws_secret",
        "AWS secret keys where they are named",
        r"(?i:secret_?-?access_?-?key)[\"'\\:=\s]{1,12}([A-Za-z0-9/+]{40})",
        "[api_key]",
        is_word=False,
        trigger="(?i:secret_?-?access_?-?key)",
    ),
    Rule(
        "email",
        "e-mail addresses, also percent-encoded",
        rf"(?:(?:{_LETTER}|[._%+-])+')*(?:{_LETTER}|[._%+-])+(?:@|%40)"
        rf"(?:{_LETTER}(?:{_LETTER}|-)*\.)+(?:xn--[a-z0-9-]+|{_ALPHA}{{2,}})",
        "[email]",
        is_word=False,
        trigger=r"(?:@|%40)[^\s@]+\.",
    ),
    Rule(
        "iban",
        "international bank account numbers whose length and check digits are right",
        r"[A-Za-z]{2}[0-9]{2}(?:[ -]?[A-Za-z0-9]{4}){2,7}(?:[ -]?[A-Za-z0-9]{1,3})?",
        "[iban]",
        check=iban,
        # Ids in hexadecimal look alike, so countries are told apart already here.
        trigger=_iban_trigger(),
    ),
    Rule(
        "card",
        "payment card numbers with a known issuer and a right check digit (Luhn)",
        r"[2-6][0-9]{12,18}"
        r"|[2-6][0-9]{3}[ .-]?[0-9]{4}[ .-]?[0-9]{4}[ .-]?[0-9]{4}(?:[ .-]?[0-9]{1,3})?"
        r"|3[0-9]{3}[ .-]?[0-9]{6}[ .-]?[0-9]{4,5}",
        "[card]",
        check=card,
        is_number=True,
    ),
    Rule(
        "phone",
        "telephone numbers written internationally (+49 …, 0049 …) or as in North America",
        r"(?:\+|00)[1-9][0-9]{0,2}(?:[ ./-]?\(?[0-9]{1,5}\)?){1,6}"
        r"|\([0-9]{3}\) ?[0-9]{3}[ .-][0-9]{4}"
        r"|[0-9]{3}[ .-][0-9]{3}[ .-][0-9]{4}",
        "[phone]",
        check=phone,
        trigger=r"\+[1-9](?:[ ./()-]{0,3}[0-9]){7}|00[1-9](?:[ ./()-]{0,3}[0-9]){9}"
        r"|\([0-9]{3}\) ?[0-9]{3}[ .-][0-9]{4}|[0-9]{3}[ .-][0-9]{3}[ .-][0-9]{4}",
        is_number=True,
    ),
)
"""In the order in which they are applied: what holds others inside comes first."""
