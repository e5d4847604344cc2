"""HubSpot's strings and what they mean, and the way back."""

from datetime import UTC, date, datetime, time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lastseat.model import Record
from lastseat.stores.hubspot_codec import Codec, instant_of

CODEC = Codec("America/Toronto")
MIDNIGHT_UTC, EVENING_BEFORE = "1772668800000", "1772665200000"  # 2026-03-05T00:00Z and an hour before


def exam(**properties: str | None):
    return CODEC.exam_facts(Record(hubspot_id="7", properties=properties))


def a_booking(**properties: str | None):
    return CODEC.booking_facts(Record(hubspot_id="7", properties=properties))


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("2026-03-05", "2026-03-05"),
        (MIDNIGHT_UTC, "2026-03-05"),
        ("2026-03-05T00:00:00Z", "2026-03-05"),
        (EVENING_BEFORE, "2026-03-04"),
        ("2026-03-06T04:30:00Z", "2026-03-05"),
        ("2026-03-05T23:30:00", "2026-03-05"),
    ],
)
def test_a_date_is_the_schools_day(text, day):
    assert exam(exam_date=text).fields["exam_date"] == day


@pytest.mark.parametrize(
    ("text", "clock"),
    [
        ("14:00", "14:00"),
        ("9:05", "09:05"),
        ("14:00:00", "14:00"),
        ("2:30 PM", "14:30"),
        ("12:00 am", "00:00"),
        ("2026-03-05T14:00", "14:00"),
        ("2026-03-05T19:00:00Z", "14:00"),
        ("1772737200000", "14:00"),
    ],
)
def test_a_time_is_hours_and_minutes_at_the_school(text, clock):
    assert exam(start_time=text).fields == {"start_time": clock}


@pytest.mark.parametrize(
    ("day", "clock", "instant"),
    [
        ("2026-03-05", "14:00", "2026-03-05T19:00:00+00:00"),
        ("2026-07-05", "14:00", "2026-07-05T18:00:00+00:00"),
        ("2026-03-05", "23:30", "2026-03-06T04:30:00+00:00"),
        ("2026-03-08", "09:00", "2026-03-08T13:00:00+00:00"),  # the clocks changed that night
    ],
)
def test_a_start_is_an_instant_across_time_zones_and_clock_changes(day, clock, instant):
    assert exam(exam_date=day, start_time=clock).fields["starts_at"] == instant


def test_a_start_needs_both_its_parts():
    assert "starts_at" not in exam(exam_date="2026-03-05").fields
    assert "starts_at" not in exam(exam_date="soon", start_time="14:00").fields
    assert exam(exam_date="2026-03-05", start_time="").fields["starts_at"] is None


def test_a_start_that_cannot_be_read_does_not_leave_the_start_of_another_day():
    facts = exam(exam_date="2026-03-05", start_time="noonish")
    assert facts.fields["starts_at"] is None
    assert "start_time" not in facts.fields


@pytest.mark.parametrize(
    ("day", "instant"),
    [
        ("2026-03-05", "2026-03-06T05:00:00+00:00"),  # 23:30 in Toronto is 04:30 UTC and still this day
        ("2026-07-05", "2026-07-06T04:00:00+00:00"),
        ("2026-03-08", "2026-03-09T04:00:00+00:00"),  # a day of 23 hours
    ],
)
def test_a_day_ends_at_midnight_in_the_schools_zone_whatever_the_start(day, instant):
    for start in ({}, {"start_time": ""}, {"start_time": "noonish"}, {"start_time": "14:00"}):
        assert exam(exam_date=day, **start).fields["day_ends_at"] == instant
    assert exam(exam_date="").fields == {"exam_date": None, "day_ends_at": None, "starts_at": None}


@pytest.mark.parametrize("text", ["", None, "  "])
def test_cleared_is_none_and_absent_is_not_there(text):
    assert exam(location=text, capacity=text).fields == {"location": None, "capacity": None}
    assert exam().fields == {}


@pytest.mark.parametrize("text", ["many", "-1", "2.5", "1e12", "NaN", "Infinity", "0x10"])
def test_a_capacity_that_cannot_be_read_is_reported_and_never_zero(text):
    facts = exam(capacity=text, location="Online")
    assert facts.fields == {"location": "Online"}
    assert text in facts.rejected[0]


