"""Trust anchors from text."""

from stack.dns import root
from stack.dns.anchors import parse

KSK = (
    "AwEAAaz/tAm8yTn4Mfeh5eyI96WSVexTBAvkMgJzkKTOiW1vkIbzxeF3+/4RgWOq7HrxRixHlFlExOLAJr5emLvN7SWX"
    "gnLh4+B5xQlNVz8Og8kvArMtNROxVQuCaSnIDdD5LKyWbRd2n9WGe2R8PzgCmr3EgVLrjyBxWezF0jLHwVN8efS3rCj/"
    "EWgvIWgb9tarpVUDK/b58Da+sqqls3eNbuv7pr+eoZG+SrDK6nWeL3c6H5Apxz7LjVc1uTIdsIXxuOLYA4/ilBmSVIzu"
    "DWfdRUfhHdY6+cn8HFRm+2hM8AnXGXws9555KrUB5qihylGa8subX2Nn6UwNR1AkUTV74bU="
)
DS = root.ANCHORS[0]


def test_forms():
    want = parse(DS)
    assert len(want) == 1 and want[0][:4] == b"\x4f\x66\x08\x02" and len(want[0]) == 36
    head, digest = DS.rsplit(" ", 1)
    for text in (
        ". IN DS " + DS, ".\t172800 IN DS " + DS.lower(), "DS " + DS,
        "; root\n\n" + DS + " ; 2017\n",
        head + " " + digest[:30] + " " + digest[30:],
        ". IN DNSKEY 257 3 8 " + KSK, ". 3600 IN DNSKEY 257 3 8 " + KSK[:50] + " " + KSK[50:],
    ):  # fmt: skip
        assert parse(text) == want, text
    assert len(parse("\n".join(root.ANCHORS))) == 2


def test_wrong():
    for text in (
        "", "; nothing", "20326 8 2", DS[:-1], DS + "00", DS[:-1] + "X", "x " + DS,
        "70000 8 2 " + DS.split()[-1], "20326 8 1 " + DS.split()[-1], "example. IN DS " + DS,
        ". IN DNSKEY 256 3 8 " + KSK, ". IN DNSKEY 257 2 8 " + KSK, ". IN DNSKEY 257 3 5 " + KSK,
    ):  # fmt: skip
        try:
            parse(text)
        except ValueError:
            continue
        raise AssertionError(text)
