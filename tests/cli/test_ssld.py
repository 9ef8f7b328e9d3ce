"""The options of ``ghostclas ssld``; old names work for one release."""

from __future__ import annotations

import pytest

from ghostclas.cli import main


@pytest.mark.parametrize("step", [[], ["distil"]])
def test_the_student_is_a_network_and_its_old_option_works_with_a_note(
    step: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--teacher", "default", "--labeled", "photos", *([] if step else ["--unlabeled", "pool"])]
    words += ["--set", "no.such=1"]
    assert main(["ssld", *step, *words, "--model", "ghostnet_x0_5"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("note: --model is now called --network;")
    assert "unknown setting 'no'" in err, "it went on as far as the settings"
    assert main(["ssld", *step, *words, "--network", "ghostnet_x0_5"]) == 2
    assert "note:" not in capsys.readouterr().err


def test_fine_tuning_starts_from_weights_and_its_old_option_works_with_a_note(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["ssld", "finetune", "--labeled", "photos", "--set", "no.such=1"]
    assert main([*words, "--model", "runs/distil"]) == 2
    assert capsys.readouterr().err.startswith("note: --model is now called --weights;")
    assert main([*words, "--weights", "runs/distil"]) == 2
    assert "unknown setting 'no'" in capsys.readouterr().err
