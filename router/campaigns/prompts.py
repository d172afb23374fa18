"""Reads the strings of a Python module that holds prompts, without ever running it. Pure."""

import ast
from typing import Final

from router.errors import CampaignRefused

MAX_BYTES: Final = 1024 * 1024


def read_prompts(source: bytes, names: tuple[str, str]) -> tuple[str, str]:
    """Find the two constants *names* (agent, session) in *source*; one alone is enough.

    Raises:
        CampaignRefused: ``bad_module``.
    """
    if len(source) > MAX_BYTES:
        raise CampaignRefused("bad_module", fix="a prompt module has 1 MiB at most")
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as exc:
        line = f" in line {exc.lineno}" if isinstance(exc, SyntaxError) and exc.lineno else ""
        raise CampaignRefused("bad_module", fix=f"it is not Python{line}") from None
    found: dict[str, str] = {}
    for node in tree.body:
        for name, value in _assigned(node):
            if name in names:
                text = _text(value)
                if text is None:
                    fix = f"line {node.lineno}: {name} has to be a plain string; code is not run"
                    raise CampaignRefused("bad_module", fix=fix)
                found[name] = text
    if not found:
        fix = f"it has neither {names[0]} nor {names[1]}"
        raise CampaignRefused("bad_module", fix=fix)
    return found.get(names[0], "").strip(), found.get(names[1], "").strip()


def _assigned(node: ast.stmt) -> list[tuple[str, ast.expr]]:
    if isinstance(node, ast.Assign):
        targets, value = node.targets, node.value
    elif isinstance(node, ast.AnnAssign) and node.value is not None:
        targets, value = [node.target], node.value
    else:
        return []
    return [(target.id, value) for target in targets if isinstance(target, ast.Name)]


def _text(value: ast.expr) -> str | None:
    """Give a string, or strings that are added."""
    parts: list[str] = []
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, ast.Constant) and isinstance(one.value, str):
            parts.append(one.value)
        elif isinstance(one, ast.BinOp) and isinstance(one.op, ast.Add):
            waiting += [one.left, one.right]
        else:
            return None
    return "".join(reversed(parts))
