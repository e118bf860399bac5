"""Leases: one has it while it is seen at work; an earlier life of one's own does not count."""

import os

import pytest

from repro.data import lease
from repro.data.lease import Holder


def test_one_has_it_until_it_stays_silent(tmp_path):
    path, one, other = tmp_path / "lease", Holder.new("1"), Holder.new("2")
    assert lease.take(path, one) and lease.held(path, other)
    assert not lease.take(path, other)
    os.utime(path, (0, 0))
    assert not lease.held(path, other)
    assert lease.take(path, other)
    assert not lease.take(path, one)  # taking it over is a sign of life
    os.utime(path, (0, 0))
    lease.touch(path)
    assert not lease.take(path, one)
    assert [entry.name for entry in tmp_path.iterdir()] == ["lease"]


def test_an_earlier_life_is_over(tmp_path):
    path = tmp_path / "lease"
    assert lease.take(path, Holder.new("1"))
    again = Holder.new("1")
    assert lease.take(path, again)
    assert not lease.take(path, again)  # another worker of the same process
    assert not lease.take(path, Holder.new("11"))


def test_one_that_is_not_written_yet_is_held(tmp_path):
    (tmp_path / "lease").touch()
    assert not lease.take(tmp_path / "lease", Holder("", "x"))


def test_a_file_that_is_gone_is_nobodys(tmp_path):
    lease.touch(tmp_path / "lease")
    assert not lease.held(tmp_path / "lease", Holder.new("1"))
    with pytest.raises(FileNotFoundError):
        lease.take(tmp_path / "gone" / "lease", Holder.new("1"))
