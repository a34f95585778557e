"""Which classes of a program Python tests trust to compare themselves with plain data."""

import ast


def compared_classes(tree: ast.Module) -> tuple[str, ...]:
    """The classes whose new objects the tests put into an operator themselves, `Rational(1, 2) == 0.5`.

    Only names with a capital letter, since a function could otherwise be made a class; and not those of which
    the tests use the methods alone, `Solution().double(2) == 4`: a method could return its object.
    """
    made: dict[str, set[str]] = {}
    for node in ast.walk(tree):
        match node:
            case ast.Assign(targets, value) if classes := _classes(value, {}):
                for target in targets:
                    made.setdefault(ast.unparse(target), set()).update(classes)
    found: set[str] = set()
    for node in ast.walk(tree):
        for operand in _operands(node):
            found |= _classes(operand, made)
    return tuple(sorted(found))


def _operands(node: ast.AST) -> list[ast.expr]:
    match node:
        case ast.Compare(left, _, others):
            return [left, *others]
        case ast.BinOp(left, _, right):
            return [left, right]
        case ast.AugAssign(ast.Name(name)):
            return [ast.Name(name)]
        case ast.Call(ast.Attribute(_, method), arguments) if method.startswith("assert"):
            return arguments
    return []


def _classes(node: ast.expr, made: dict[str, set[str]]) -> set[str]:
    """The classes that the value of an expression may be a new object of."""
    match node:
        case ast.Call(ast.Name(name)) if name[:1].isupper():
            return {name}
        case ast.BinOp(left, _, right):
            return _classes(left, made) | _classes(right, made)
        case ast.UnaryOp(_, operand):
            return _classes(operand, made)
        case ast.Name() | ast.Attribute():
            return made.get(ast.unparse(node), set())
    return set()
