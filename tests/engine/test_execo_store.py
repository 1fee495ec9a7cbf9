"""engine.execo_store: stores of Execo are refused, converted, and never executed."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from regisseur.engine import _store_execo
from regisseur.engine.execo_store import import_execo_store
from regisseur.engine.sweep import (
    ExecoImportError,
    ExecoStoreError,
    HashableDict,
    ParamSweeper,
    SweepStoreBusyError,
    SweepStoreMissingError,
    SweepView,
    sweep,
)

COMBINATIONS = sweep(
    {"n": [1, 2], "load": {"cpu": {"threads": [(1, 2), None]}, "mem": {}}, "name": ["\u00e9"], "raw": [b"\xff", b""]}
)


@pytest.fixture
def theirs() -> Iterator[type]:
    """A class that pickles as Execo's dict does."""
    package, module = types.ModuleType("execo_engine"), types.ModuleType("execo_engine.sweep")

    class HashableDict(dict[Any, Any]):
        def __hash__(self) -> int:  # type: ignore[override]  # as Execo's
            return hash(frozenset(self.items()))

    HashableDict.__module__, HashableDict.__qualname__ = "execo_engine.sweep", "HashableDict"
    module.HashableDict = HashableDict  # type: ignore[attr-defined]  # a module made by hand
    sys.modules.update({"execo_engine": package, "execo_engine.sweep": module})
    yield HashableDict
    del sys.modules["execo_engine"], sys.modules["execo_engine.sweep"]


def execo_directory(directory: Path, done: bytes = b"", inprogress: bytes = b"", sweeps: bytes | None = None) -> Path:
    directory.mkdir(exist_ok=True)
    (directory / "done").write_bytes(done)
    (directory / "inprogress").write_bytes(inprogress)
    if sweeps is not None:
        (directory / "sweeps").write_bytes(sweeps)
    return directory


