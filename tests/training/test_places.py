"""Where a run is, if nobody says."""

from pathlib import Path

from ghostclas.training.places import run_name, unused_run


def test_a_run_is_named_by_its_images_and_its_network(tmp_path: Path) -> None:
    assert run_name(tmp_path / "pets.zip", "ghostnet_x1_0") == "pets-ghostnet_x1_0"
    assert (
        run_name(tmp_path / "pets", "timm:mobilenetv3_small_050", "-ssld")
        == "pets-mobilenetv3_small_050-ssld"
    )


def test_no_run_takes_the_place_of_another(tmp_path: Path) -> None:
    for expected in ("pets", "pets-2", "pets-3"):
        place = unused_run("pets", tmp_path)
        assert place.name == expected
        place.mkdir()
