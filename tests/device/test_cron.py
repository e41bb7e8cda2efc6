"""cron: fields, names, the both-day-fields rule, leap years and impossible dates."""

from fieldpost.cron import Cron

HOUR = 60
DAY = 24 * HOUR
# Days since 1970-01-01.
NEW_YEAR_2024 = 19723  # a Monday in a leap year
NEW_YEAR_2100 = 47482  # a Friday, no leap year


def ms(day, hour=0, minute=0):
    return (day * DAY + hour * HOUR + minute) * 60000


def due(text, day, hour=0, minute=0):
    """Next due time after a moment, as (day, hour, minute)."""
    result = Cron(text).next_due(ms(day, hour, minute))
    assert result % 60000 == 0
    day, minute = divmod(result // 60000, DAY)
    return day, minute // HOUR, minute % HOUR


def days(text, count, start=NEW_YEAR_2024 - 1):
    """The first days, counted from 2024-01-01 as 1, on which a midnight expression is due."""
    cron = Cron("0 0 " + text)
    now = ms(start, 23, 59)
    found = []
    for _ in range(count):
        now = cron.next_due(now)
        found.append(now // ms(1) - NEW_YEAR_2024 + 1)
    return found


def refused(text):
    try:
        Cron(text)
    except ValueError as error:
        return str(error)
    raise AssertionError(text + " was accepted")


def test_every_minute_is_strictly_after():
    cron = Cron("* * * * *")
    assert cron.next_due(0) == 60000
    assert cron.next_due(59999) == 60000
    assert cron.next_due(60000) == 120000
    assert cron.next_due(1711756800001) == 1711756860000


def test_quarter_hours():
    assert due("*/15 * * * *", 100, 10, 0) == (100, 10, 15)
    assert due("*/15 * * * *", 100, 10, 45) == (100, 11, 0)
    assert due("*/15 * * * *", 100, 23, 59) == (101, 0, 0)


def test_lists_ranges_and_steps():
    assert due("5,50 8-10 * * *", 100, 8, 5) == (100, 8, 50)
    assert due("5,50 8-10 * * *", 100, 10, 50) == (101, 8, 5)
    assert due("10-40/10 * * * *", 100, 0, 0) == (100, 0, 10)
    assert due("10-40/10 * * * *", 100, 0, 30) == (100, 0, 40)
    assert due("10-40/10 * * * *", 100, 0, 40) == (100, 1, 10)
    assert due("50/5 * * * *", 100, 0, 50) == (100, 0, 55)
    assert due("50/5 * * * *", 100, 0, 55) == (100, 1, 50)
    assert due("1-3,30/100,*/59 5 * * *", 100, 5, 3) == (100, 5, 30)


def test_names_of_months_and_weekdays():
    assert days("1 * *", 3) == [1, 32, 61]
    assert days("1 mar,DEC *", 2) == [61, 336]
    assert days("1 Jan-Mar *", 4) == [1, 32, 61, 367]
    assert days("* * mon", 2) == [1, 8]
    assert days("* * Sun", 2) == [7, 14]
    assert days("* * sat-SUN", 3) == [6, 7, 13]


def test_sunday_is_0_and_7():
    assert days("* * 0", 3) == days("* * 7", 3) == [7, 14, 21]
    assert days("* * 5-7", 4) == [5, 6, 7, 12]
    assert days("* * 0-1", 3) == [1, 7, 8]
    assert days("* * */2", 5) == [2, 4, 6, 7, 9]


def test_either_day_field_matches_where_both_are_given():
    assert days("13 * fri", 4) == [5, 12, 13, 19]
    assert days("13 * *", 2) == [13, 44]
    assert days("*/10 * mon", 5) == [1, 8, 11, 15, 21]
    assert days("1-3 2 wed", 4) == [32, 33, 34, 38]


def test_months_of_other_lengths():
    assert days("31 * *", 8) == [31, 91, 152, 213, 244, 305, 366, 397]
    assert days("30 * *", 3) == [30, 90, 121]


def test_29_february():
    assert days("29 2 *", 2) == [60, 60 + 1461]
    assert days("29 feb *", 1, start=NEW_YEAR_2024 + 59) == [60 + 1461]
    february_2096 = NEW_YEAR_2100 - 4 * 365 - 1 + 59
    assert due("0 12 29 2 *", february_2096, 11) == (february_2096, 12, 0)
    # 2100 is no leap year, 2104 is
    assert due("0 12 29 2 *", february_2096, 12) == (NEW_YEAR_2100 + 4 * 365 + 59, 12, 0)


def test_last_day_of_a_year_ahead_of_the_average_year():
    assert due("0 12 * * *", 37620, 11) == (37620, 12, 0)  # 2072-12-31


def test_before_the_clock_is_trusted():
    assert due("30 6 * * *", 0) == (0, 6, 30)
    assert due("30 6 * * thu", 0) == (0, 6, 30)  # 1970-01-01 was a Thursday
    assert due("30 6 * * wed", 0) == (6, 6, 30)


def test_impossible_dates_are_refused():
    for text in ("0 0 30 2 *", "0 0 31 feb,apr,jun,sep,nov *", "0 0 30-31 2 *"):
        assert "no year" in refused(text), text
    Cron("0 0 30 2 mon")  # the Mondays of February


def test_errors_name_the_field_and_what_is_allowed():
    for text, field, part in (
        ("60 * * * *", "minute", "60"),
        ("* 24 * * *", "hour", "24"),
        ("* * 0 * *", "day of month", "0"),
        ("* * * 13 *", "month", "13"),
        ("* * * fru *", "month", "fru"),
        ("* * * anf *", "month", "anf"),
        ("* * * * 8", "day of week", "8"),
        ("* * * * jan", "day of week", "jan"),
        ("1,,2 * * * *", "minute", ""),
        ("1,2-x * * * *", "minute", "2-x"),
        ("22-3 * * * *", "minute", "22-3"),
        ("*/0 * * * *", "minute", "*/0"),
        ("*/ * * * *", "minute", "*/"),
        ("*/mon * * * *", "minute", "*/mon"),
        ("-5 * * * *", "minute", "-5"),
        ("5- * * * *", "minute", "5-"),
        ("** * * * *", "minute", "**"),
        ("1.5 * * * *", "minute", "1.5"),
    ):
        words = refused(text)
        assert words.startswith("cron %s '%s': want " % (field, part)), words
    assert "0..59" in refused("60 * * * *")
    for text in ("", "* * * *", "* * * * * *"):
        assert "5 fields" in refused(text)
