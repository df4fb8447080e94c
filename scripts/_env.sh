# Sourced by the other scripts: finds a Python, makes .venv whole, sets `root` and `bin`.

root="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)"
bin="$root/.venv/bin"

# The environment's own Python first, so that a change of PATH does not make it anew.
find_python() {
    local candidate seen=""
    for candidate in "$bin/python" python3 python3.14 python3.13 python3.12 python3.11 python; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            python="$candidate"
            return
        fi
        if [ -z "$seen" ] && command -v "$candidate" >/dev/null; then
            seen="$candidate is $("$candidate" --version 2>&1 | head -n 1)"
        fi
    done
    echo "Towpath needs Python 3.11 or newer, and found none on PATH${seen:+ ($seen)}." >&2
    exit 1
}

# Every process would compile the project's own modules again.
unset PYTHONDONTWRITEBYTECODE

find_python
"$python" "$root/scripts/_setup.py" "$root"
