"""The tests of a row stand together, whatever their file, so that the worker that compiled its programs runs all of
them."""

import pytest


@pytest.fixture(autouse=True, scope="module")
def few_programs_after_a_module():
    """Nothing: here modules take turns, and a row's programs are to last from one to the next."""


def pytest_collection_modifyitems(items):
    def row(item):
        case = getattr(item, "callspec", None)
        return str(case.params.get("name", "")) if case else ""

    own = [i for i, item in enumerate(items) if item.path.parent.name == "contract"]
    for i, item in zip(own, sorted((items[i] for i in own), key=row)):
        items[i] = item
