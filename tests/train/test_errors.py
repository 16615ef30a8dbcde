"""What is printed for a mistake: no credentials of an address."""

import pytest

from train.errors import error_text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://me:SECRET@host/x: no", "https://...@host/x: no"),
        ("'s3://AKID:SECRET@b/k' and more", "'s3://...@b/k' and more"),
        ("s3://b/k?X-Amz-Signature=SECRET&x=1: no", "s3://b/k?...: no"),
        ("(see https://h/p?AccessKeyId=SECRET)", "(see https://h/p?...)"),
        ("line\n  https://:SECRET@h?SECRET\n", "line\n  https://...@h?..."),
        ("data/a?b@c: no such file; 10.0.0.1:22?", "data/a?b@c: no such file; 10.0.0.1:22?"),
        ("s3://bucket/a/b: gone (what now?)", "s3://bucket/a/b: gone (what now?)"),
    ],
)
def test_addresses(text: str, shown: str) -> None:
    assert error_text(text) == f"error: {shown}"