def listing(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_store_of_any_protocol_is_converted_and_its_files_are_kept(
    tmp_path: Path, theirs: type, protocol: int
) -> None:
    elements = [theirs(each) for each in COMBINATIONS]
    execo_directory(
        tmp_path,
        b"".join(pickle.dumps(each, protocol) for each in elements[:3]),
        pickle.dumps(set(elements[3:5]), protocol),
        pickle.dumps(set(elements), protocol),
    )
    before = listing(tmp_path)
    report = import_execo_store(tmp_path)
    sweeper = ParamSweeper(tmp_path)

    assert (3, len(elements), {}) == (report.done, report.sweeps, report.torn)
    assert set(COMBINATIONS[3:5]) == set(report.given_back)
    assert set(COMBINATIONS) == set(sweeper.get_sweeps())
    assert set(COMBINATIONS[:3]) == set(sweeper.get_done())
    assert not sweeper.get_inprogress()
    assert {HashableDict} == {type(each) for each in sweeper.get_sweeps()}
    after = listing(tmp_path)
    assert before == {name.removesuffix(".execo"): data for name, data in after.items() if name.endswith(".execo")}
    assert {"done.execo", "inprogress.execo", "sweeps.execo", "sweep.log", "sweep.lock"} == set(after)


PYTHON2 = {
    0: b"ccopy_reg\n_reconstructor\np0\n(cexeco_engine.sweep\nHashableDict\np1\nc__builtin__\ndict\np2\n(dp3\n"
    b"S'a'\np4\nL7L\nsS'b'\np5\nS'\\xc3\\xa9\\xff'\np6\nsS'c'\np7\nV\\u00e9\np8\nstp9\nRp10\n.",
    2: b"\x80\x02cexeco_engine.sweep\nHashableDict\nq\x00)\x81q\x01(U\x01aq\x02\x8a\x01\x07"
    b"U\x01bq\x03U\x03\xc3\xa9\xffq\x04U\x01cq\x05X\x02\x00\x00\x00\xc3\xa9q\x06u.",
}
PYTHON2_SET = b"c__builtin__\nset\np0\n((lp1\nS'one'\np2\naI2\natp3\nRp4\n."


@pytest.mark.parametrize("protocol", PYTHON2)
def test_pickles_of_python_2_become_text(tmp_path: Path, protocol: int) -> None:
    execo_directory(tmp_path, PYTHON2[protocol] * 2, PYTHON2_SET)
    report = import_execo_store(tmp_path)
    expected = HashableDict(a=7, b="\u00e9\udcff", c="\u00e9")

    assert (report.done, report.sweeps, report.given_back) == (1, 0, [2, "one"])
    assert [expected] == list(ParamSweeper(tmp_path, [expected]).get_done())


def test_a_destination_leaves_the_source_alone(tmp_path: Path) -> None:
    source = execo_directory(tmp_path / "old", pickle.dumps(1) + pickle.dumps("two"), pickle.dumps({3}))
    before = listing(source)
    report = import_execo_store(source, tmp_path / "new")

    assert before == listing(source)
    assert str(tmp_path / "new") == report.destination
    assert list(ParamSweeper(tmp_path / "new", [1, "two", 3]).get_done()) == [1, "two"]


class TestRefusals:
    def test_an_unconverted_store_is_refused_with_the_way_to_convert_it(self, tmp_path: Path) -> None:
        execo_directory(tmp_path, pickle.dumps(1), pickle.dumps(set()))
        before = listing(tmp_path)

        for opened in (ParamSweeper, SweepView):
            with pytest.raises(ExecoStoreError, match=f"regisseur sweep import {tmp_path}"):
                opened(tmp_path)
        assert before == listing(tmp_path)

    def test_files_of_those_names_that_are_no_pickles_are_nobodys_store(self, tmp_path: Path) -> None:
        execo_directory(tmp_path, b"2024-01-01 it was done\n", b"")
        (tmp_path / "sweeps").mkdir()

        assert ParamSweeper(tmp_path, [1]).get_next() == 1
        with pytest.raises(SweepStoreMissingError):
            import_execo_store(tmp_path)

    def test_a_pickle_that_would_run_a_command_is_refused_by_name_and_does_not_run(self, tmp_path: Path) -> None:
        class Evil:
            def __reduce__(self) -> Any:
                return os.system, (f"touch {tmp_path}/ran",)

        execo_directory(tmp_path, pickle.dumps(1) + pickle.dumps(Evil()), b"")
        before = listing(tmp_path)

        with pytest.raises(ExecoImportError, match=r"(posix|nt)\.system") as caught:
            import_execo_store(tmp_path)
        assert (str(tmp_path / "done"), len(pickle.dumps(1))) == (caught.value.path, caught.value.offset)
        assert before == listing(tmp_path)

    @pytest.mark.parametrize(
        ("forged", "named"),
        [
            (b"cbuiltins\neval\n(S'1'\ntR.", "builtins.eval"),
            (b"c__builtin__\ngetattr\n(S'1'\nS'2'\ntR.", "__builtin__.getattr"),
            (b"cexeco_engine.sweep\nParamSweeper\n.", "execo_engine.sweep.ParamSweeper"),
            (b"cregisseur.engine.sweep\nHashableDict\n.", "regisseur.engine.sweep.HashableDict"),
            (b"ccollections\nOrderedDict\n)R.", "collections.OrderedDict"),
            (b"ccopy_reg\n_reconstructor\n(c__builtin__\nset\nc__builtin__\nset\n(ltR.", "not that of a dict"),
            (b"c_codecs\nencode\n(S'YQ=='\nS'base64'\ntR.", "encodes something"),
            (b"Pdatabase:1\n.", "refers to something outside"),
            (b"cbuiltins\nbytes\n(I999999999999\ntR.", "damaged"),
            # An attempt to replace a method of the class that stands for Execo's dict
            (b"cexeco_engine.sweep\nHashableDict\n(N(dS'__eq__'\ncbuiltins\nset\nstb.", "can not be stored"),
            (b"cbuiltins\nset\n(N(dS'pop'\nI1\nstb.", "damaged"),
        ],
    )
    def test_everything_but_plain_data_is_refused(self, tmp_path: Path, forged: bytes, named: str) -> None:
        execo_directory(tmp_path, forged, pickle.dumps(set()))
        before = listing(tmp_path)

        with pytest.raises(ExecoImportError, match=named):
            import_execo_store(tmp_path)
        assert before == listing(tmp_path)
        assert "__eq__" not in vars(HashableDict)
        assert "__eq__" not in vars(_store_execo._Loaded)

    def test_an_element_that_is_not_plain_is_refused(self, tmp_path: Path) -> None:
        execo_directory(tmp_path, pickle.dumps([1, 2]), pickle.dumps(set()))

        with pytest.raises(ExecoImportError, match=r"\[1, 2\] can not be a combination"):
            import_execo_store(tmp_path)

    def test_a_file_that_should_be_one_set_is_refused_otherwise(self, tmp_path: Path) -> None:
        execo_directory(tmp_path, b"", pickle.dumps({1}) + pickle.dumps({2}))

        with pytest.raises(ExecoImportError, match="one set was expected"):
            import_execo_store(tmp_path)

    def test_a_destination_that_has_another_store_is_left_alone(self, tmp_path: Path) -> None:
        source = execo_directory(tmp_path / "old", pickle.dumps(1), pickle.dumps(set()))
        ParamSweeper(tmp_path / "new", [1, 2]).done(2)
        before = listing(tmp_path / "new")

        with pytest.raises(ExecoImportError, match="another one"):
            import_execo_store(source, tmp_path / "new")
        assert before == listing(tmp_path / "new")

    def test_a_store_that_a_running_execo_has_locked_is_busy(self, tmp_path: Path) -> None:
        execo_directory(tmp_path, pickle.dumps(1), pickle.dumps(set()))
        program = (
            "import fcntl, sys; file = open(sys.argv[1], 'rb+'); fcntl.lockf(file, fcntl.LOCK_EX); "
            "print(flush=True); sys.stdin.read()"
        )
        command = [sys.executable, "-c", program, str(tmp_path / "done")]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as execo:
            assert execo.stdout
            execo.stdout.readline()

            with pytest.raises(SweepStoreBusyError):
                import_execo_store(tmp_path)
            execo.communicate()
        assert import_execo_store(tmp_path).done == 1


class TestTornFiles:
    @pytest.mark.slow
    @pytest.mark.parametrize("protocol", [0, 2, 4])
    def test_a_last_record_cut_off_at_any_byte_is_left_out_and_reported(
        self, tmp_path: Path, theirs: type, protocol: int
    ) -> None:
        whole = pickle.dumps(theirs(COMBINATIONS[0]), protocol)
        last = pickle.dumps(theirs(COMBINATIONS[1]), protocol)

        for size in range(1, len(last)):
            source = execo_directory(tmp_path / "old", whole + last[:size], pickle.dumps(set(), protocol))
            report = import_execo_store(source, tmp_path / f"new-{size}")

            assert (1, {str(source / "done"): size}) == (report.done, report.torn)
            assert [COMBINATIONS[0]] == list(SweepView(tmp_path / f"new-{size}").get_done())

    def test_saved_sweeps_that_a_crash_emptied_are_no_reason_to_lose_what_is_done(self, tmp_path: Path) -> None:
        execo_directory(tmp_path, pickle.dumps(1), pickle.dumps({2})[:-3], b"")
        report = import_execo_store(tmp_path)

        assert (report.done, report.sweeps, report.given_back, len(report.torn)) == (1, 0, [], 1)
        assert list(ParamSweeper(tmp_path, [1, 2]).get_done()) == [1]

    @pytest.mark.parametrize("place", [0, 1, 10, 40])
    def test_a_damaged_record_with_good_ones_behind_is_an_error_and_nothing_is_changed(
        self, tmp_path: Path, theirs: type, place: int
    ) -> None:
        data = bytearray(b"".join(pickle.dumps(theirs(each), 4) for each in COMBINATIONS))
        data[place] ^= 0xFF
        execo_directory(tmp_path, bytes(data), pickle.dumps(set()))
        before = listing(tmp_path)

        with pytest.raises(ExecoImportError, match="damaged"):
            import_execo_store(tmp_path)
        assert before == listing(tmp_path)


class TestInterruptions:
    def test_an_import_that_was_interrupted_can_be_done_again(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        execo_directory(tmp_path, pickle.dumps(1) + pickle.dumps(2), pickle.dumps({3}), pickle.dumps({1, 2, 3}))
        rename = os.rename

        def fails(old: str, new: str) -> None:
            if "inprogress" in old:
                raise KeyboardInterrupt
            rename(old, new)

        with monkeypatch.context() as patch:
            patch.setattr(os, "rename", fails)
            with pytest.raises(KeyboardInterrupt):
                import_execo_store(tmp_path)
        assert list(ParamSweeper(tmp_path).get_done()) == [1, 2]
        import_execo_store(tmp_path)

        assert {"done.execo", "inprogress.execo", "sweeps.execo", "sweep.log", "sweep.lock"} == set(listing(tmp_path))
        assert list(ParamSweeper(tmp_path).get_done()) == [1, 2]

    def test_older_files_that_were_kept_are_not_written_over(self, tmp_path: Path) -> None:
        execo_directory(tmp_path, pickle.dumps(1), pickle.dumps(set()))
        (tmp_path / "done.execo").write_bytes(b"older")
        report = import_execo_store(tmp_path)

        assert (tmp_path / "done.execo").read_bytes() == b"older"
        assert str(tmp_path / "done.execo-2") in report.kept
