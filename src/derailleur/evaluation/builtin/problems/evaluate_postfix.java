public static long evaluatePostfix(String expression) {
    ArrayDeque<Long> stack = new ArrayDeque<>();
    for (String token : expression.split(" ")) {
        if (Character.isDigit(token.charAt(0))) {
            stack.push(Long.parseLong(token));
            continue;
        }
        long right = stack.pop();
        long left = stack.pop();
        switch (token) {
            case "+" -> stack.push(left + right);
            case "-" -> stack.push(left - right);
            default -> stack.push(left * right);
        }
    }
    return stack.pop();
}