def test_counts_are_whole_numbers():
    assert exam(capacity="20", total_bookings="20.0").fields == {"capacity": 20, "total_bookings": 20}


@pytest.mark.parametrize("facts", [exam(exam_date="soon"), exam(start_time="25:00"), exam(start_time="13:00 PM")])
def test_a_date_or_time_that_cannot_be_read_is_left_out(facts):
    assert facts.fields == {}
    assert len(facts.rejected) == 1


def test_the_last_day_of_all_breaks_nothing():
    facts = exam(exam_date="9999-12-31", start_time="23:30")
    assert "starts_at" not in facts.fields
    assert facts.rejected


@pytest.mark.parametrize(
    ("text", "state"),
    [("active", "active"), ("true", "active"), ("Yes", "active"), ("FALSE", "inactive"), ("scheduled", "scheduled")],
)
def test_exam_states_have_one_spelling(text, state):
    assert exam(is_active=text).fields == {"is_active": state}


@pytest.mark.parametrize(
    ("text", "state"),
    [("Active", "Active"), ("active", "Active"), ("true", "Active"), ("canceled", "Cancelled"), ("Failed", "Failed")],
)
def test_booking_states_have_one_spelling(text, state):
    assert a_booking(is_active=text).fields == {"is_active": state}


def test_an_unknown_state_is_reported():
    assert exam(is_active="perhaps").rejected == ["is_active 'perhaps' cannot be read"]
    assert a_booking(is_active="perhaps").fields == {}


def test_the_unique_property_is_the_key_and_the_old_text_stays():
    old = "Situational Judgment-TRAINEE0142-March 5, 2026"
    facts = Codec("America/Toronto", "lastseat_id").booking_facts(
        Record(hubspot_id="7", properties={"booking_id": old, "lastseat_id": "LS-1", "dominant_hand": "left"})
    )
    assert facts.key == "LS-1"
    assert facts.fields == {"booking_id": old, "dominant_hand": "left"}
    assert a_booking(booking_id="LS-2").key == "LS-2"


def test_characters_that_postgres_refuses_are_left_out():
    assert a_booking(student_name="Zo\x00e\ud800 O'Neil").fields == {"student_name": "Zoe O'Neil"}


def test_instants_come_from_the_record_or_its_system_properties():
    properties: dict[str, str | None] = {"hs_createdate": "2026-03-05T14:00:00Z", "lastmodifieddate": "1772737200000"}
    facts = CODEC.contact_facts(Record(hubspot_id="7", properties=properties | {"email": "A@Example.org"}))
    assert facts.created_at == datetime(2026, 3, 5, 14, tzinfo=UTC)
    assert facts.updated_at == datetime(2026, 3, 5, 19, tzinfo=UTC)
    assert facts.fields == {"email": "a@example.org"}
    assert instant_of("soon") is None


def test_values_go_out_as_strings_and_none_clears():
    sent = CODEC.encode(
        {
            "a": None,
            "b": True,
            "c": 3,
            "d": date(2026, 3, 5),
            "e": time(9, 5),
            "f": datetime(2026, 3, 5, 14, tzinfo=UTC),
            "g": "x",
        }
    )
    assert sent == {
        "a": "",
        "b": "true",
        "c": "3",
        "d": "2026-03-05",
        "e": "09:05",
        "f": "2026-03-05T14:00:00.000Z",
        "g": "x",
    }


def test_half_past_eleven_at_night_is_still_today():
    assert CODEC.business_date(datetime(2026, 3, 6, 4, 30, tzinfo=UTC)) == date(2026, 3, 5)


@given(st.dictionaries(st.sampled_from(["exam_date", "start_time", "capacity", "is_active"]), st.text(max_size=30)))
def test_no_text_whatever_breaks_the_reading(properties):
    facts = exam(**properties)
    assert set(facts.fields) <= {*properties, "starts_at", "day_ends_at"}


@given(st.dates(date(2000, 1, 1), date(2100, 1, 1)), st.times())
def test_what_goes_out_comes_back(day, clock):
    sent = CODEC.encode({"exam_date": day, "start_time": clock})
    assert exam(**sent).fields | {"starts_at": None, "day_ends_at": None} == {
        "exam_date": day.isoformat(),
        "start_time": clock.strftime("%H:%M"),
        "starts_at": None,
        "day_ends_at": None,
    }
