"""What an answer means for each row, also when its fields are missing, odd, or made up by a value."""

import msgspec
import pytest

from lastseat.errors import Unavailable
from lastseat.stores.hubspot_answers import Answer, Sent, object_results, record_of, records_read
from tests.hubspot_client.doubles import outcomes

ROWS = [
    Sent(key=key, ident=key, names=frozenset((("objectWriteTraceId", f"t-{key}"), ("ids", key)))) for key in "ABC"
]


def answered(status: int, body: object) -> list:
    raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
    return object_results(ROWS, Answer(status=status, body=raw), lambda wire: str((wire.properties or {}).get("key")))


def result(key: str, **more: object) -> dict[str, object]:
    return {"id": f"1{key}", "properties": {"key": key}, **more}


def test_rows_are_matched_by_property_whatever_the_order():
    found = answered(200, {"results": [result("C"), result("A"), result("B")]})
    assert [row.record.hubspot_id for row in found] == ["1A", "1B", "1C"]


def test_a_property_in_lower_case_still_matches():
    assert outcomes(answered(200, {"results": [result("a"), result("b"), result("c")]})) == ["written"] * 3


def test_an_echoed_trace_id_matches_a_result_without_the_property():
    wires = [{"id": "1", "objectWriteTraceId": "t-B"}, result("A"), result("C")]
    assert outcomes(answered(200, {"results": wires})) == ["written"] * 3


def test_somebody_elses_record_is_nobodys_result():
    found = answered(200, {"results": [result("A"), result("B"), result("X")]})
    assert outcomes(found) == ["written", "written", "unknown"]


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"results": 3}', {"results": None, "errors": None}, {}])
def test_a_success_that_says_nothing_is_unknown(body):
    assert outcomes(answered(200, body)) == ["unknown"] * 3


def test_an_unreadable_result_is_unknown_and_spoils_no_other():
    assert outcomes(answered(200, {"results": [result("A"), {"nonsense": 1}, result("C")]})) == [
        "written",
        "unknown",
        "written",
    ]


def test_a_207_refuses_the_rows_it_names():
    error = {"category": "VALIDATION_ERROR", "message": "no", "context": {"objectWriteTraceId": ["t-B"]}}
    found = answered(207, {"results": [result("A"), result("C")], "numErrors": 1, "errors": [error]})
    assert outcomes(found) == ["written", "refused", "written"]
    assert found[1].reason == "no"


def test_a_207_whose_error_names_nobody_refuses_the_one_row_left():
    found = answered(207, {"results": [result("A"), result("C")], "numErrors": 1, "errors": [{"message": "no"}]})
    assert outcomes(found) == ["written", "refused", "written"]


def test_a_207_whose_errors_do_not_cover_the_rows_left_leaves_them_unknown():
    found = answered(207, {"results": [result("A")], "numErrors": 1, "errors": [{"message": "no"}]})
    assert outcomes(found) == ["written", "unknown", "unknown"]


def test_every_field_of_an_error_may_be_missing():
    assert outcomes(answered(400, {})) == ["portal"] * 3
    assert outcomes(answered(400, b"nonsense")) == ["portal"] * 3
    assert answered(503, b"")[0].reason == "HubSpot answered 503."


def test_a_batch_refused_as_a_whole_can_be_parted_but_a_missing_property_cannot():
    assert all(row.together for row in answered(400, {"message": "Duplicate IDs"}))
    listed = 'Property values were not valid: [{"message":"…","error":"PROPERTY_DOESNT_EXIST"}]'
    assert not any(row.together for row in answered(400, {"message": listed}))
    coded = {"message": "no", "errors": [{"code": "PROPERTY_DOESNT_EXIST"}]}
    assert not any(row.together for row in answered(400, coded))


def test_a_students_name_cannot_pretend_to_be_the_portals_fault():
    named = msgspec.json.encode('"error":"PROPERTY_DOESNT_EXIST"').decode()
    error = {"message": f'Property values were not valid: [{{"message":{named},"error":"INVALID_OPTION"}}]'}
    error["context"] = {"objectWriteTraceId": ["t-A"]}
    found = answered(207, {"results": [result("B"), result("C")], "errors": [error]})
    assert outcomes(found) == ["refused", "written", "written"]


def test_a_redirect_is_the_portals_fault():
    assert outcomes(answered(302, b"")) == ["portal"] * 3


def test_values_become_text_as_hubspot_would_write_them():
    wire = msgspec.json.decode(
        b'{"id": 7, "properties": {"a": true, "b": 3, "c": null}, "updatedAt": "2026-03-05T14:00:00.123Z"}',
        type=type(record_wire()),
    )
    record = record_of(wire)
    assert record.hubspot_id == "7"
    assert record.properties == {"a": "true", "b": "3", "c": None}
    assert record.updated_at is not None
    assert record.updated_at.isoformat() == "2026-03-05T14:00:00.123000+00:00"
    assert record.created_at is None


def record_wire():
    from lastseat.stores.hubspot_answers import WireRecord

    return WireRecord(id="1")


@pytest.mark.parametrize(
    ("errors", "told"),
    [
        ([{"category": "OBJECT_NOT_FOUND", "context": {"ids": ["B"]}}], True),
        ([{"category": "OBJECT_NOT_FOUND"}], True),
        ([{"message": "not found"}], True),
        ([{"category": "OBJECT_NOT_FOUND", "context": {"ids": []}}], True),
        ([{"category": "INTERNAL_ERROR", "context": {"ids": ["B"]}}], False),
        ([], False),
    ],
)
def test_only_an_answer_that_speaks_of_a_key_tells_its_absence(errors, told):
    answer = Answer(status=207, body=msgspec.json.encode({"results": [result("A")], "errors": errors}))
    if told:
        assert [record.hubspot_id for record in records_read(["A", "B"], answer)] == ["1A"]
    else:
        with pytest.raises(Unavailable, match="1 of 2"):
            records_read(["A", "B"], answer)
