import configparser
import subprocess
import sys
from pathlib import Path

import pytest

import car

ROOT = Path(__file__).resolve().parents[1]


def test_every_package_is_installed_with_its_texts():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    listed = setup["options"]["packages"].split()
    found = {".".join(path.parent.relative_to(ROOT).parts) for path in (ROOT / "car").rglob("__init__.py")}
    assert set(listed) == found | {"car.prompts"}


def test_the_public_names_are_there_and_no_others():
    for name in car.__all__:
        assert getattr(car, name) is not None
    with pytest.raises(AttributeError, match="segmant"):
        _ = car.segmant


def test_importing_the_package_imports_nothing_heavy():
    code = "import car, sys; print(sorted({'torch', 'cv2', 'numpy', 'scipy', 'PIL'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_core_runs_without_any_extra(tmp_path):
    """In an interpreter that cannot import any optional package, the demo still runs."""
    blocked = ["open_clip", "pydensecrf", "segment_anything", "torchvision", "pycocotools", "skimage"]
    code = f"import sys\nfor name in {blocked}: sys.modules[name] = None\n"
    code += "import car\nresult = car.load('mini').segment(car.demo_image(), ['cat', 'dog', 'unicorn'])\n"
    code += f"result.save({str(tmp_path)!r})\nprint(result.found)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "('cat', 'dog')\n"


def test_segmenting_loads_neither_a_compiler_nor_what_it_does_not_use(tmp_path):
    """Each of them would add most of a second to the first mask."""
    code = "import car, sys\ncar.load('mini').segment(sys.argv[1], ['cat', 'dog']).save(sys.argv[2])\n"
    code += "print(sorted({'torch._dynamo', 'sympy', 'scipy', 'matplotlib'} & set(sys.modules)))"
    photo = ROOT / "car/scenes/demo.jpg"
    done = subprocess.run([sys.executable, "-c", code, photo, tmp_path], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("option", ["crf='pydensecrf'", "sam='regions'", "sam='sam_vit_b'"])
def test_an_absent_extra_is_one_line_that_names_the_command(option):
    code = "import sys\nfor name in ('pydensecrf', 'skimage', 'segment_anything'): sys.modules[name] = None\n"
    code += "import car\ntry:\n    "
    code += f"car.load('mini', weights_dir='/nonexistent', {option}).segment(car.demo_image(), 'cat')\n"
    code += "except car.MissingError as error: print(error)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install" in done.stdout
    assert done.stdout.count("\n") == 1
