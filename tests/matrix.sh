#!/usr/bin/env bash
# The tests of every day and the demo, on each Python from 3.10 that is here, with the oldest and with the newest
# dependencies, with the optional packages (torch, scikit-learn, dask, pyarrow, the notebooks' own) and without.
#
#   tests/matrix.sh                             all cells, one after the other, and a table of them
#   tests/matrix.sh --list                      what the cells are called
#   tests/matrix.sh 3.10-oldest-with 3.13-newest-without        these cells alone
#   TESTS="tests/fields tests/app" tests/matrix.sh              chosen tests in the place of those of every day
#
# Pythons are looked for by name (python3.10, ...), in pyenv's folder and with uv, if that is installed. A cell makes
# an environment in a temporary folder and removes it again; what a cell that failed said stays, and where is said.
set -uo pipefail
cd "$(dirname "$0")/.."

# Matplotlib 3.8 calls functions of pyparsing that warn from its version 3.3 on, and in tests warnings are errors.
OLDEST=("numpy==1.26.*" "pandas==2.1.*" "matplotlib==3.8.*" "pyparsing<3.3")
OPTIONAL=(".[test]" torch==2.13.0 scikit-learn "dask[dataframe,distributed]" pyarrow)
NEEDED=(. pytest pytest-xdist hypothesis)

python_of() {                                   # the path of this version's interpreter, if there is one that runs
    local candidate
    for candidate in "python$1" "${PYENV_ROOT:-$HOME/.pyenv}"/versions/"$1".*/bin/python "$(uv python find "$1" 2>&1)"; do
        if "$candidate" -c 'import sys; sys.exit("%d.%d" % sys.version_info[:2] != sys.argv[1])' "$1" 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    return 1
}

cells=()
for version in 3.10 3.11 3.12 3.13 3.14; do
    python_of "$version" >/dev/null || continue
    for dependencies in oldest newest; do
        # the oldest have no wheels for later Pythons
        if [ $dependencies = oldest ] && [ "${version#3.}" -gt 12 ]; then continue; fi
        cells+=("$version-$dependencies-without" "$version-$dependencies-with")
    done
done
if [ "${1:-}" = --list ]; then
    printf '%s\n' "${cells[@]}"
    exit
fi
[ $# = 0 ] || cells=("$@")

logs=$(mktemp -d)
workplace=$(mktemp -d)
trap 'rm -rf "$workplace"' EXIT
export MPLBACKEND=Agg PIP_DISABLE_PIP_VERSION_CHECK=1
failures=0
table="cell | installed | tests | demo"

for cell in "${cells[@]}"; do
    IFS=- read -r version dependencies optional <<<"$cell"
    log=$logs/$cell.log
    echo "== $cell"
    installed="-" tests="-" demo="-"
    rm -rf "$workplace"/*
    if [ "$dependencies" = oldest ]; then
        printf '%s\n' "${OLDEST[@]}" >"$workplace/constraints"
    else
        : >"$workplace/constraints"
    fi
    packages=("${NEEDED[@]}")
    if [ "$optional" = with ]; then packages+=("${OPTIONAL[@]}"); fi
    python=$workplace/venv/bin/python
    if "$(python_of "$version")" -m venv "$workplace/venv" >>"$log" 2>&1 &&
        "$python" -m pip install --quiet --constraint "$workplace/constraints" "${packages[@]}" >>"$log" 2>&1; then
        installed=$("$python" -c 'import matplotlib, numpy, pandas
print("numpy", numpy.__version__, "pandas", pandas.__version__, "matplotlib", matplotlib.__version__)')
        # shellcheck disable=SC2086             # several tests may be chosen
        if "$python" -m pytest ${TESTS:-} >>"$log" 2>&1; then tests=passed; else tests=FAILED; fi
        tests="$tests ($(grep -E '(passed|failed|error).* in ' "$log" | tail -1 | tr -d '=' | xargs))"
        if (cd "$workplace" && venv/bin/minictr demo --out demo) >>"$log" 2>&1; then demo=passed; else demo=FAILED; fi
    else
        installed="NOT INSTALLED"
    fi
    table+=$'\n'"$cell | $installed | $tests | $demo"
    case "$installed$tests$demo" in
        *NOT*|*FAILED*) failures=$((failures + 1)); tail -25 "$log"; echo "all of it: $log" ;;
        *) rm "$log" ;;
    esac
done

printf '\n%s\n' "$table" | column -t -s '|'
[ $failures = 0 ]
