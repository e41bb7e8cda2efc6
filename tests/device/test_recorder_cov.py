"""recorder: on_cov, whose time parts need no read."""

from recorder_kit import HOUR, Bench


def test_on_cov_min_holds_a_change_back():
    bench = Bench("on_cov 1 10000")
    bench.read(0)
    assert bench.run(0) == [(0, 0)]
    bench.ticks.advance(2000)
    bench.read(5)
    bench.read(6)
    assert bench.run(20000) == [(10000, 6)]


def test_on_cov_min_forgets_a_change_that_went_away():
    bench = Bench("on_cov 1 10000")
    bench.read(0)
    bench.ticks.advance(2000)
    bench.read(5)
    bench.run(3000)
    bench.read(0.5)
    assert bench.run(60000) == []


def test_on_cov_max_repeats():
    bench = Bench("on_cov 1 0 60000")
    bench.read(3)
    assert [ms for ms, _ in bench.run(250000)] == [0, 60000, 120000, 180000, 240000]
    # Counted from the last record.
    bench.read(9)
    assert [ms for ms, _ in bench.run(100000)] == [250000, 310000]


def test_on_cov_maxdiff_records_what_is_left_of_a_change():
    bench = Bench("on_cov 10 0 0 30000")
    bench.read(0)
    assert bench.run(40000) == [(0, 0)]
    bench.read(3)
    # The last record is older than that.
    assert bench.log.taken() == [(40000, 3)]
    bench.ticks.advance(1000)
    bench.read(5)
    assert bench.run(40000) == [(70000, 5)]
    assert bench.run(100000) == []


def test_on_cov_with_everything():
    bench = Bench("on_cov 2 1000 20000 5000")
    bench.read(10)
    assert bench.log.taken() == [(0, 10)]
    bench.run(0)
    bench.ticks.advance(100)
    bench.read(11)  # less than 2: after maxdiff
    assert bench.run(10000) == [(5000, 11)]
    assert bench.run(20000) == [(25000, 11)]  # max
    at = bench.now()
    bench.read(20)
    assert bench.log.taken() == [(at, 20)]
    bench.read(30)  # min
    assert bench.run(3000) == [(at + 1000, 30)]


def test_on_cov_timing_though_the_loop_is_late():
    bench = Bench("on_cov 1 0 60000", late_ms=40)
    bench.read(3)
    assert [ms for ms, _ in bench.run(200000)] == [0, 60040, 120080, 180120]


def test_a_point_that_was_down_for_weeks_is_recorded_when_it_is_back():
    # Ticks turn negative after 6.2 days, and wrap after 12.4.
    for days in (5, 7, 9, 13, 26):
        bench = Bench("on_cov 1 60000")
        bench.read(1)
        bench.log.taken()
        bench.point.fail("gone")
        assert bench.run(days * 24 * HOUR) == []
        bench.read(5)
        assert len(bench.log.taken()) == 1, days


def test_max_works_for_weeks():
    bench = Bench("on_cov 1 0 43200000")
    bench.read(1)
    assert len(bench.run(20 * 24 * HOUR)) == 41
