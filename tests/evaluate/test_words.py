import pytest

from car.errors import InputError
from car.evaluate.words import askable, class_words
from car.wordlists import ClassEntry, read_classes

CLASSES = [ClassEntry(0, "thing", "sofa"), ClassEntry(1, "stuff", "grass"), ClassEntry(2, "thing", "person")]


def write(folder, text):
    path = folder / "words.txt"
    path.write_text(text)
    return path


def test_a_benchmark_has_its_own_words_commas_and_all():
    assert class_words(read_classes("voc20"))[14] == ("person with clothes,people,human",)


BY_LINE = "couch, settee\n# a comment\nlawn\n\nman,woman , child\n"
BY_ID = "2\tthing\tman\twoman\tchild\n1\tstuff\tlawn\n0\tthing\tcouch\tsettee\n"


@pytest.mark.parametrize("text", [BY_LINE, BY_ID])
def test_a_file_gives_synonyms_by_line_or_by_id(tmp_path, text):
    assert class_words(CLASSES, write(tmp_path, text)) == [("couch", "settee"), ("lawn",), ("man", "woman", "child")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("couch\nlawn\n", "names 2 classes, ids 0 to 1; the benchmark has 3"),
        ("a\nb\nc\nd\n", "names 4 classes"),
        ("", "names 0 classes"),
        ("0\tthing\ta\n1\tstuff\tb\n1\tthing\tc\n", "same id, 1"),
        ("0\tobject\ta\n", "entry 1: expected synonyms"),
        ("a\n , \nc\n", "entry 2: expected synonyms"),
        ("0\tthing\n", "entry 1"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        class_words(CLASSES, write(tmp_path, text))


def test_of_classes_with_one_name_the_first_is_asked():
    words = class_words(read_classes("ade847"))
    asked = askable(words, range(847))
    assert len(asked) == 847 - 10
    assert len({words[id][0] for id in asked}) == len(asked)
    assert asked == sorted(asked)
