"""What pytest leaves out when it looks for examples in docstrings: what needs PyTorch, where there is none."""

from importlib.util import find_spec

collect_ignore = [] if find_spec("torch") else ["minictr/bridges/torch_export.py", "minictr/bridges/torch_modules.py"]
