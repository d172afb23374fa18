import re
import urllib.parse
from collections.abc import Callable

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from personas.phone import MAX_RAW_CHARS, DialedNumber, PhoneNumber, digits_of, parse, read_dialed

US = "+18655701159"
BERLIN = "+4930901820"


def full_width(text: str) -> str:
    return "".join(chr(ord(char) + 0xFEE0) if "!" <= char <= "~" else char for char in text)


@pytest.mark.parametrize(
    ("raw", "region", "expected"),
    [
        ("+18655701159", None, US),
        ("18655701159", None, US),
        ("8655701159", "US", US),
        ("8655701159", "us", US),
        ("8655701159", "IN", "+918655701159"),
        ("(865) 570-1159", "US", US),
        ("865.570.1159", "US", US),
        ("01118655701159", "US", US),
        ("0018655701159", "US", US),
        ("0018655701159", None, US),
        ("+4930901820", None, BERLIN),
        ("+49 30 901820", "US", BERLIN),
        ("+49 (0)30 901820", None, BERLIN),
        ("+49 ( 0 ) 30 901820", None, BERLIN),
        ("0049 (0)30 901820", "US", BERLIN),
        ("0049 30 901820", "SG", BERLIN),  # where 004 is a carrier's prefix
        ("(030) 901820", "DE", BERLIN),
        ("030/901820", "DE", BERLIN),
        ("4930901820", None, BERLIN),
        ("4930901820", "US", BERLIN),  # not valid at home, valid abroad
        ("+1 (0)312 555 0100", None, "+13125550100"),  # people write it where it makes no sense
        ("+39 06 1234 5678", None, "+390612345678"),
        ("+39 (0)6 1234 5678", None, "+390612345678"),  # Italy keeps its zero
        ("0011 64 9 555 0100", "AU", "+6495550100"),  # Australia's own prefix begins with 00
        ("001 49 30 901820", "KR", BERLIN),  # a carrier's prefix
        ("tel:+1-865-570-1159", None, US),
        ("TEL:8655701159;phone-context=+1", None, US),
        ("tel:555-0100;phone-context=+1-312", None, "+13125550100"),
        ("tel:+18655701159;phone-context=+49", None, US),
        ("tel:8655701159;phone-context=example.com", "US", US),
        ("tel:8655701159;isub=1;phone-context=%2B1", None, US),
        ("tel:+18655701159;ext=22", None, US),
        ("sip:+18655701159@pbx.example;user=phone", None, US),
        ("sips:+18655701159@pbx.example", None, US),
        ("sip:%2B18655701159@pbx.example", None, US),
        ("%2B18655701159", None, US),
        ("sip:+18655701159:secret@pbx.example:5060;user=phone?x=1", None, US),
        ("sip:+18655701159;npdi;phone-context=+1@pbx.example", None, US),
        ("sip:8655701159@10.0.0.7:5060", "US", US),
        ("<sip:+18655701159@pbx.example>", None, US),
        ('"Front <desk>" <sip:+18655701159@pbx.example>;tag=1', None, US),
        (full_width(US), None, US),
        (full_width("(865)570-1159"), "US", US),
        ("٨٦٥٥٧٠١١٥٩", "US", US),
        ("\u202a+18655701159\u202c", None, US),
        ("+1\u00a0865\u2011570\u20131159", None, US),
        ("+80012345678", None, "+80012345678"),  # of no country
    ],
)
def test_a_number_is_read_in_any_notation(raw: str, region: str | None, expected: str) -> None:
    number = parse(raw, region)

    assert number is not None
    assert number.e164 == expected


@pytest.mark.parametrize(
    ("raw", "region"),
    [
        ("8655701159", None),  # valid in India and in the US
        ("8655701159", "XX"),
        ("", None),
        (" ", "US"),
        ("+", None),
        ("00", "US"),
        ("0049", None),
        ("++18655701159", None),
        ("+1+8655701159", None),
        ("1-800-FLOWERS", "US"),
        ("+1 865 570 1159 x22", "US"),
        ("*678655701159", "US"),
        ("8655701159#", "US"),
        ("911", "US"),
        ("5550100", "US"),
        ("+15550100", None),  # can be dialed locally only
        ("1001", "US"),
        ("+0049", None),
        ("+4900301234567", None),  # a trunk prefix too many
        ("+1865570115912345678", None),
        ("sip:pbx.example", "US"),
        ("sip:3125550100", "US"),
        ("sip:anonymous@anonymous.invalid", "US"),
        ("tel:;phone-context=+1", "US"),
        ("\ud800", None),
        ("+1865570\x001159", None),
        ("+1865570²1159", None),
        ("+" + "1" * MAX_RAW_CHARS, None),
        ("+18655701159" + " " * MAX_RAW_CHARS, None),
    ],
)
def test_what_is_no_possible_number_is_unknown(raw: str, region: str | None) -> None:
    assert parse(raw, region) is None


def test_a_number_knows_its_notations() -> None:
    number = parse("(865) 570-1159", "US")

    assert number == PhoneNumber("+18655701159")
    assert hash(number) == hash(PhoneNumber("+18655701159", "CA"))
    assert number is not None
    assert (number.region, number.digits, number.national) == ("US", "18655701159", "8655701159")


