"""The rooms of the house and the arrows between them, read from the source: who imports whom, prints, parses, asks."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

import scratch.bottlenecks
from scratch.bottlenecks.bottleneck import Bottleneck
from scratch.commands.parser import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
TOP = {"__init__", "__main__", "arrays", "module", "losses", "optim", "schedules"}
ROOMS = {"layers", "bottlenecks", "networks", "models", "options", "training", "runs", "instruments", "figures",
         "gradcheck", "accelerate", "commands", "learn"}
FORMULAS = {"arrays", "module", "losses", "layers", "schedules", "options.errors", "options.option"}

# What each room may import of the others; options is two, the declarations' own kinds and what is made from them.
# A name of a single module, such as training.progress, allows that module alone.
ALLOWED = {
    "options.errors": set(),
    "options.option": {"options.errors", "schedules"},
    "schedules": {"options.errors"},
    "arrays": {"options.errors"},
    "module": {"arrays", "options.errors"},
    "layers": {"arrays", "module", "options.errors", "options.option"},
    "losses": {"arrays", "module", "layers"},
    "optim": {"arrays", "module", "schedules", "options.errors", "options.option"},
    "bottlenecks": FORMULAS,
    "networks": FORMULAS,
    "models": FORMULAS | {"bottlenecks", "networks", "options", "data_utils"},
    "options": FORMULAS | {"optim", "models.system", "data_utils"},
    "accelerate": FORMULAS | {"bottlenecks", "optim", "training.progress", "training.trainer"},
    "gradcheck": FORMULAS | {"bottlenecks", "accelerate", "models", "options"},
    "training": FORMULAS | {"bottlenecks", "models", "options", "optim", "data_utils"},
    "instruments": FORMULAS | {"bottlenecks", "models", "training.held_out", "data_utils"},
    "figures": {"arrays", "options.errors", "bottlenecks", "instruments", "data_utils"},
    "runs": FORMULAS | {"bottlenecks", "models", "options", "training", "data_utils"},
    "learn": {"gradcheck.diagnosis", "options.errors", "options.option", "data_utils"},
    "commands": ROOMS | FORMULAS | {"data_utils"},
    "__main__": {"commands"},
    "__init__": {"models.build", "runs"},
}
ONLY = {  # single modules that may import more than their room
    "training.make": {"accelerate"},
}
ORACLE_BESIDE_SCRATCH = {"compare", "gradcheck", "commands", "__main__", "speed"}  # the rest is mathematics


def sources(package):
    """[(dotted name below the package, syntax tree)] of its files."""
    found = []
    for path in sorted((ROOT / package).rglob("*.py")):
        parts = path.relative_to(ROOT / package).with_suffix("").parts
        parts = parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts
        found.append((".".join(parts), tree_of(path)))
    return found


@cache
def tree_of(path):
    return ast.parse(path.read_text(), str(path))


def imports(tree, at_top=False):
    """The dotted names of all modules that a tree imports; `at_top` leaves out those inside of functions."""
    found = set()
    nodes = [node for statement in tree.body if not isinstance(statement, ast.FunctionDef | ast.ClassDef)
             for node in ast.walk(statement)] if at_top else ast.walk(tree)
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                is_module = any((ROOT / Path(*f"{node.module}.{alias.name}".split("."))).with_suffix(end).exists()
                                for end in (".py", ""))
                found.add(f"{node.module}.{alias.name}" if is_module else node.module)
    return found


def room_of(name):
    """The room of a dotted name below scratch: its folder, or the file at the top."""
    return name if name in ("options.errors", "options.option") else name.partition(".")[0]


def nodes_of(kind, package="scratch", outside=()):
    """[(module, node)] of every node of a kind, but for those in some rooms."""
    return [(name, node) for name, tree in sources(package) if room_of(name) not in outside
            for node in ast.walk(tree) if isinstance(node, kind)]


# --- the rooms --------------------------------------------------------------------------------------------------------


def test_the_top_holds_mathematics_and_the_doors():
    assert {path.stem for path in (ROOT / "scratch").glob("*.py")} == TOP


def test_every_room_has_its_name_and_a_sentence_that_says_what_it_holds():
    found = {path.parent.name for path in (ROOT / "scratch").glob("*/__init__.py")}
    assert found == ROOMS
    for package in ("scratch", "torch_ref", "data_utils"):
        for name, tree in sources(package):
            assert ast.get_docstring(tree), f"{package}.{name} has no docstring"


def test_every_file_is_named_after_what_it_holds():
    names = {Path(name.replace(".", "/")).name for name, _ in sources("scratch")}
    assert not names & {"utils", "util", "helpers", "common", "misc", "tools"}


# --- the arrows -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("package, forbidden", [
    ("scratch", {"torch", "torchvision", "torch_ref", "tests"}),
    ("data_utils", {"scratch", "torch_ref", "tests"}),
    ("torch_ref", {"tests"}),
])
def test_packages_import_in_one_direction(package, forbidden):
    for name, tree in sources(package):
        for imported in imports(tree):
            assert imported.partition(".")[0] not in forbidden, f"{package}.{name} imports {imported}"


def test_the_oracles_mathematics_shares_nothing_with_what_it_judges():
    for name, tree in sources("torch_ref"):
        if name.partition(".")[0] not in ORACLE_BESIDE_SCRATCH:
            assert not {one for one in imports(tree) if one.partition(".")[0] == "scratch"}, name


def test_arrows_between_rooms_point_one_way():
    wrong = []
    for name, tree in sources("scratch"):
        room = room_of(name)
        allowed = ALLOWED[room] | ONLY.get(name, set())
        for imported in imports(tree):
            package, _, below = imported.partition(".")
            if package == "data_utils":
                target = "data_utils"
            elif package == "scratch" and below:
                target = room_of(below)
            else:
                continue
            fits = target == room or target in allowed or any(
                below == one or below.startswith(f"{one}.") for one in allowed)
            if not fits:
                wrong.append(f"{name} imports {imported}")
    assert not wrong, "\n".join(wrong)


def test_accelerate_imports_the_plain_forms_and_only_make_imports_accelerate():
    importing = {name for name, tree in sources("scratch")
                 if room_of(name) not in ("accelerate", "gradcheck", "commands")
                 and any(one.startswith("scratch.accelerate") for one in imports(tree))}
    assert importing == {"training.make"}


def test_no_module_imports_itself_in_a_circle():
    graph = {}
    for name, tree in sources("scratch"):
        below = {one.partition(".")[2] for one in imports(tree, at_top=True) if one.startswith("scratch.")}
        graph[name] = {one for one in below if one != name}
    done, path = set(), []

    def visit(name):
        if name in done or name not in graph:
            return
        assert name not in path, " → ".join([*path[path.index(name) :], name])
        path.append(name)
        for other in sorted(graph[name]):
            visit(other)
        done.add(path.pop())

    for name in graph:
        visit(name)


def test_commands_are_no_library_for_each_other():
    shared = {"shared", "options", "cli", "shortages", "parser", "writing"}
    assert not COMMANDS.keys() & shared
    for name, tree in sources("scratch"):
        if name.startswith("commands.") and name != "commands.parser":
            for imported in imports(tree):
                if imported.startswith("scratch.commands."):
                    assert imported.split(".")[2] in shared, f"{name} imports {imported}"


# --- what only commands do --------------------------------------------------------------------------------------------


def test_nothing_below_commands_prints():
    printing = {name for name, node in nodes_of(ast.Call, outside={"commands"})
                if isinstance(node.func, ast.Name) and node.func.id == "print"}
    printing = {name for name in printing if not name.startswith("learn.whole_")}  # programs of their own
    assert printing <= {"__init__"}, "scratch.train's line of an epoch alone: the library's door stands beside commands"
    printing = {name for name, node in nodes_of(ast.Attribute, outside={"commands"})
                if node.attr in ("stdout", "stderr") and isinstance(node.value, ast.Name) and node.value.id == "sys"}
    assert not printing
    for name, tree in sources("torch_ref"):
        if name.partition(".")[0] not in ORACLE_BESIDE_SCRATCH:
            assert not [node for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id == "print"], name


def docstrings(tree):
    """The nodes that are docstrings, and comments on a name: strings that stand alone."""
    return {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}


def test_no_message_below_commands_names_a_flag():
    for name, tree in sources("scratch"):
        if room_of(name) in ("commands", "__main__"):
            continue
        left_out = docstrings(tree)
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in left_out:
                assert not re.search(r"(?<![-\w])--[a-z]", node.value), f"{name}, line {node.lineno}: {node.value!r}"


def test_nothing_below_commands_parses():
    for name, tree in sources("scratch"):
        if room_of(name) != "commands" and name != "__main__":
            assert "argparse" not in imports(tree), name
    for name, node in nodes_of(ast.FunctionDef, outside={"commands"}):
        named = {argument.arg for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)}
        assert "arguments" not in named, f"{name}.{node.name} takes a command line's arguments: give it what it needs"


# --- nobody asks for a model by its name ------------------------------------------------------------------------------


def test_no_if_asks_for_a_models_name():
    """A comparison with "vae", or with options["model"]. What differs between systems is a method or an attribute."""
    for package in ("scratch", "torch_ref"):
        for name, node in nodes_of(ast.Compare, package):
            if package == "torch_ref" and name.startswith("speed."):
                continue  # its measurements are of named models
            if all(isinstance(operator, ast.In | ast.NotIn) and not isinstance(right, ast.Tuple | ast.List | ast.Set)
                   for operator, right in zip(node.ops, node.comparators, strict=True)):
                continue  # a look into a dict of systems
            for part in (node.left, *node.comparators):
                constants = {one.value for one in ast.walk(part) if isinstance(one, ast.Constant)}
                at = f"{package}.{name}, line {node.lineno}"
                assert not constants & set(Bottleneck.systems), at
                is_model = isinstance(part, ast.Subscript) and constants == {"model"}
                assert not (is_model and isinstance(node.ops[0], ast.Eq | ast.NotEq)), at


def test_no_if_asks_for_a_bottlenecks_class():
    kinds = {name for name in scratch.bottlenecks.__all__
             if issubclass(getattr(scratch.bottlenecks, name), Bottleneck)}
    assert len(kinds) > 8
    for name, node in nodes_of(ast.Call, outside={"bottlenecks"}):
        if isinstance(node.func, ast.Name) and node.func.id in ("isinstance", "issubclass"):
            asked = {one.id if isinstance(one, ast.Name) else one.attr
                     for one in ast.walk(node.args[1]) if isinstance(one, ast.Name | ast.Attribute)}
            assert not asked & kinds, f"{name}, line {node.lineno}"


def test_no_table_of_systems_stands_beside_their_classes():
    """Two or more systems' names in one dict, list, set or tuple would have to grow with every new bottleneck. A recipe
    (options/presets.py) may be for some systems, and the help of a command may name an example."""
    for name, node in nodes_of((ast.Dict, ast.List, ast.Set, ast.Tuple), outside={"bottlenecks"}):
        if name == "options.presets":
            continue
        members = node.keys if isinstance(node, ast.Dict) else node.elts
        named = {one.value for one in members if isinstance(one, ast.Constant)} & set(Bottleneck.systems)
        assert len(named) < 2, f"{name}, line {node.lineno}: {sorted(named)}"
