"""Damage to files, all of it a function of one random generator: bytes, JSON, names.

A damage takes the folder of an original, one of its files and the generator, and changes the folder
in place.
"""

import json
import os
import shutil

EVIL_INTEGERS = (0, -1, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 1 << 62)
# JSON texts that may stand where any value stands.
EVIL_VALUES = [
    *("null", "true", "false", "0", "-1", "1.5", "-0.0", "8.5", '"8"', '""', "[]", "{}", "[[]]"),
    *("2147483647", "4294967295", "1e30", "1e999", "-1e999", "NaN", "Infinity", "-Infinity"),
    *(
        "9" * 30,
        "9" * 400,
        "9" * 5000,
        '"²"',
        '"٣"',
        r'"\u0000"',
        r'"\ud800"',
        r'"\u001b[31m\nerror: no"',
    ),
    *('"../../../etc/passwd"', '"/"', '"' + "a" * 10_000 + '"', '{"a": 1, "a": 2}', "[" * 3000),
    *("[" * 2000 + "]" * 2000, '{"a":' * 2000 + "1" + "}" * 2000, "[1, [2, {}], null]"),
]
EVIL_NAMES = ("²", "٣", "007", "-1", "150", "1e3", "3 ", "0x10", "a\nb", "\x1b[31m", "n" * 240)
_RAW = "\x02raw\x03"


def damage_bytes(folder, path, random, others):
    """Change bytes of a file one to three times."""
    content = path.read_bytes()
    for _ in range(random.integers(1, 4)):
        change = _pick(random, BYTE_CHANGES)
        content = change(content, random, others)
    path.write_bytes(content)


def damage_json(folder, path, random, others):
    """Change values and keys of a JSON file, or of one line of JSON lines; sometimes its bytes."""
    if random.random() < 0.3:
        return damage_bytes(folder, path, random, others)
    text = path.read_text()
    if path.suffix == ".jsonl":
        lines = text.splitlines()
        place = int(random.integers(len(lines)))
        lines[place] = _changed_json(lines[place], random).replace("\n", " ")
        text = "\n".join(lines) + "\n"
    else:
        text = _changed_json(text, random)
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    return None


def damage_name(folder, path, random, others):
    """Rename, remove or double a file or a folder above it, or put something else in its place."""
    above = [p for p in path.parents if p != folder and p.is_relative_to(folder)]
    victim = _pick(random, [path, *above, *above])
    shown = victim.with_name(_pick(random, EVIL_NAMES) + victim.suffix)
    kind = _pick(random, ["rename", "rename", "copy", "remove", "empty", "folder", "link", "pipe"])
    if kind == "rename":
        victim.rename(shown)
    elif kind == "copy":
        (shutil.copytree if victim.is_dir() else shutil.copy)(victim, shown)
    else:
        shutil.rmtree(victim) if victim.is_dir() else victim.unlink()
        if kind == "empty":
            victim.touch()
        elif kind == "folder":
            victim.mkdir()
        elif kind == "link":
            victim.symlink_to(_pick(random, ["nowhere", ".", "/dev/zero"]))
        elif kind == "pipe":
            os.mkfifo(victim)


def _pick(random, choices):
    return choices[int(random.integers(len(choices)))]


def _place(content, random):
    """Return an offset, in every second case near the beginning, where headers are."""
    spread = random.random() ** (4 if random.random() < 0.5 else 1)
    return int(spread * len(content))


def _flip_bit(content, random, others):
    if not content:
        return b"\1"
    place, bit = _place(content, random), 1 << int(random.integers(8))
    return content[:place] + bytes([content[place] ^ bit]) + content[place + 1 :]


def _replace_range(content, random, others):
    place, length = _place(content, random), int(random.integers(1, 64))
    return content[:place] + random.bytes(length) + content[place + length :]


def _truncate(content, random, others):
    return content[: _place(content, random)]


def _insert(content, random, others):
    place = _place(content, random)
    return content[:place] + random.bytes(int(random.integers(1, 64))) + content[place:]


def _remove_range(content, random, others):
    place, length = _place(content, random), int(random.integers(1, 64))
    return content[:place] + content[place + length :]


def _double_range(content, random, others):
    place, length = _place(content, random), int(random.integers(1, 512))
    return content[: place + length] + content[place:]


def _evil_integer(content, random, others):
    place, size = _place(content, random), _pick(random, [2, 4, 8])
    value = _pick(random, EVIL_INTEGERS) % (1 << 8 * size)
    number = value.to_bytes(size, _pick(random, ["little", "big"]))
    return content[:place] + number + content[place + size :]


def _splice(content, random, others):
    other = _pick(random, others).read_bytes()
    return content[: _place(content, random)] + other[_place(other, random) :]


BYTE_CHANGES = [
    *(_flip_bit, _flip_bit, _replace_range, _truncate, _insert, _remove_range, _double_range),
    *(_evil_integer, _evil_integer, _splice),
]


def _changed_json(text, random):
    """Return a JSON text with one to three nodes replaced, removed, renamed or doubled."""
    tree = json.loads(text)
    raw = []
    for _ in range(random.integers(1, 4)):
        tree = _changed_node(tree, random, raw)
    # Values that json would not write, and keys that occur twice, are put in afterwards.
    text = json.dumps(tree)
    for number, value in enumerate(raw):
        text = text.replace(json.dumps(f"{_RAW}{number}"), value)
    return text


def _changed_node(tree, random, raw):
    nodes = list(_nodes(tree)) if isinstance(tree, dict | list) else []
    if not nodes:
        return _evil(random, raw)
    parent, key = _pick(random, nodes)
    change = _pick(random, ["value", "value", "value", "swap", "remove", "rename", "double"])
    if change == "value":
        parent[key] = _evil(random, raw)
    elif change == "swap":
        other, theirs = _pick(random, nodes)
        parent[key], other[theirs] = other[theirs], parent[key]
        if _is_cyclic(tree):
            return _evil(random, raw)
    elif change == "remove":
        del parent[key]
    elif isinstance(parent, list):
        parent.append(parent[key])
    elif change == "rename":
        parent[_pick(random, ["", "²", "a" * 300, "\x1b[31m\n", f"{key} ", key.upper()])] = (
            parent.pop(key)
        )
    else:
        raw.append(f"{json.dumps(key)}: null, {json.dumps(key)}")
        parent[f"{_RAW}{len(raw) - 1}"] = parent.pop(key)
    return tree


def _evil(random, raw):
    raw.append(_pick(random, EVIL_VALUES))
    return f"{_RAW}{len(raw) - 1}"


def _nodes(tree):
    """Yield (parent, key) of every value below the top."""
    items = list(tree.items() if isinstance(tree, dict) else enumerate(tree))
    for key, value in items:
        yield tree, key
        if isinstance(value, dict | list):
            yield from _nodes(value)


def _is_cyclic(tree):
    try:
        json.dumps(tree)
    except (ValueError, RecursionError):
        return True
    return False
