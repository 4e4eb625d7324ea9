import sys

import pytest

from car.cli.main import main


@pytest.fixture
def car(monkeypatch, capsys, tmp_path):
    """Runs `car ARGUMENTS` in an empty folder; returns status, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CAR_CACHE", str(tmp_path / "weights"))

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["car", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        captured = capsys.readouterr()
        return int(end.value.code or 0), captured.out, captured.err

    return run
