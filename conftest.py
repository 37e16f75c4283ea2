"""What a run of pytest takes: the tests of every day, or with ``--all`` all of them; and on how many processes."""

import os
from importlib.util import find_spec

import pytest
from hypothesis import HealthCheck, settings

# what needs PyTorch is no place to look for examples in docstrings where there is none
collect_ignore = [] if find_spec("torch") else [
    "minictr/bridges/torch_export.py", "minictr/bridges/torch_modules.py"]
collect_ignore.append("tests/attack/fuzz_files.py")         # a program, which changes the modules that it imports
# and what runs the notebooks is none where they cannot be run
collect_ignore += [] if find_spec("jupytext") and find_spec("nbclient") else ["tests/tutorials/tutorial_runner.py"]

# No deadline, and no complaint of slow data: a shared machine is slow at times. In CI the examples are the same in
# every run, so that a red run is about the change and not about luck; elsewhere they are new each time.
for name, max_examples in (("every-day", 20), ("all", 100)):
    settings.register_profile(name, deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True,
                              derandomize="CI" in os.environ, max_examples=max_examples)

LEFT_OUT = pytest.StashKey[int]()


def pytest_addoption(parser):
    """Add the switch."""
    parser.addoption("--all", action="store_true", dest="all_tests",
                     help="run the tests marked long too, and five times as many examples of Hypothesis")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    """Choose Hypothesis's profile, before its own option, which comes next and wins, and before tests are read."""
    settings.load_profile("all" if config.option.all_tests else "every-day")
    config.stash[LEFT_OUT] = 0


def pytest_xdist_auto_num_workers(config):
    """All cores for the whole suite; one process for chosen tests, which starts at once, and stops at breakpoints."""
    asked_for = any(word.startswith(("-n", "--numprocesses")) for word in config.invocation_params.args)
    chosen = config.args_source is config.ArgsSource.ARGS or any(
        config.getoption(name, False) for name in ("keyword", "markexpr", "lf"))     # lf: only with the cache plugin
    return 0 if chosen and not asked_for else None                # None: xdist counts the cores


@pytest.hookimpl(trylast=True)                                    # of those that -k and the like have left
def pytest_collection_modifyitems(config, items):
    """Leave out what is marked long, unless ``--all``, ``-m`` or the very name of the test (file::test) asks for it."""
    leave_uncounted(config, items)
    if config.option.all_tests or config.option.markexpr:
        return
    named = tuple(argument.partition("::")[2] for argument in config.args if "::" in argument)
    left_out = [item for item in items
                if item.get_closest_marker("long") and not item.nodeid.partition("::")[2].startswith(named)]
    config.stash[LEFT_OUT] = len(left_out)
    config.hook.pytest_deselected(items=left_out)
    gone = set(left_out)
    items[:] = [item for item in items if item not in gone]


def leave_uncounted(config, items):
    """Take no coverage of long tests in files that have others: it makes them slower, and the others must suffice.

    A file of long tests alone, such as that of Dask, counts: nothing else runs what it is about.
    """
    if config.pluginmanager.has_plugin("pytest_cov"):
        for item in items:
            if any(mark.name == "long" for mark in item.own_markers):
                item.add_marker("no_cover")


# Under xdist each worker collects and leaves out the same tests; the process that sums up hears of it when they end.

def pytest_sessionfinish(session):
    """Tell the main process how many tests were left out."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["left_out"] = session.config.stash[LEFT_OUT]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node, error):
    """Hear from a worker how many tests were left out."""
    node.config.stash[LEFT_OUT] = getattr(node, "workeroutput", {}).get("left_out", 0)


def pytest_terminal_summary(terminalreporter, config):
    """Say at the end what was left out, and how to run it."""
    n = config.stash[LEFT_OUT]
    if n:
        terminalreporter.section("left out")
        terminalreporter.line(f"{n} long tests (wrong solutions of notebooks, real data, the site, more of a kind),")
        terminalreporter.line("and four of five examples that Hypothesis draws. All of them: pytest --all")
