"""The tests of a row stand together, so that the worker that compiled its programs runs all of them."""


def pytest_collection_modifyitems(items):
    def row(item):
        case = getattr(item, "callspec", None)
        return (str(item.path), str(case.params.get("name", "")) if case else "")

    own = [i for i, item in enumerate(items) if item.path.parent.name == "contract"]
    for i, item in zip(own, sorted((items[i] for i in own), key=row)):
        items[i] = item
