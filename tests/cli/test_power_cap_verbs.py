"""The verbs about power caps against a real coordinator without nodes; tests/agent_power has them with a node."""

from __future__ import annotations

import pytest

from heliotrope.foundation import errors

from .conftest import Heliotrope


def test_without_a_cap(ask: Heliotrope) -> None:
    assert ask("node", "caps", "--json").value == [] and ask("node", "caps").out == "no power cap is in force\n"
    assert ask("node", "caps", "--history", "--json").value == []
    assert ask("node", "caps", "--history").out == "nothing happened to power caps yet\n"
    assert ask("node", "caps", "--limit", "3").code == errors.InvalidInput.exit_code
    for verb in (["cap", "n1", "--watts", "250", "--for", "30m"], ["uncap", "n1"], ["caps", "n1"]):
        done = ask("node", *verb)
        assert done.code == errors.NotFound.exit_code and "n1" in done.err


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--watts", "250", "--for", "30 min"], "30m"),
        (["--watts", "250", "--for", "0s"], "--for"),
        (["--watts", "-5", "--for", "30m"], "field limit_w"),
        (["--watts", "nan", "--for", "30m"], "field limit_w"),
        (["--watts", "250", "--for", "30m", "--gpu", "all", "--cpu", "rapl:package-0"], "field --cpu"),
    ],
)
def test_a_wrong_order_names_its_field(words: list[str], named: str, ask: Heliotrope) -> None:
    done = ask("node", "cap", "n1", *words)
    assert done.code == errors.InvalidInput.exit_code and named in done.err
