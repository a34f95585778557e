def evaluate_postfix(expression: str) -> int:
    """Evaluate an expression in postfix notation, where an operator comes after its two operands.
    Operands are whole numbers from 0, operators are +, - and *, all are separated by one space.
    >>> evaluate_postfix('7 2 -')
    5
    >>> evaluate_postfix('1 2 + 3 *')
    9
    """
    stack = []
    for part in expression.split():
        if part.isdigit():
            stack.append(int(part))
            continue
        right = stack.pop()
        left = stack.pop()
        if part == "+":
            stack.append(left + right)
        elif part == "-":
            stack.append(left - right)
        else:
            stack.append(left * right)
    return stack[0]


def check(candidate):
    assert candidate("42") == 42
    assert candidate("7 2 -") == 5
    assert candidate("2 7 -") == -5
    assert candidate("1 2 + 3 *") == 9
    assert candidate("1 2 3 + *") == 5
    assert candidate("10 4 3 - -") == 9
    assert candidate("2 3 * 4 5 * +") == 26
    assert candidate("5 1 2 + 4 * + 3 -") == 14
