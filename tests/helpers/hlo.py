"""What XLA makes of a program, searched for what is slow on a CPU."""

import re


def in_loops(hlo: str) -> dict[str, str]:
    """The computations of a compiled program that a `while` body reaches, by name."""
    bodies, name = {}, None
    for line in hlo.splitlines():
        if match := re.match(r"(?:ENTRY )?%?([\w.\-]+) .*\{$", line):
            name, bodies[match[1]] = match[1], ""
        elif name and line.startswith("}"):
            name = None
        elif name:
            bodies[name] += line + "\n"
    calls = {n: set(re.findall(r"(?:calls|body|condition|to_apply)=%?([\w.\-]+)", text)) for n, text in bodies.items()}
    todo = [body for text in bodies.values() for body in re.findall(r"\bbody=%?([\w.\-]+)", text)]
    reached = set()
    while todo:
        if (n := todo.pop()) not in reached:
            reached.add(n)
            todo += calls[n]
    return {n: bodies[n] for n in reached}


def convolutions(compiled) -> list[str]:
    """Where loops of a compiled program hold a convolution, by its instruction or by the operation it came from."""
    texts = in_loops(compiled.as_text())
    return [name for name, text in texts.items() if re.search(r"\bconvolution\(|conv_general_dilated", text)]


def copies(compiled, shape: str) -> list[str]:
    """Where loops of a compiled program copy an array of that shape."""
    return [name for name, text in in_loops(compiled.as_text()).items() if re.search(rf"= {shape}\S* copy\(", text)]
