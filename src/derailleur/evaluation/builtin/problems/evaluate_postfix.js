function evaluate_postfix(expression){
    const stack = [];
    for (const token of expression.split(' ')) {
        if (/^\d+$/.test(token)) {
            stack.push(Number(token));
            continue;
        }
        const right = stack.pop();
        const left = stack.pop();
        if (token === '+') {
            stack.push(left + right);
        } else if (token === '-') {
            stack.push(left - right);
        } else {
            stack.push(left * right);
        }
    }
    return stack[0];
}
