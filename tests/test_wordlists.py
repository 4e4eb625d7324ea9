import pytest

from car import wordlists
from car.errors import InputError
from car.wordlists import background_words, names, read_classes, read_lines, read_templates

COUNTS = {
    "voc20": (20, 0),
    "coco_object80": (80, 0),
    "context59": (59, 21),
    "ade150": (150, 25),
    "ade847": (847, 29),
    "pc459": (459, 26),
}


def test_every_class_list_is_here_with_its_stuff():
    assert set(names("classes")) == set(COUNTS)
    for name, (count, stuff) in COUNTS.items():
        entries = read_classes(name)
        assert [entry.id for entry in entries] == list(range(count))
        assert sum(entry.kind == "stuff" for entry in entries) == stuff
        assert all(entry.query == " ".join(entry.query.split()) for entry in entries)


def test_a_line_is_one_query_with_its_commas_and_published_spelling():
    assert read_classes("voc20")[14].query == "person with clothes,people,human"
    assert read_classes("coco_object80")[31].query == "sknowboard"


@pytest.mark.parametrize(
    ("name", "count", "ends"),
    [
        ("terrestrial", 32, ("ground", "thicket")),
        ("aquatic", 44, ("sea", "nimbus")),
        ("manmade", 36, ("building", "terminal")),
        ("coco23", 23, ("ground", "bridge")),
    ],
)
def test_background_lists(name, count, ends):
    words = background_words([name])
    assert (len(words), words[0], words[-1]) == (count, *ends)


def test_several_background_lists_are_joined_without_repetition(tmp_path):
    (tmp_path / "mine.txt").write_text("# my own\nmoss\n\ngrass\n")
    words = background_words(["coco23", tmp_path / "mine.txt"])
    assert len(words) == 24
    assert words[-1] == "moss"
    assert background_words([]) == []


def test_template_sets():
    assert read_templates("origami") == ["a clean origami {}."]
    assert len(read_templates("car15")) == len(set(read_templates("car15"))) == 15
    assert "There is the {} in the scene" in read_templates("car15")
    assert "a photo of a medium {}." in read_templates("car15")
    assert set(names("templates")) == {"origami", "car15", "general"}
    assert all(template.count("{}") == 1 for template in read_templates("general"))


def test_templates_can_be_given(tmp_path):
    assert read_templates(["{}", "the {}"]) == ["{}", "the {}"]
    assert read_templates("the {} itself") == ["the {} itself"]
    (tmp_path / "mine.txt").write_text("a {}\n", encoding="utf-8-sig")
    assert read_templates(str(tmp_path / "mine.txt")) == ["a {}"]
    for bad in (["no place"], ["{} and {}"], []):
        with pytest.raises(InputError, match="template"):
            read_templates(bad)


@pytest.mark.parametrize(
    ("read", "message"),
    [
        (lambda: read_classes("voc2O"), r"No class list 'voc2O'\. Did you mean 'voc20'\?.*path of a file"),
        (lambda: background_words(["aquatics"]), r"No background list 'aquatics'\. Did you mean 'aquatic'"),
        (lambda: read_templates("car16"), r"No template set 'car16'\. Did you mean 'car15'"),
        (lambda: read_classes("x" * 5000), "No class list"),
        (lambda: read_classes("a\0b"), "No class list"),
    ],
    ids=["class list", "background", "templates", "endless name", "control character"],
)
def test_unknown_names_are_answered_with_the_closest(read, message):
    with pytest.raises(InputError, match=message):
        read()


def test_a_users_class_list_may_be_bare(tmp_path):
    path = tmp_path / "mine.txt"
    path.write_text("# pets\ncat\nbig dog\n")
    assert read_classes(path) == [(0, "thing", "cat"), (1, "thing", "big dog")]


@pytest.mark.parametrize("line", ["1\tanimal\tcat", "one\tthing\tcat", "1\tcat", "1\tthing\tcat\n1\tthing\tdog"])
def test_a_bad_class_list_is_refused(tmp_path, line):
    (tmp_path / "bad.txt").write_text(line)
    with pytest.raises(InputError, match=r"bad\.txt"):
        read_classes(tmp_path / "bad.txt")


def test_unreadable_texts_are_one_line(tmp_path):
    (tmp_path / "latin.txt").write_bytes("café".encode("latin-1"))
    with pytest.raises(InputError, match=r"latin\.txt.*not UTF-8"):
        read_lines(tmp_path / "latin.txt")
    with pytest.raises(InputError, match="Cannot read"):
        read_lines(tmp_path)


def test_texts_are_found_in_an_installed_package_first(tmp_path, monkeypatch):
    monkeypatch.setattr(wordlists, "__file__", str(tmp_path / "car" / "wordlists.py"))
    assert wordlists.prompts_dir.__wrapped__() == tmp_path / "prompts"
    (tmp_path / "car" / "prompts").mkdir(parents=True)
    assert wordlists.prompts_dir.__wrapped__() == tmp_path / "car" / "prompts"
