"""Names of folders for classes."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghostclas.prediction.folder_names import LONGEST, folder_names, legal


def test_a_legal_name_stays_what_it_is() -> None:
    names = ["tabby, tabby cat", "小狗", "T-shirt (long)", "Ångström", "a.b", "console"]
    assert folder_names(names) == names


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("a/b", "a_b"),
        ("..", "_"),
        (".", "_"),
        ("", "_"),
        ("   ", "_"),
        (".hidden", "_hidden"),
        ("-rf", "_rf"),
        ("C:\\Windows", "C__Windows"),
        ('what? <"*|">', "what_ ______"),
        ("ends. ", "ends"),
        ("tab\there\0", "tab_here_"),
        ("CON", "_CON"),
        ("aux.txt", "_aux.txt"),
        ("com¹", "_com¹"),
        ("lpt0 .tar", "_lpt0 .tar"),
        ("\ud800", "_"),
        ("cat\u202egpj.exe", "cat_gpj.exe"),
    ],
)
def test_what_a_system_refuses_is_replaced(name: str, folder: str) -> None:
    assert legal(name) == folder


def test_names_that_one_system_takes_for_one_are_numbered() -> None:
    assert folder_names(["Cat", "cat", "CAT", "a/b", "a:b"]) == [
        "Cat",
        "cat (2)",
        "CAT (3)",
        "a_b",
        "a_b (2)",
    ]
    assert folder_names(["é", "e\u0301", "ß", "SS"]) == ["é", "é (2)", "ß", "SS (2)"]
    assert folder_names(["unsure", "sure"], taken=["unsure"]) == ["unsure (2)", "sure"]


@given(st.lists(st.text(max_size=200), max_size=8))
def test_every_name_is_a_folder_of_its_own(names: list[str]) -> None:
    folders = folder_names(names)
    assert len({folder.casefold() for folder in folders}) == len(names)
    for folder in folders:
        assert Path(folder).name == folder
        assert folder not in ("", ".", "..")
        assert len(folder.encode()) <= LONGEST + len(" (99)")
        assert not folder.endswith((".", " "))


def test_the_longest_names_can_be_made(tmp_path: Path) -> None:
    for folder in folder_names(["狗" * 300, "狗" * 301, "x" * 400]):
        (tmp_path / folder).mkdir()
    assert len(list(tmp_path.iterdir())) == 3