@pytest.mark.parametrize(
    ("e164", "national"),
    [(BERLIN, "030901820"), ("+390612345678", "0612345678"), ("+79161234567", "89161234567")],
)
def test_the_national_form_has_its_trunk_prefix(e164: str, national: str) -> None:
    assert PhoneNumber(e164).national == national


def test_a_number_of_no_country_has_no_region() -> None:
    number = parse("+80012345678")

    assert number is not None
    assert number.region is None


def test_a_dialed_number_keeps_what_was_dialed() -> None:
    dialed = read_dialed("sip:030901820@10.0.0.7", "de")

    assert dialed == DialedNumber("sip:030901820@10.0.0.7", PhoneNumber(BERLIN), "DE")
    assert dialed.digits == "030901820"


def test_what_was_dialed_is_kept_within_bounds() -> None:
    dialed = read_dialed("1" * 10_000, "nowhere")

    assert dialed == DialedNumber("1" * MAX_RAW_CHARS, None, None)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("+49 (0)30 901820", "49030901820"),
        ("0049 30 901820", "004930901820"),
        ("sip:8655701159@10.0.0.7", "8655701159"),
        ("sip:10.0.0.7", None),
        ("anonymous", None),
        ("+", None),
    ],
)
def test_the_dialed_digits_are_those_and_no_others(raw: str, expected: str | None) -> None:
    assert digits_of(raw) == expected


REGIONS = ("US", "DE", "GB", "FR", "IT", "ES", "IN", "BR", "AU", "JP", "KR", "MX", "AR", "ZA", "RU")


@st.composite
def valid_numbers(draw: st.DrawFn) -> PhoneNumber:
    region = draw(st.sampled_from(REGIONS))
    kind = draw(
        st.sampled_from(
            [phonenumbers.PhoneNumberType.FIXED_LINE, phonenumbers.PhoneNumberType.MOBILE]
        )
    )
    example = phonenumbers.example_number_for_type(region, kind)
    assert example is not None
    text = phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.E164)
    digits = draw(st.text("0123456789", min_size=4, max_size=4))
    number = parse(text[:-4] + digits) or parse(text)
    assert number is not None
    is_valid = phonenumbers.is_valid_number(phonenumbers.parse(number.e164))
    return number if is_valid else PhoneNumber(text, region)


NOTATIONS: dict[str, Callable[[PhoneNumber], str]] = {
    "e164": lambda number: number.e164,
    "digits": lambda number: number.digits,
    "spaced": lambda number: re.sub(r"(\d\d)", r"\1 ", number.e164),
    "dashed": lambda number: re.sub(r"(\d\d\d)", r"\1-", number.e164),
    "international": lambda number: phonenumbers.format_number(
        phonenumbers.parse(number.e164), phonenumbers.PhoneNumberFormat.INTERNATIONAL
    ),
    "rfc3966": lambda number: phonenumbers.format_number(
        phonenumbers.parse(number.e164), phonenumbers.PhoneNumberFormat.RFC3966
    ),
    "00": lambda number: "00" + number.digits,
    "sip": lambda number: f"sip:{number.e164}@pbx.example;user=phone",
    "sip, escaped": lambda number: f"<sip:{urllib.parse.quote(number.e164)}@pbx.example>",
    "full width": lambda number: full_width(number.e164),
}


@given(number=valid_numbers(), notation=st.sampled_from(sorted(NOTATIONS)))
def test_a_valid_number_survives_every_notation(number: PhoneNumber, notation: str) -> None:
    assert parse(NOTATIONS[notation](number)) == number


@given(number=valid_numbers())
def test_a_valid_number_is_read_at_home_as_it_is_dialed_there(number: PhoneNumber) -> None:
    assert parse(number.national, number.region) == number


@given(
    number=valid_numbers(),
    home=st.sampled_from(REGIONS),
    notation=st.sampled_from(["e164", "00", "sip"]),
)
def test_an_international_number_is_the_same_in_every_region(
    number: PhoneNumber, home: str, notation: str
) -> None:
    assert parse(NOTATIONS[notation](number), home) == number


PHONEISH = st.text("0123456789+() -./;:=@<>%telsipphone-context٣\uff12", max_size=40)


@given(raw=st.text(max_size=300) | PHONEISH, region=st.none() | st.sampled_from((*REGIONS, "??")))
def test_any_text_is_a_number_or_unknown(raw: str, region: str | None) -> None:
    number = parse(raw, region)

    if number is not None:
        assert re.fullmatch(r"\+[1-9]\d{6,14}", number.e164, re.ASCII)
        assert parse(number.e164, region) == number
    read_dialed(raw, region).digits  # noqa: B018  (does not raise)


@given(digits=st.text("0123456789", min_size=5, max_size=17), region=st.sampled_from(REGIONS))
def test_what_is_read_reads_as_itself(digits: str, region: str) -> None:
    for raw in (digits, "+" + digits, "00" + digits, f"+{digits[:2]}(0){digits[2:]}"):
        number = parse(raw, region)
        assert number is None or parse(number.e164) == number
