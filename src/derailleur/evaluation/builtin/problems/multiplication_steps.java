public static long multiplicationSteps(long number) {
    long steps = 0;
    while (number > 9) {
        long product = 1;
        while (number > 0) {
            product *= number % 10;
            number /= 10;
        }
        number = product;
        steps++;
    }
    return steps;
}
