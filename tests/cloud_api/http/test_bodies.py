import pytest

from cloud_api.http.bodies import is_json


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        ("application/json", True),
        ("Application/JSON; charset=UTF-8", True),
        ('application/json;charset="utf-8"', True),
        ("application/merge-patch+json", True),
        ("application/json; charset=utf-16", False),
        ("application/x-www-form-urlencoded", False),
        ("text/plain", False),
        ("text/json", False),
        ("multipart/form-data; boundary=application/json", False),
        ("nonsense", False),
        ("", False),
    ],
)
def test_json_is_json_in_utf_8(content_type: str, expected: bool) -> None:
    assert is_json(content_type) is expected
